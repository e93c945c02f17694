"""What arriving files hold in memory: little of what trickles, and little each where they are very many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.intake.sink import GATHER_BYTES, GATHER_SECONDS, MAX_GATHERED_BYTES, SMALL_BYTES, Sink
from storage.files.local_files import LocalFiles
from tests.service.intake.test_sink import fed, left
from tests.service.payloads import noise


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    sink = Sink(LocalFiles(tmp_path / "files"))
    yield sink
    sink.close()


def test_what_trickles_is_written_when_it_is_old_and_more_than_a_small_file(sink: Sink) -> None:
    now = 100.0
    sink.clock = lambda: now

    async def story() -> None:
        nonlocal now
        incoming = sink.begin(wants_digest=False)
        assert not incoming.add(bytes(SMALL_BYTES))
        now += GATHER_SECONDS
        assert not incoming.add(b"x")
        now += 0.1
        assert incoming.add(b"x")
        await incoming.flush()
        assert not incoming.add(bytes(SMALL_BYTES + 1))
        await incoming.finish()

    asyncio.run(story())


def test_a_small_file_may_be_as_slow_as_it_is(sink: Sink, tmp_path: Path) -> None:
    now = 0.0
    sink.clock = lambda: now
    incoming = sink.begin(wants_digest=False)
    for _ in range(SMALL_BYTES // 1024):
        now += 60
        assert not incoming.add(bytes(1024))

    assert incoming.finish_later() is not None
    assert left(tmp_path) == []


def test_many_files_hold_little_more_than_a_few(sink: Sink) -> None:
    async def story() -> None:
        many = [sink.begin(wants_digest=False) for _ in range(200)]
        for _ in range(15):
            for incoming in many:
                if incoming.add(bytes(SMALL_BYTES)):
                    await incoming.flush()
        assert sum(incoming._gathered_bytes for incoming in many) == sink.gathered_bytes
        assert sink.gathered_bytes <= MAX_GATHERED_BYTES + len(many) * SMALL_BYTES
        for incoming in many:
            await incoming.abort()

    asyncio.run(story())
    assert sink.gathered_bytes == 0


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES, GATHER_BYTES, 3 * GATHER_BYTES + 1])
@pytest.mark.parametrize("end", ["finish", "finish_later", "abort"])
def test_what_has_come_to_its_end_is_gathered_no_more(sink: Sink, size: int, end: str) -> None:
    async def story() -> None:
        incoming = await fed(sink, [noise(size)])
        ended = getattr(incoming, end)()
        if end != "finish_later":
            await ended
        elif ended is None:
            await incoming.finish()
        await incoming.abort()

    asyncio.run(story())
    assert sink.gathered_bytes == 0
