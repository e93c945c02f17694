"""What a part says of its content: the length is checked, the charset read, and bytes of no encoding are not copied."""

from __future__ import annotations

import pytest

from service.errors import BAD_ENCODING, BAD_OPTION, LENGTH_MISMATCH, ServiceError
from service.web.receiving.part_content import PartContent, charset_of, text_of
from tests.service.web.in_process import InProcess
from tests.service.web.receiving.test_header_rules import FORM


def received(headers: dict[str, str], data: bytes) -> bytes:
    content = PartContent(headers)
    came = bytes(content.take(memoryview(data)))
    content.end()
    return came


@pytest.mark.parametrize("encoding", [None, "7bit", "8bit", "Binary", ""])
def test_bytes_of_no_encoding_are_the_view_itself(encoding: str | None) -> None:
    content = PartContent({} if encoding is None else {"content-transfer-encoding": encoding})
    view = memoryview(b"\x00\xff\r\n")

    assert content.take(view) is view
    content.end()


@pytest.mark.parametrize(
    ("headers", "data", "kind"),
    [
        ({"content-length": "3"}, b"four", LENGTH_MISMATCH),
        ({"content-length": "5"}, b"four", LENGTH_MISMATCH),
        ({"content-length": "0", "content-transfer-encoding": "base64"}, b"QQ==", LENGTH_MISMATCH),
        ({"content-transfer-encoding": "BASE64"}, b"QQ=", BAD_ENCODING),
        ({"content-transfer-encoding": "Quoted-Printable"}, b"=4", BAD_ENCODING),
    ],
)
def test_a_part_that_is_not_what_it_says_is_refused(headers: dict[str, str], data: bytes, kind: object) -> None:
    with pytest.raises(ServiceError) as caught:
        received(headers, data)

    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        (None, "utf-8"),
        ("text/plain", "utf-8"),
        ("text/plain; charset=ISO-8859-1", "iso-8859-1"),
        ('text/plain; Charset="windows-1252"', "windows-1252"),
    ],
)
def test_the_charset_is_the_one_named_or_the_default(content_type: str | None, charset: str) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    assert charset_of(headers, "utf-8") == charset


@pytest.mark.parametrize(
    ("value", "charset", "text"),
    [
        ("é ".encode(), "utf-8", "é"),
        (b"\xe9", "latin-1", "é"),
        (b"\x80", "windows-1252", "€"),
        ("中".encode("gb18030"), "GB18030", "中"),
    ],
)
def test_text_is_read_in_its_charset(value: bytes, charset: str, text: str) -> None:
    assert text_of(value, charset, "n") == text


@pytest.mark.parametrize(
    ("value", "charset"),
    [
        (b"\xe9", "utf-8"),
        (b"\xe9", "us-ascii"),
        (b"a", "no-such-charset"),
        (b"abc-", "punycode"),
        (b"a", "utf-7"),
        (b"a\x00", "utf-16"),
        (b"61", "hex"),
        (b"YQ==", "base64"),
        (b"n", "rot13"),
        (b"a", "undefined"),
        (b"a", "idna\x00"),
        (b"a", ""),
    ],
)
def test_text_that_is_none_is_refused(value: bytes, charset: str) -> None:
    with pytest.raises(ServiceError) as caught:
        text_of(value, charset, "n")

    assert caught.value.kind is BAD_OPTION


def field(name: str, value: bytes, header: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n{header}\r\n'.encode() + value + b"\r\n"


FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n'
KEYS = {
    "utf-8": field("idempotency_key", "é".encode()),
    "named": field("idempotency_key", b"\xe9", "Content-Type: text/plain; charset=iso-8859-1\r\n"),
    "default": field("_charset_", b"iso-8859-1") + field("idempotency_key", b"\xe9"),
    "named over default": field("_charset_", b"iso-8859-1")
    + field("idempotency_key", "é".encode(), "Content-Type: text/plain; charset=utf-8\r\n"),
}


def test_a_field_is_read_in_the_charset_its_form_says(app: InProcess) -> None:
    # One key, so one job: the fingerprint holds the length, so all are made equally long.
    longest = max(map(len, KEYS.values()))
    ids = set()
    for fields in KEYS.values():
        body = b"-" * (longest - len(fields)) + b"\r\n" + fields + FILE
        answer = app.client.post("/uploads", content=body, headers=FORM)
        assert answer.status_code == 202, answer.text
        ids.add(answer.json()["id"])

    assert len(ids) == 1


@pytest.mark.parametrize(
    "fields",
    [
        field("level", b"\xe9"),
        field("level", b"fast", "Content-Type: text/plain; charset=nonsense\r\n"),
        field("_charset_", b"utf-16"),
        field("_charset_", b"nonsense"),
        field("idempotency_key", "é".encode()) + field("_charset_", b"iso-8859-1"),
    ],
)
def test_a_field_that_cannot_be_read_is_refused(app: InProcess, fields: bytes) -> None:
    app.refusal("POST", "/uploads", 422, "bad_option", content=fields + FILE, headers=FORM)
