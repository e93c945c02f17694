"""What holds of every reader whatever it is given: it returns, or raises a ``ServiceError``."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from service.errors import ServiceError
from service.values.file_names import MAX_RUN_OF_MARKS, clean_path
from service.web.connection.request_head import (
    expects_continue,
    refusal_of,
    refusal_of_field,
    refusal_of_line,
    refusal_of_target,
    settled_target,
)
from service.web.http import digests, negotiation, preconditions, ranges
from service.web.http.cookies import cookie_of
from service.web.names import charsets, filenames
from service.web.page.language import language_of
from service.web.receiving import multipart, part_content
from service.web.receiving.disposition import parameters_of
from service.web.receiving.header_checks import Place
from service.web.receiving.header_rules import check_headers, gathered
from service.web.receiving.options import NAMES, check_names, put, read_options
from service.web.receiving.part_encodings import DECODERS
from service.web.receiving.upload_head import read_head, read_key
from tests.fuzz.inputs import fields, parts, raws, texts

FIELD_NAMES = sorted(
    {
        *digests.FIELDS, "accept", "accept-encoding", "accept-language", "authorization", "content-disposition",
        "content-encoding", "content-length", "content-range", "content-transfer-encoding", "content-type", "cookie",
        "expect", "forwarded", "host", "idempotency-key", "if-match", "if-modified-since", "if-none-match", "if-range",
        "if-unmodified-since", "last-event-id", "oc-total-length", "origin", "prefer", "range", "te", "trailer",
        "transfer-encoding", "upload-complete", "upload-length", "user-agent", "want-repr-digest", "x-forwarded-for",
        "x-http-method-override", "x-request-id",
    }
)  # fmt: skip
headers = st.lists(st.tuples(st.sampled_from(FIELD_NAMES), fields), max_size=5)
queries = st.lists(st.tuples(st.sampled_from([*NAMES, "ids", "x"]), texts), max_size=4)


def request_of(said: list[tuple[str, str]], method: str = "GET", query: bytes = b"") -> Request:
    """Return a request with this head."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in said]
    scope = {"type": "http", "method": method, "path": "/uploads/x", "query_string": query, "headers": raw}
    return Request(scope | {"http_version": "1.1", "raw_path": b"/uploads/x"})


def a_head_of_an_upload(said: list[tuple[str, str]], method: str, query: bytes, path: bytes) -> None:
    read_head(request_of(said, method, query), raw_path=path, max_ttl_seconds=3600)


def what_a_reader_likes(said: list[tuple[str, str]]) -> None:
    request = request_of(said)
    negotiation.kind_of(request)
    negotiation.prefers_coding(request, "gzip")
    language_of(request)
    cookie_of(request, "vacpack_manage")
    ranges.requested_range(request, 100, '"x"')


def preconditions_of(said: list[tuple[str, str]]) -> None:
    with suppress(ServiceError):
        preconditions.is_not_modified(request_of(said), '"x"', modified_at=1)
    preconditions.check_change(request_of(said, "DELETE"), '"x"')


def a_head(method: bytes, version: str, said: list[tuple[str, str]], target: bytes) -> None:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in said]
    refusal_of(method, version, pairs)
    refusal_of_line(target)
    refusal_of_target(target)
    refusal_of_field(len(pairs), sum(len(value) for _, value in pairs))
    expects_continue(version, pairs)
    settled_target(target)


def headers_of_a_part(said: list[tuple[str, str]]) -> None:
    found = gathered(said)
    for place in Place:
        with suppress(ServiceError):
            check_headers(found, place)
    with suppress(ServiceError):
        digests.expected_digests(found)
    part_content.charset_of(found, "utf-8")
    content = part_content.PartContent(found | {"content-length": "3"})
    content.take(memoryview(b"abc"))
    content.end()


def a_name(text: str) -> None:
    clean = clean_path(text)
    assert clean == clean_path(clean)
    assert clean.encode()
    assert len(clean) <= 1024
    assert not {"", ".", ".."} & set(clean.split("/"))
    marks = "".join("m" if unicodedata.category(letter)[0] == "M" else " " for letter in clean)
    assert max(map(len, marks.split()), default=0) <= 2 * MAX_RUN_OF_MARKS


def a_name_in(raw: bytes, language: str, label: str) -> None:
    hints = charsets.hints_of(label, language)
    for name in (
        charsets.decoded(raw, hints),
        charsets.decoded_as(raw, label),
        filenames.name_of_disposition(raw, hints),
        filenames.name_of_disposition(b"form-data; filename*=" + raw, hints, is_form=True),
        filenames.name_of_path(raw, hints),
        filenames.name_of_query(b"filename=" + raw, hints),
    ):
        a_name(name or "")
    parameters_of(raw)


def an_encoding(raws: list[bytes], encoding: str) -> None:
    decoder = DECODERS[encoding]()
    with suppress(ValueError):
        for raw in raws:
            decoder.feed(memoryview(raw))
        decoder.end()


def options(items: list[tuple[str, str]]) -> None:
    values: dict[str, str] = {}
    for name, value in items:
        put(values, name, value)
    with suppress(ServiceError):
        check_names(values)
    read_options(values, max_ttl_seconds=3600)


def a_form(pieces: list[bytes], cut: int) -> None:
    body = b"".join(pieces)
    parser = multipart.FormParser("multipart/form-data; boundary=b", max_parts=10)
    for at in range(0, len(body), cut):
        for event in parser.feed(body[at : at + cut]):
            if isinstance(event, multipart.PartBegins):
                a_name(event.filename or "")
    parser.close()


def a_fields_text(raw: bytes, charset: str) -> None:
    part_content.text_of(raw, charset, "x")


methods = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"])
PROPERTIES: Mapping[str, tuple[Callable[..., Any], tuple[st.SearchStrategy[Any], ...]]] = {
    "a head": (a_head, (methods.map(str.encode), st.sampled_from(["1.0", "1.1", "2.0"]), headers, raws)),
    "a head of an upload": (a_head_of_an_upload, (headers, methods, raws, raws)),
    "a name": (a_name, (texts,)),
    "a name in bytes": (a_name_in, (raws, fields, fields)),
    "a form": (a_form, (parts, st.integers(1, 100))),
    "a boundary": (multipart.boundary_of, (fields,)),
    "a field's text": (a_fields_text, (raws, texts)),
    "a key": (read_key, (fields,)),
    "an encoding": (an_encoding, (st.lists(raws, max_size=4), st.sampled_from(sorted(DECODERS)))),
    "headers of a part": (headers_of_a_part, (headers,)),
    "options": (options, (queries,)),
    "preconditions": (preconditions_of, (headers,)),
    "what a reader likes": (what_a_reader_likes, (headers,)),
    "what digest is wanted": (digests.wants_sha256, (fields,)),
}
"""Each with what it is given."""


def hold(name: str, settings: settings) -> None:
    """Give the reader input by chance, and find what it raises beside refusals by name."""
    read, strategies = PROPERTIES[name]

    @settings
    @given(st.tuples(*strategies))
    def check(values: tuple[Any, ...]) -> None:
        with suppress(ServiceError):
            read(*values)

    check()
