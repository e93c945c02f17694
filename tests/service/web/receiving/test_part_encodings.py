"""Encodings of parts: bytes come back exactly, however the network cuts them, and what is broken is refused."""

from __future__ import annotations

import binascii
import quopri
import re
from base64 import b64encode, encodebytes
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.web.receiving.part_encodings import DECODERS, MAX_HELD_BYTES

CONTENT = st.binary(max_size=300) | st.text("ab= \t\r\n\xff", max_size=200).map(lambda text: text.encode("latin-1"))


def with_line_ends(text: bytes, end: bytes) -> bytes:
    return re.sub(rb"\r?\n", lambda _: end, text)


WRITERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "one line of base64": ("base64", b64encode),
    "lines of base64": ("base64", lambda content: with_line_ends(encodebytes(content), b"\r\n")),
    "lines that end with LF": ("base64", encodebytes),
    "base64 with blanks": ("base64", lambda content: b" \t".join(b64encode(content)[at : at + 1] for at in range(500))),
    "quoted bytes": (
        "quoted-printable",
        lambda content: with_line_ends(binascii.b2a_qp(content, istext=False), b"\r\n"),
    ),
    "quoted bytes, LF": ("quoted-printable", lambda content: binascii.b2a_qp(content, istext=False)),
    "soft breaks with blanks": (
        "quoted-printable",
        lambda content: with_line_ends(binascii.b2a_qp(content, istext=False), b" \t \r\n"),
    ),
    "everything quoted": ("quoted-printable", lambda content: b"".join(b"=%02x" % byte for byte in content)),
}


def decoded(encoding: str, chunks: list[bytes]) -> bytes:
    decoder = DECODERS[encoding]()
    found = b"".join(decoder.feed(memoryview(chunk)) for chunk in chunks)
    decoder.end()
    return found


def cut(text: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@settings(max_examples=100)
@given(st.sampled_from(sorted(WRITERS)), CONTENT, st.lists(st.integers(0, 1000), max_size=8))
def test_any_content_in_any_pieces_comes_back(writer: str, content: bytes, cuts: list[int]) -> None:
    encoding, write = WRITERS[writer]

    assert decoded(encoding, cut(write(content), cuts)) == content


@settings(max_examples=40)
@given(st.sampled_from(sorted(WRITERS)), CONTENT)
@example("soft breaks with blanks", b"\t \r\n" * 40)
def test_any_content_byte_by_byte_comes_back(writer: str, content: bytes) -> None:
    encoding, write = WRITERS[writer]
    text = write(content)

    assert decoded(encoding, [text[at : at + 1] for at in range(len(text))]) == content


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"one\r\ntwo\r\n", b"one\r\ntwo\r\n"),
        (b"one\ntwo", b"one\ntwo"),
        (b"one \t \r\ntwo  ", b"one\r\ntwo"),
        (b"one=20\r\ntwo=09", b"one \r\ntwo\t"),
        (b"one=\r\ntwo=  \r\nthree=\nfour", b"onetwothreefour"),
        (b"=3D=3d=0D=0A", b"==\r\n"),
        (b"a b\tc", b"a b\tc"),
        (b"", b""),
    ],
)
def test_lines_of_quoted_printable_end_as_mime_says(text: bytes, expected: bytes) -> None:
    for size in range(1, len(text) + 2):
        assert decoded("quoted-printable", [text[at : at + size] for at in range(0, len(text), size)]) == expected


def test_python_s_own_writer_is_read() -> None:
    text = "Grüße,\n\n a line that is longer than a line may be = and so it is broken, with blanks at its end   \n" * 3

    assert decoded("quoted-printable", [quopri.encodestring(text.encode())]) == text.encode()


BROKEN = [
    ("base64", b"QUJ"),
    ("base64", b"Q"),
    ("base64", b"QQ="),
    ("base64", b"QUI=QUI="),
    ("base64", b"QQ==\r\nQQ=="),
    ("base64", b"QQ==="),
    ("base64", b"QQ=A"),
    ("base64", b"===="),
    ("base64", b"=QUJ"),
    ("base64", b"QU*J"),
    ("base64", b"QU-_"),
    ("base64", b"QUJD\x00"),
    ("base64", "QUJé".encode()),
    ("quoted-printable", b"="),
    ("quoted-printable", b"a=4"),
    ("quoted-printable", b"a=4\r\n1"),
    ("quoted-printable", b"a=\r"),
    ("quoted-printable", b"a= b"),
    ("quoted-printable", b"a=XY"),
    ("quoted-printable", b"a=="),
    ("quoted-printable", b"a\rb"),
    ("quoted-printable", b"a\x00"),
    ("quoted-printable", "é".encode()),
    ("quoted-printable", b"a" + b" " * (MAX_HELD_BYTES + 1)),
]


@pytest.mark.parametrize(("encoding", "text"), BROKEN)
def test_what_is_broken_is_refused_in_any_pieces(encoding: str, text: bytes) -> None:
    for size in {1, 2, 3, 4, 5, len(text)}:
        with pytest.raises(ValueError, match=r"[a-z]"):
            decoded(encoding, [text[at : at + size] for at in range(0, len(text), size)])


@pytest.mark.parametrize("encoding", DECODERS)
@settings(max_examples=60)
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_any_text_means_the_same_in_one_piece_and_in_several(encoding: str, text: bytes, cuts: list[int]) -> None:
    def outcome(chunks: list[bytes]) -> bytes | None:
        try:
            return decoded(encoding, chunks)
        except ValueError:
            return None

    assert outcome(cut(text, cuts)) == outcome([text])
