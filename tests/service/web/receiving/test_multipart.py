"""Forms as events: the same however the network cuts them, and never a success when they end too soon."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import BAD_MULTIPART, BODY_TRUNCATED, ServiceError
from service.web.receiving.multipart import MAX_HEADER_BYTES, FormParser, FormPiece, PartBegins, PartEnds

BOUNDARY = "----b0undary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

# Content that looks like the beginnings of a boundary.
TRICKY = b"\r\n--\r\n----b0undar\r\n------b0undar\r--\n\r\n------b0undary-\r\n\r"
FORM = (
    b"------b0undary\r\n"
    b'Content-Disposition: form-data; name="level"\r\n\r\nsmall\r\n'
    b"------b0undary\r\n"
    b'Content-Disposition: form-data; name="file"; filename="a b.txt"\r\n'
    b"Content-Type: text/plain\r\n"
    b"Repr-Digest: sha-256=:AAAA:\r\n\r\n" + TRICKY.replace(b"------b0undary-\r\n", b"") + b"\r\n"
    b"------b0undary\r\n"
    b'Content-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n'
    b"------b0undary--\r\n"
)
WHOLE = [
    ("level", None, b"small"),
    ("file", "a b.txt", TRICKY.replace(b"------b0undary-\r\n", b"")),
    ("file", "", b""),
]


def parts_of(events: list[FormPiece]) -> list[tuple[str, str | None, bytes]]:
    """Return the parts that events tell of: name, file name, content."""
    parts: list[tuple[str, str | None, bytearray]] = []
    is_open = False
    for event in events:
        if isinstance(event, PartBegins):
            assert not is_open
            parts.append((event.name, event.filename, bytearray()))
        elif isinstance(event, PartEnds):
            assert is_open
        else:
            assert is_open
            parts[-1][2].extend(event)
        is_open = not isinstance(event, PartEnds)
    return [(name, filename, bytes(content)) for name, filename, content in parts]


def parsed(chunks: list[bytes], content_type: str = CONTENT_TYPE) -> list[tuple[str, str | None, bytes]]:
    parser = FormParser(content_type, max_parts=100)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    parser.close()
    return parts_of(events)


def form_of(disposition: str | bytes, content: bytes = b"x") -> bytes:
    raw = disposition.encode() if isinstance(disposition, str) else disposition
    return b"------b0undary\r\nContent-Disposition: " + raw + b"\r\n\r\n" + content + b"\r\n------b0undary--\r\n"


def test_a_form_in_one_piece_gives_its_parts() -> None:
    assert parsed([FORM]) == WHOLE


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_form_in_equal_pieces_gives_the_same_parts(size: int) -> None:
    assert parsed([FORM[at : at + size] for at in range(0, len(FORM), size)]) == WHOLE


def test_a_form_cut_anywhere_gives_the_same_parts() -> None:
    for at in range(1, len(FORM)):
        assert parsed([FORM[:at], FORM[at:]]) == WHOLE, f"cut at {at}"


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(FORM)), max_size=12))
def test_a_form_in_any_pieces_gives_the_same_parts(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(FORM)]

    assert parsed([FORM[start:end] for start, end in pairwise(edges)]) == WHOLE


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([TRICKY, b"\r\n--", b"\r", b"--"]), max_size=6), st.data())
def test_any_content_in_any_pieces_comes_back(pieces: list[bytes], data: st.DataObject) -> None:
    content = b"".join(pieces).replace(b"\r\n------b0undary", b"")
    body = form_of('form-data; name="file"; filename="f"', content)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    edges = [0, *sorted(cuts), len(body)]

    assert parsed([body[start:end] for start, end in pairwise(edges)]) == [("file", "f", content)]


def test_a_form_that_ends_anywhere_before_its_end_is_never_a_success() -> None:
    last_boundary = FORM.rindex(b"--\r\n") + 2
    for end in range(last_boundary):
        with pytest.raises(ServiceError) as caught:
            parsed([FORM[:end]])
        assert caught.value.kind in (BODY_TRUNCATED, BAD_MULTIPART), f"ended at {end}"


@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"\r\nwhatever follows\r\n"])
def test_what_follows_the_closing_boundary_does_not_matter(epilogue: bytes) -> None:
    assert parsed([FORM.removesuffix(b"\r\n") + epilogue]) == WHOLE


def test_pieces_of_one_chunk_are_not_changed_by_the_next() -> None:
    parser = FormParser(CONTENT_TYPE, max_parts=100)
    events = [list(parser.feed(FORM[at : at + 5])) for at in range(0, len(FORM), 5)]

    assert parts_of([event for some in events for event in some]) == WHOLE


def test_file_bytes_are_views_of_the_chunk_they_came_in() -> None:
    body = form_of('form-data; name="file"; filename="f"', b"y" * 100_000)

    views = [event for event in FormParser(CONTENT_TYPE, max_parts=100).feed(body) if isinstance(event, memoryview)]

    assert sum(view.nbytes for view in views if view.obj is body) >= 99_990
    assert all(view.readonly for view in views)


def test_headers_of_a_part_are_known_by_their_lower_case_names() -> None:
    begins = [event for event in FormParser(CONTENT_TYPE, max_parts=100).feed(FORM) if isinstance(event, PartBegins)]

    assert begins[1].headers["content-type"] == "text/plain"
    assert begins[1].headers["repr-digest"] == "sha-256=:AAAA:"
    assert "repr-digest" not in begins[2].headers


@pytest.mark.parametrize(
    ("disposition", "name", "filename", "is_file"),
    [
        ('form-data; name="level"', "level", None, False),
        ('form-data; name="file"', "file", None, True),
        ('form-data; name="other"; filename="a"', "other", "a", True),
        ('form-data; name="file"; filename="报告.pdf"', "file", "报告.pdf", True),
        ('form-data; name="file"; filename="say %22hi%22.txt"', "file", 'say "hi".txt', True),
        ('form-data; name="file"; filename="a\\"b.txt"', "file", 'a"b.txt', True),
        ("FORM-DATA; NAME=file; FILENAME=plain.txt", "file", "plain.txt", True),
        ("form-data; name=\"file\"; filename*=UTF-8''caf%C3%A9.txt", "file", "café.txt", True),
        ("form-data; name=file; filename=\"=?utf-8?B?Y2Fmw6k=?=\"; filename*=utf-8''caf%C3%A9", "file", "café", True),
        ('form-data; name="file"; filename="../../etc/passwd"', "file", "../../etc/passwd", True),
    ],
)
def test_the_names_of_a_part_are_read(disposition: str, name: str, filename: str | None, is_file: bool) -> None:
    begins = FormParser(CONTENT_TYPE, max_parts=100).feed(form_of(disposition))[0]

    assert isinstance(begins, PartBegins)
    assert (begins.name, begins.filename, begins.is_file) == (name, filename, is_file)


def test_headers_of_8_kilobytes_are_taken() -> None:
    name = "n" * (MAX_HEADER_BYTES - 100)

    assert parsed([form_of(f'form-data; name="file"; filename="{name}"')]) == [("file", name[-4096:], b"x")]


@pytest.mark.parametrize("other", ["", f"X: {'x' * (MAX_HEADER_BYTES // 2)}\r\n"], ids=["one", "two"])
def test_larger_headers_are_refused(other: str) -> None:
    name = "n" * (MAX_HEADER_BYTES // 2 if other else MAX_HEADER_BYTES + 1)
    with pytest.raises(ServiceError) as caught:
        parsed([form_of(f'form-data; name="file"; filename="{name}"\r\n{other}'.removesuffix("\r\n"))])

    assert caught.value.kind is BAD_MULTIPART


@pytest.mark.parametrize(
    "body",
    [
        b"no boundary at all",
        b"------other\r\n",
        FORM.replace(b"form-data", b"attachment"),
        FORM.replace(b'form-data; name="level"', b"form-data"),
        FORM.replace(b"Content-Disposition", b"X-Other"),
        FORM.replace(b"Content-Type: text/plain", b"Content Type: text/plain"),
        FORM.replace(b"Content-Type: text/plain", b"X: y\r\n" * 40 + b"X: y"),
        b"------b0undary\r\n\r\n",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        parsed([body])

    assert caught.value.kind in (BAD_MULTIPART, BODY_TRUNCATED)


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 5000],
)
def test_a_type_without_a_usable_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(ServiceError) as caught:
        FormParser(content_type, max_parts=100)

    assert caught.value.kind is BAD_MULTIPART


@settings(max_examples=150)
@given(st.binary(max_size=200).filter(lambda body: not body.startswith(b"--")))
def test_no_body_whatever_raises_anything_else(body: bytes) -> None:
    with pytest.raises(ServiceError):
        parsed([b"------b0undary" + body])
