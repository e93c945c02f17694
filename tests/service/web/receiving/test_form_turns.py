"""However many parts come at once, others have their turn between a few, and all that they say has an end."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import BAD_MULTIPART, ServiceError
from service.web.receiving.multipart import (
    HEADER_BYTES_A_PART,
    HEADERS_A_PART,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    PIECE_BYTES,
    FormParser,
)
from tests.acceptance.raw_socket import BOUNDARY, END, FORM, part
from tests.service.web.in_process import InProcess

CALLBACKS = (
    "_on_part_begin", "_on_part_data", "_on_part_end", "_on_header_field", "_on_header_value", "_on_header_end",
    "_on_headers_finished",
)  # fmt: skip
TYPE = FORM.partition(": ")[2]
EMPTY = part("file", b"", filename="")
TINY = part("file", b"", filename="", headers="a:b\r\n" * (MAX_HEADERS - 1))
FILE = part("file", b"content", filename="a.txt")
MOST = 1_600
"""What ``PIECE_BYTES`` may bring at five bytes a header, and what a part that began before them has."""


class Turns:
    """Counts the parser's callbacks between two turns of the loop."""

    def __init__(self) -> None:
        self.since = self.most = self.all = 0

    def count(self) -> None:
        if not self.since:
            asyncio.get_running_loop().call_soon(self.begin)
        self.since += 1
        self.all += 1
        self.most = max(self.most, self.since)

    def begin(self) -> None:
        self.since = 0


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    turns = Turns()
    for name in CALLBACKS:
        whole = getattr(FormParser, name)

        def counted(parser: FormParser, *arguments: object, whole: object = whole) -> None:
            turns.count()
            whole(parser, *arguments)  # type: ignore[operator]

        monkeypatch.setattr(FormParser, name, counted)
    return turns


def posted(app: InProcess, body: bytes) -> int:
    status: int = app.client.post("/uploads", headers={"Content-Type": TYPE}, content=body).status_code
    return status


@pytest.mark.parametrize(
    ("small", "count", "most"), [(EMPTY, 1_000, MOST // 6), (TINY, 400, MOST)], ids=["parts", "headers"]
)
def test_others_have_their_turn_between_small_parts(
    app: InProcess, turns: Turns, small: bytes, count: int, most: int
) -> None:
    assert posted(app, small * count + FILE + END) == 202

    assert turns.all > 5 * most
    assert turns.most <= most


def test_what_a_first_part_says_wrong_ends_the_form(app: InProcess, turns: Turns) -> None:
    assert posted(app, part("no-option", b"x") + EMPTY * 1_000 + FILE + END) == 422

    assert turns.all <= MOST


def test_a_large_file_comes_in_few_pieces() -> None:
    form = part("file", bytes(1_000_000), filename="a") + END
    chunks = [form[at : at + 256 * 1024] for at in range(0, len(form), 256 * 1024)]
    parser = FormParser(TYPE, max_parts=1)

    pieces = [list(parser.pieces_of(chunk)) for chunk in chunks]

    assert [len(of_chunk) for of_chunk in pieces] == [1, 1, 1, 2]
    assert all(of_chunk[0] is chunk for of_chunk, chunk in zip(pieces[:3], chunks, strict=False))


def test_pieces_are_short_where_parts_are() -> None:
    form = EMPTY * 100 + part("file", bytes(100_000), filename="a") + EMPTY * 100 + END
    pieces = list(FormParser(TYPE, max_parts=1).pieces_of(form))

    assert b"".join(pieces) == form
    assert all(len(piece) <= PIECE_BYTES or piece.count(BOUNDARY.encode()) <= 1 for piece in pieces)


def fed(body: bytes, max_parts: int) -> None:
    FormParser(TYPE, max_parts=max_parts).feed(body)


def test_a_part_has_ten_headers_at_most() -> None:
    fed(part("file", b"", filename="", headers="a:b\r\n" * (MAX_HEADERS - 1)), 1)

    with pytest.raises(ServiceError, match="At most 10 headers of a part") as caught:
        fed(part("file", b"", filename="", headers="a:b\r\n" * MAX_HEADERS), 1)
    assert caught.value.kind is BAD_MULTIPART


@pytest.mark.parametrize(
    ("headers", "of_a_part", "average", "most"),
    [
        ("a:b\r\n" * (MAX_HEADERS - 1), MAX_HEADERS, HEADERS_A_PART, MAX_HEADERS),
        ("a:" + "b" * 7_000 + "\r\n", 7_050, HEADER_BYTES_A_PART, MAX_HEADER_BYTES),
    ],
    ids=["count", "bytes"],
)
def test_the_headers_of_all_parts_have_a_limit(headers: str, of_a_part: int, average: int, most: int) -> None:
    one = part("file", b"", filename="", headers=headers)
    fitting = (100 * average + most) // of_a_part
    fed(one * (fitting - 1), 100)

    with pytest.raises(ServiceError, match="headers of all parts") as caught:
        fed(one * (fitting + 1), 100)
    assert caught.value.kind is BAD_MULTIPART
