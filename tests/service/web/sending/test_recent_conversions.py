"""What was made of much and is little is made once; what is kept is bounded, whoever asks for what."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator

import pytest

from service.web import results
from service.web.sending.recent_conversions import RecentConversions
from storage.ids import Key
from tests.service.web.in_process import InProcess

A, B, C = Key("a"), Key("b"), Key("c")


async def body(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


def read(recent: RecentConversions, key: Key, *pieces: bytes, count: int | None = None) -> list[bytes]:
    """Read the body whole, or only so many pieces of it."""

    async def run() -> list[bytes]:
        made, found = recent.gathered(key, body(*pieces)), []
        async for piece in made:
            found.append(piece)
            if len(found) == count:
                await made.aclose()
                break
        return found

    return asyncio.run(run())


def test_a_body_is_passed_on_and_kept() -> None:
    recent = RecentConversions(10, 4)

    assert read(recent, A, b"12", b"3") == [b"12", b"3"]

    assert recent.get(A) == b"123"
    assert recent.get(B) is None
    assert recent.kept_bytes == 3


def test_what_is_too_large_or_left_before_its_end_is_not_kept() -> None:
    recent = RecentConversions(10, 4)

    assert read(recent, A, b"123", b"45", b"6") == [b"123", b"45", b"6"]
    assert read(recent, B, b"12", b"3", count=1) == [b"12"]

    assert (recent.get(A), recent.get(B), recent.kept_bytes, recent.gathering_bytes) == (None, None, 0, 0)


def test_the_least_recently_asked_for_goes_first() -> None:
    recent = RecentConversions(10, 4)
    read(recent, A, b"1234")
    read(recent, B, b"1234")
    recent.get(A)

    read(recent, C, b"1234")

    assert (recent.get(A), recent.get(B), recent.get(C)) == (b"1234", None, b"1234")
    assert recent.kept_bytes == 8


def test_what_slow_readers_have_gathered_lets_nothing_go_that_is_kept() -> None:
    async def run() -> RecentConversions:
        recent = RecentConversions(4, 4)
        assert [piece async for piece in recent.gathered(C, body(b"1234"))]
        slow = [recent.gathered(key, body(b"12", b"345")) for key in (A, B)]
        for made in slow * 2:
            await anext(made)
        assert recent.gathering_bytes == 0, "neither can be kept any more"
        return recent

    recent = asyncio.run(run())

    assert recent.get(C) == b"1234"


def test_what_is_being_gathered_has_a_limit_too() -> None:
    async def run() -> RecentConversions:
        recent = RecentConversions(6, 4)
        both = [recent.gathered(key, body(b"12", b"34")) for key in (A, B)]
        for made in both * 2:
            await anext(made)
        for made in both:
            assert [piece async for piece in made] == []
        return recent

    recent = asyncio.run(run())

    assert (recent.get(A), recent.get(B), recent.gathering_bytes) == (b"1234", None, 0)


def test_the_same_made_twice_at_once_is_kept_once() -> None:
    async def run() -> RecentConversions:
        recent = RecentConversions(20, 4)
        both = [recent.gathered(A, body(b"12")) for _ in range(2)]
        for made in both:
            await anext(made)
        for made in both:
            assert [piece async for piece in made] == []
        return recent

    assert asyncio.run(run()).kept_bytes == 2


def test_much_that_becomes_little_is_converted_once(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(17 * 1024**2)
    job = app.done(content, format="zstd")
    url = f"/jobs/{job['id']}/result?format=gzip"
    first = app.client.get(url)
    monkeypatch.setattr(results.streams, "converted", None)

    second = app.client.get(url)

    assert second.content == first.content
    assert gzip.decompress(second.content) == content
    assert second.headers["ETag"] == first.headers["ETag"]
    assert second.headers["Content-Length"] == str(len(second.content))
    assert app.parts.recent.kept_bytes == len(second.content)
    assert app.parts.conversions.under_way == app.parts.downloads.under_way == 0


def test_little_is_converted_anew(app: InProcess) -> None:
    job = app.done(bytes(100_000), format="zstd")

    assert app.client.get(f"/jobs/{job['id']}/result?format=gzip").status_code == 200

    assert app.parts.recent.kept_bytes == 0
