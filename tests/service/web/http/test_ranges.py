"""Byte ranges of RFC 9110, section 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import RANGE_NOT_SATISFIABLE, ServiceError
from service.web.http.ranges import requested_range
from tests.service.web.asking import request_with

ETAG = '"tag"'


def range_of(value: str | None, size_bytes: int = 10, method: str = "GET", **more: str) -> tuple[int, int] | None:
    headers = {
        **({} if value is None else {"Range": value}),
        **{name.replace("_", "-"): it for name, it in more.items()},
    }
    return requested_range(request_with(headers, method=method), size_bytes, ETAG)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=9-", (9, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=5-99", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("BYTES=1-2", (1, 3)),
        ("bytes = 1 - 2", (1, 3)),
    ],
)
def test_one_range_is_read(value: str, part: tuple[int, int]) -> None:
    assert range_of(value) == part


@pytest.mark.parametrize(
    "value",
    [None, "", "bytes=-", "bytes=5-3", "bytes=0-1,3-4", "lines=0-1", "bytes 0-1", "bytes=a-b", "bytes=-1-2", "0-1"],
)
def test_anything_else_means_the_whole_file(value: str | None) -> None:
    assert range_of(value) is None


@pytest.mark.parametrize(
    ("value", "size_bytes"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_outside_the_file_is_refused_with_its_size(value: str, size_bytes: int) -> None:
    with pytest.raises(ServiceError) as caught:
        range_of(value, size_bytes)

    assert caught.value.kind is RANGE_NOT_SATISFIABLE
    assert caught.value.headers == {"Content-Range": f"bytes */{size_bytes}"}


def test_if_range_of_the_same_version_gives_the_range() -> None:
    assert range_of("bytes=1-2", If_Range=ETAG) == (1, 3)


@pytest.mark.parametrize("validator", ['"other"', 'W/"tag"', "Sat, 21 Nov 2026 20:00:00 GMT", ""])
def test_if_range_of_another_version_gives_the_whole_file(validator: str) -> None:
    assert range_of("bytes=1-2", If_Range=validator) is None


@pytest.mark.parametrize("value", ["bytes=1-2", "bytes=99-"])
def test_head_has_no_ranges(value: str) -> None:
    assert range_of(value, method="HEAD") is None


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(1, 2**62))
def test_a_range_lies_within_the_file(first: int, last: int, size_bytes: int) -> None:
    try:
        part = range_of(f"bytes={first}-{last}", size_bytes)
    except ServiceError:
        assert first >= size_bytes
        return
    if last < first:
        assert part is None
    else:
        assert part == (first, min(last + 1, size_bytes))
