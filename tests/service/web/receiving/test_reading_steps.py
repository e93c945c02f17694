"""What anybody may send costs a bounded number of steps to read: each field at its worst, and as long as it may be.

Steps are lines and calls of Python, C's among them; what C itself does is bounded by the length that it is given. Time
is not looked at: it depends on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
from starlette.requests import Request

from service.errors import ServiceError
from service.values.file_names import clean_path
from service.web.connection.request_head import MAX_FIELD_BYTES, MAX_TARGET_BYTES, settled_target
from service.web.http import digests, negotiation, preconditions, ranges
from service.web.http.cookies import cookie_of
from service.web.names import filenames
from service.web.names.charsets import decoded, hints_of
from service.web.page.language import language_of
from service.web.receiving import header_checks, multipart, part_content
from service.web.receiving.options import check_names
from service.web.receiving.upload_head import read_key

MAX_STEPS = 20_000
"""Of one reader; quadratic ones took millions."""
MAX_STEPS_OF_A_NAME = 150_000
"""Recognising a name whose charset nobody names tries seventeen on 64 letters, as long as it may be."""

UNITS = [
    ";", "; ", ",", ", ", "a;", "a,", '"', '\\"', "'", " ", "\t", "=", "a=b;", "a=1,", "a=(1 ", "(", "*", "-", "0-0,",
    '"a",', "W/", "%", "%41", "%ff", "%cc%81", "%1b$B", "=?", "=?utf-8?q?=cc=81?= ", "q=0;", "a;q=1,", "text/html,",
    "zh-", "filename*0=a;", "filename=a;", "..", "/", "\\", "../", ".", "9", "a", "\x80", "\xe9 ", "\xb2\xe2",
    "\xe4\xb8", "\xc3\xa9", "\xff\xfe", "a\x00",
]  # fmt: skip
BEGINNINGS = [
    "", 'a;b="', "a;", "attachment; filename=", 'attachment; filename="', "attachment; filename*=UTF-8''",
    "attachment; filename*=punycode''", "attachment; filename*=iso-2022-jp''", "form-data; name=", "sha-256=:",
    "bytes=", "multipart/form-data; boundary=", "text/plain; charset=", "vacpack_manage=", '"',
]  # fmt: skip


def worst(limit: int) -> Iterator[str]:
    """Yield every unit repeated behind every beginning, as long as it may be."""
    for beginning in BEGINNINGS:
        for unit in UNITS:
            yield (beginning + unit * limit)[:limit]


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count lines and calls, those into C too, in the block."""
    steps = [0]

    def on_line(frame: FrameType, event: str, argument: Any) -> Any:
        steps[0] += 1
        return on_line

    def on_call(frame: FrameType, event: str, argument: Any) -> None:
        steps[0] += 1

    tracing, profiling = sys.gettrace(), sys.getprofile()
    sys.settrace(on_line)
    sys.setprofile(on_call)
    try:
        yield steps
    finally:
        sys.settrace(tracing)
        sys.setprofile(profiling)


def steps_of(read: Callable[[], object]) -> int:
    with counted() as steps, suppress(ServiceError):
        read()
    return steps[0]


def asking(name: str, value: str) -> Request:
    headers = [(name.encode(), value.encode("latin-1"))]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers})


def name_in(value: str) -> str:
    return clean_path(filenames.name_of_disposition(value, is_form=True))


def coding(value: str) -> None:
    header_checks.check_coding(header_checks.Said("content-encoding", value, header_checks.Place.RAW, "PUT", {}))


