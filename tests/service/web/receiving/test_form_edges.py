"""What stands before, between and behind the parts of a form: taken as RFC 2046 has it, or refused."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.errors import BAD_MULTIPART, BODY_TRUNCATED, ErrorKind, ServiceError
from service.web.receiving.form_edges import MAX_EDGE_BYTES
from service.web.receiving.multipart import FormParser
from tests.service.web.in_process import InProcess
from tests.service.web.receiving.test_header_rules import FORM as FORM_TYPE
from tests.service.web.receiving.test_multipart import parsed, parts_of
from tests.service.web.test_uploads import assert_nothing_is_left

TYPE = "multipart/form-data; boundary=b0"
HEAD = b'Content-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
PART = b"--b0\r\n" + HEAD + b"data\r\n"
END = b"--b0--\r\n"
WHOLE = [("file", "f", b"data")]

PREAMBLES = [
    b"",
    b"\r\n",
    b"\r\n\r\n",
    b"This is a form for people.\r\n",
    b"--\r\n",
    b"--b\r\n",
    b"--b01\r\n",
    b"x--b0\r\n",
    b"--b0 not alone\r\n",
    b"--b0-\r\n",
    b"--b0\rx\r\n",
    b"--b0\t\r\r\n",
    b"\n\r--b0\r\n\r\n",
    b"-" * 500 + b"\r\n",
    b"\x00\xff\r\n",
]
PADDINGS = [b"", b" ", b"\t", b" \t  " * 20]
TAILS = [b"", b"\r", b"\r\n", b" \t", b" \r\n", b"\r\nan epilogue\r\n", b"\n", b"\r\n--\r\n--b\r\n", b"\r\n" * 50]


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def refused(body: bytes, content_type: str = TYPE) -> ServiceError:
    """Return how a body is refused: alike in one piece, in two, and byte by byte."""
    found: list[ServiceError] = []
    for chunks in ([body], pieces(body, 1), pieces(body, 7), [body[: len(body) // 2], body[len(body) // 2 :]]):
        with pytest.raises(ServiceError) as caught:
            parsed(chunks, content_type)
        found.append(caught.value)
    assert len({error.kind for error in found}) == 1
    return found[0]


@pytest.mark.parametrize("preamble", PREAMBLES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_a_preamble_and_blanks_behind_boundaries_are_no_part_of_the_form(preamble: bytes, padding: bytes) -> None:
    body = (preamble + PART + PART + END).replace(b"--b0\r\nC", b"--b0" + padding + b"\r\nC")

    for size in (1, 2, 3, len(body)):
        assert parsed(pieces(body, size), TYPE) == WHOLE * 2
    for at in range(1, len(body)):
        assert parsed([body[:at], body[at:]], TYPE) == WHOLE * 2, f"cut at {at}"


@pytest.mark.parametrize("tail", TAILS)
def test_what_may_follow_the_closing_boundary_is_passed_over(tail: bytes) -> None:
    body = PART + b"--b0--" + tail

    for size in (1, 2, 3, len(body)):
        assert parsed(pieces(body, size), TYPE) == WHOLE
    for at in range(1, len(body)):
        assert parsed([body[:at], body[at:]], TYPE) == WHOLE, f"cut at {at}"


@pytest.mark.parametrize(
    "hidden",
    [
        b"more\r\n" + END,
        b"\r\n" + PART + END,
        b"-\r\n",
        b" more\r\n" + END,
        b"\r\n--b0\r\n",
        b"\n--b0\n",
        b"\r\n" + END,
    ],
)
def test_a_form_that_goes_on_after_its_closing_boundary_is_refused(hidden: bytes) -> None:
    assert refused(PART + b"--b0--" + hidden).kind is BAD_MULTIPART
    assert refused(b"--b0--" + hidden).kind is BAD_MULTIPART


@pytest.mark.parametrize("size", [1, 100, 65536])
def test_edges_have_a_limit(size: int) -> None:
    preamble = b"x" * (MAX_EDGE_BYTES - len(b"\r\n--b0\r\n")) + b"\r\n"
    padded = preamble[1000:] + b"--b0" + b" " * 998 + PART[4:] + END
    epilogue = b"\r\n" + b"x" * (MAX_EDGE_BYTES - 2)

    for body in (preamble + PART + END, padded, PART + b"--b0--" + epilogue):
        assert parsed(pieces(body, size), TYPE) == WHOLE
    for body in (b"x" + preamble + PART + END, padded.replace(b"--b0 ", b"--b0  "), PART + b"--b0--" + epilogue + b"x"):
        with pytest.raises(ServiceError, match="64 KiB") as caught:
            parsed(pieces(body, size), TYPE)
        assert caught.value.kind is BAD_MULTIPART


def test_an_edge_without_end_is_refused_before_its_end() -> None:
    parser = FormParser(TYPE, max_parts=100)
    for _ in range(13):
        parser.feed(b"--b0 " * 1000)

    with pytest.raises(ServiceError, match="64 KiB"):
        parser.feed(b"--b0 " * 1000)


LF_PART = PART.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    "body",
    [
        (PART + END).replace(b"\r\n", b"\n"),
        PART.replace(b"--b0\r\n", b"--b0\n") + END,
        PART.replace(b"--b0\r\n", b"--b0 \n") + END,
        b"text\n" + PART + END,
        b"--b0\r\n" + HEAD.replace(b"\r\n", b"\n") + b"data\r\n" + END,
        b"--b0\r\n" + HEAD.replace(b"\r\n", b"\n", 1) + b"data\r\n" + END,
        PART.removesuffix(b"\r\n") + b"\n" + END,
        b"--b0--\n".replace(b"--\n", b"\n"),
    ],
)
def test_lines_that_end_with_lf_alone_are_refused_with_the_cause(body: bytes) -> None:
    error = refused(body)

    assert error.kind is BAD_MULTIPART
    assert "LF alone" in error.detail


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t"])
def test_a_header_in_two_lines_is_refused_with_the_cause(fold: bytes) -> None:
    error = refused(PART.replace(b"; filename", b";" + fold + b"filename") + END)

    assert error.kind is BAD_MULTIPART
    assert "second line" in error.detail


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", BODY_TRUNCATED, "before its first part"),
        (b"\r\n", BODY_TRUNCATED, "before its first part"),
        (b"--b0", BODY_TRUNCATED, "before its first part"),
        (b"--b", BODY_TRUNCATED, "before its first part"),
        (b"--other\r\n" + HEAD + b"data\r\n--other--\r\n", BAD_MULTIPART, "does not stand in the body"),
        (b"no form at all", BAD_MULTIPART, "does not stand in the body"),
        (PART, BODY_TRUNCATED, "closing boundary is missing"),
        (PART + b"--b0-", BODY_TRUNCATED, "closing boundary is missing"),
        (b"--b0\r\n\r\ndata\r\n" + END, BAD_MULTIPART, "Content-Disposition"),
        (b"--b0\r\nContent-Type: text/plain\r\n\r\ndata\r\n" + END, BAD_MULTIPART, "Content-Disposition"),
        (b'--b0\r\nContent-Disposition: form-data; filename="f"\r\n\r\nx\r\n' + END, BAD_MULTIPART, "name="),
    ],
)
def test_what_is_wrong_with_a_form_is_said(body: bytes, kind: ErrorKind, words: str) -> None:
    error = refused(body) if body else _of_nothing()

    assert error.kind is kind
    assert words in error.detail


def _of_nothing() -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        FormParser(TYPE, max_parts=100).close()
    return caught.value


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"text\r\n"])
def test_a_form_without_parts_is_a_form(app: InProcess, preamble: bytes) -> None:
    for size in (1, 3, 100):
        assert parsed(pieces(preamble + END, size), TYPE) == []
    app.refusal("POST", "/uploads", 422, "file_missing", content=preamble + b"--b--", headers=FORM_TYPE)
    assert_nothing_is_left(app)


BOUNDARIES = ["b", "b" * 70, "'()+_,-./:=?", "-----", "a b", "--", "b0--", "0", 'q"q', "===============12=="]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("parameter", ['boundary="{}"', '; Boundary = "{}"; x=y', 'charset=utf-8; BOUNDARY="{}" '])
def test_any_boundary_is_taken_as_it_is_written(boundary: str, parameter: str) -> None:
    content_type = "multipart/form-data; " + parameter.format(boundary.replace('"', '\\"'))
    line = b"--" + boundary.encode()
    content = line[:-1] + b"\r\n" + line[:-1] + b"\r\r\n" + line[1:]
    body = b"text\r\n" + line + b" \r\n" + HEAD + content + b"\r\n" + line + b"--"

    for size in (1, 5, len(body)):
        assert parsed(pieces(body, size), content_type) == [("file", "f", content)]


# What stands in a part stays what it is.

BOUNDARY = b"--b0"
ALIKE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"--",
    b"-",
    b"b0",
    BOUNDARY,
    b"\r\n--b",
    b"\n--b0\n",
    b"\r\n--B0",
    b"\r\n --b0",
    b" ",
    b"x",
]
INSIDE = st.lists(st.sampled_from(ALIKE) | st.binary(max_size=5), max_size=12).map(b"".join)
PARTS = st.lists(INSIDE.map(lambda content: content.replace(b"\r\n--b0", b"")), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(PARTS, st.sampled_from(PREAMBLES), st.sampled_from(PADDINGS), st.sampled_from(TAILS), st.data())
@example([b"--b0\r\n"], b"", b"", b"", None)
def test_any_parts_in_any_pieces_come_back(
    contents: list[bytes], preamble: bytes, padding: bytes, tail: bytes, data: st.DataObject | None
) -> None:
    contents = [content for content in contents if b"\r\n--b0" not in b"\r\n".join((b"", content, b"--"))[2:]]
    body = preamble + b"".join(BOUNDARY + padding + b"\r\n" + HEAD + content + b"\r\n" for content in contents)
    body += b"--b0--" + tail
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=10)) if data else []
    expected = [("file", "f", content) for content in contents]

    assert parsed([body[start:end] for start, end in pairwise([0, *sorted(cuts), len(body)])], TYPE) == expected
    assert parsed(pieces(body, 1), TYPE) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*ALIKE, b"\r\n--b0", b"\r\n--b0-", b"\r\n--b0\r", b"\r\n--b0x"]), max_size=8), st.data()
)
def test_content_with_the_boundary_in_it_is_never_cut_short_in_silence(
    inside: list[bytes], data: st.DataObject
) -> None:
    # RFC 2046 has no content with a boundary at a line's beginning: it is kept, or the form is refused.
    content = b"".join(inside)
    body = b"--b0\r\n" + HEAD + content + b"\r\n" + END
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    chunks = [body[start:end] for start, end in pairwise([0, *sorted(cuts), len(body)])]

    found: list[object] = [("file", "f", content)]
    with suppress(ServiceError):
        found = [*parsed(chunks, TYPE)]
    assert found == [("file", "f", content)]


def test_file_bytes_behind_a_preamble_are_views_and_not_copied_again() -> None:
    parser = FormParser(TYPE, max_parts=100)
    first = parser.feed(b"text\r\n" + PART[:-6])
    chunk = b"y" * 100_000
    (view,) = parser.feed(chunk)

    assert isinstance(view, memoryview)
    assert view.obj is chunk
    assert parts_of([*first, view, *parser.feed(b"\r\n" + END)]) == [("file", "f", chunk)]


def test_the_first_piece_of_an_ordinary_form_is_not_copied() -> None:
    body = b"--b0\r\n" + HEAD + b"y" * 100_000

    views = [event for event in FormParser(TYPE, max_parts=100).feed(body) if isinstance(event, memoryview)]

    assert [view.obj is body for view in views] == [True]
