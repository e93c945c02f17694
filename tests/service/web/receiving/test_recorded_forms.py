"""Bodies that real clients sent: each gives its option and its file, whole, byte by byte, and cut anywhere.

``forms/index.json`` says of each which client of which version made it, and how; NAME and DATA stand for the same file
everywhere. Two that could not be had here were written as they are known to write; their notes say so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.web.receiving.header_checks import Place
from service.web.receiving.header_rules import check_headers
from service.web.receiving.multipart import FormParser, PartBegins, PartEnds
from service.web.receiving.part_content import PartContent
from tests.service.web.in_process import InProcess
from tests.service.web.test_uploads import assert_nothing_is_left, original

FOLDER = Path(__file__).parent / "forms"
INDEX: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())
NAME = "naïve файл 名.bin"
DATA = b"\x00\xff\r\n--\r\n" + bytes(range(256)) + b"\n\r\n--x\r\r\n"
NESTED = "curl-nested"
"""What curl makes of a list of files for one field: a form in a form."""
CLIENTS = [name for name in INDEX if name != NESTED]

Part = tuple[str, str | None, bytes]


def body_of(client: str) -> bytes:
    return (FOLDER / f"{client}.form").read_bytes()


def parts_of(client: str, chunks: list[bytes]) -> list[Part]:
    """Return the parts of a body as an upload would have them."""
    parser = FormParser(INDEX[client]["content_type"], max_parts=100)
    parts: list[Part] = []
    content = PartContent({})
    for event in [event for chunk in chunks for event in parser.feed(chunk)]:
        if isinstance(event, PartBegins):
            check_headers(event.headers, Place.PART)
            content = PartContent(event.headers)
            parts.append((event.name, event.filename, b""))
        elif isinstance(event, PartEnds):
            content.end()
        else:
            name, filename, before = parts[-1]
            parts[-1] = (name, filename, before + content.take(event))
    parser.close()
    return parts


def expected(client: str) -> list[Part]:
    """Return the parts in order of their names."""
    charset = [("_charset_", None, b"windows-1252")] if client == "chromium-charset" else []
    return [*charset, ("file", INDEX[client].get("filename", NAME), DATA), ("format", None, b"gzip")]


def named(client: str, parts: list[Part]) -> list[Part]:
    # What becomes of a name in a charset that cannot write it, its browser has decided.
    is_known = INDEX[client].get("filename", NAME) is not None
    return sorted((name, filename if is_known else None, data) for name, filename, data in parts)


def test_every_recorded_body_has_its_note() -> None:
    assert {path.stem for path in FOLDER.glob("*.form")} == set(INDEX)
    assert all(note["client"] and note["how"] for note in INDEX.values())


@pytest.mark.parametrize("client", CLIENTS)
def test_a_recorded_form_in_one_piece_gives_its_parts(client: str) -> None:
    assert named(client, parts_of(client, [body_of(client)])) == expected(client)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_recorded_form_byte_by_byte_gives_the_same_parts(client: str) -> None:
    body = body_of(client)

    assert named(client, parts_of(client, [body[at : at + 1] for at in range(len(body))])) == expected(client)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_recorded_form_cut_anywhere_gives_the_same_parts(client: str) -> None:
    body = body_of(client)
    for at in range(1, len(body)):
        assert named(client, parts_of(client, [body[:at], body[at:]])) == expected(client), f"cut at {at}"


def test_a_recorded_form_becomes_a_job_with_the_file_as_it_was(app: InProcess) -> None:
    for client in CLIENTS:
        headers = {"Content-Type": INDEX[client]["content_type"]}
        answer = app.client.post("/uploads", content=body_of(client), headers=headers)
        assert answer.status_code == 202, (client, answer.text)
        assert answer.json()["format"] == "gzip", client
        assert original(app, answer) == DATA, client


def test_a_form_in_a_form_is_refused_with_what_to_do(app: InProcess) -> None:
    headers = {"Content-Type": INDEX[NESTED]["content_type"]}

    document = app.refusal("POST", "/uploads", 415, "multipart_type", content=body_of(NESTED), headers=headers)

    assert "part of its own" in document["detail"]
    assert_nothing_is_left(app)