FIELDS: dict[str, Callable[[str], object]] = {
    "accept": lambda value: negotiation.kind_of(asking("accept", value)),
    "accept-encoding": lambda value: negotiation.prefers_coding(asking("accept-encoding", value), "gzip"),
    "accept-language": lambda value: language_of(asking("accept-language", value)),
    "accept-language, for names": lambda value: hints_of("", value),
    "content-disposition": name_in,
    "content-encoding": coding,
    "content-type, its boundary": multipart.boundary_of,
    "content-type, its charset": lambda value: part_content.charset_of({"content-type": value}, ""),
    "cookie": lambda value: cookie_of(asking("cookie", value), "vacpack_manage"),
    "idempotency-key": read_key,
    "if-match": lambda value: preconditions.check_change(asking("if-match", value), '"x"'),
    "if-modified-since": lambda value: preconditions.is_not_modified(
        asking("if-modified-since", value), None, modified_at=1
    ),
    "if-none-match": lambda value: preconditions.is_not_modified(asking("if-none-match", value), '"x"'),
    "range": lambda value: ranges.requested_range(asking("range", value), 100, '"x"'),
    "want-repr-digest": digests.wants_sha256,
    **{name: (lambda value, name=name: digests.expected_digests({name: value})) for name in digests.FIELDS},
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_read_in_few_steps_whatever_it_says(name: str) -> None:
    steps = {value: steps_of(lambda value=value: FIELDS[name](value)) for value in worst(MAX_FIELD_BYTES)}

    limit = MAX_STEPS_OF_A_NAME if name == "content-disposition" else MAX_STEPS
    assert {value[:60]: count for value, count in steps.items() if count > limit} == {}


def test_a_held_request_reads_what_it_has_once() -> None:
    lines = [(b"if-none-match", b'"a",' * 2000) for _ in range(8)]
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": lines})
    assert steps_of(lambda: preconditions.is_named(request, '"x"')) <= MAX_STEPS

    assert steps_of(lambda: preconditions.is_named(request, '"x"')) <= 60
    assert preconditions.is_named(request, '"a"')


NAMES = [
    "\u0301", "a\u0301", "\u0344", "\U0001f1e6", "\u200d", "\u0600\u200d", "\U0001f3f4", "\ud800", "\u1100\u1161",
    "\uac00", "/", "a/", "con.", " .", "\x00", "😀\u200d", "%41", "\ufdfa",
]  # fmt: skip


@pytest.mark.parametrize("unit", NAMES, ids=ascii)
@pytest.mark.parametrize("beginning", ["", "a", "\U0001f3f4"], ids=ascii)
def test_a_name_is_cleaned_in_few_steps(unit: str, beginning: str) -> None:
    assert steps_of(lambda: clean_path(beginning + unit * 40_000)) < MAX_STEPS


def test_what_is_normalised_is_short_and_has_no_long_runs_of_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Normalising takes time in step with the square of a run of marks, in C, where no step is seen."""
    seen: list[str] = []

    def normalize(form: str, text: str) -> str:
        seen.append(text)
        return text

    monkeypatch.setattr("service.values.file_names.unicodedata.normalize", normalize)
    for unit in NAMES:
        clean_path("a" + unit * 40_000)
        clean_path("a" + unit * 40_000 + "." + "\u0301" * 40_000)

    assert max(map(len, seen)) <= 600
    assert not any("\u0301" * 31 in text for text in seen)


def test_an_address_is_read_in_few_steps() -> None:
    targets = [f"/?{value}".encode("latin-1", "replace")[:MAX_TARGET_BYTES] for value in worst(MAX_TARGET_BYTES)]
    reads = (lambda target=target: settled_target(target) for target in targets)

    assert max(map(steps_of, reads)) < MAX_STEPS


def test_names_in_addresses_are_read_in_few_steps() -> None:
    for unit in UNITS:
        raw = (unit * MAX_TARGET_BYTES).encode("latin-1")[:MAX_TARGET_BYTES]
        for read in (filenames.name_of_path, lambda raw: filenames.name_of_query(b"filename=" + raw), decoded):
            assert steps_of(lambda read=read, raw=raw: clean_path(read(raw))) < MAX_STEPS_OF_A_NAME, unit


def test_a_name_that_is_no_option_is_refused_in_few_steps() -> None:
    assert max(steps_of(lambda unit=unit: check_names([unit * MAX_TARGET_BYTES])) for unit in UNITS) < MAX_STEPS
