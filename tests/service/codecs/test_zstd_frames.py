"""Leaving a frame that is being made, and knowing how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.codecs.codec import CODECS, Codec, Format, Level
from service.codecs.zstd_frames import FEED_BYTES, Encoding, encode_frame
from tests.service.payloads import MIB, cut, text, thread_count, threads_settle_at

SLOW = Encoding(19, job_bytes=MIB // 2, overlap_log=5, is_slow=True)
EVERY_CODEC = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.format.value)


def hard(size_bytes: int) -> bytes:
    """Text that does not repeat itself, which level 19 takes its time for: about 0.5 s of CPU for a MiB."""
    return b"".join(text(100_000, seed) for seed in range(size_bytes // 100_000 + 1))[:size_bytes]


@contextmanager
def ticking() -> Iterator[list[float]]:
    """Have a thread note the time every 5 ms: as often as the interpreter lets it run."""
    ticks, ended = [time.monotonic()], threading.Event()

    def tick() -> None:
        while not ended.wait(0.005):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield ticks
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("is_ending", [False, True], ids=["while it is fed", "while it ends"])
def test_other_threads_run_while_an_abandoned_frame_is_waited_for(is_ending: bool) -> None:
    data, fed, before = hard(2 * MIB), 0, thread_count()

    def source() -> Iterator[bytes]:
        nonlocal fed
        for chunk in cut(data, FEED_BYTES):
            fed += len(chunk)
            yield chunk

    frame = encode_frame(source(), SLOW, threads=2, size_bytes=len(data), finished=lambda _: None)
    while fed < (len(data) if is_ending else MIB):
        next(frame)
    if is_ending:
        next(chunk for chunk in frame if chunk)
    with ticking() as ticks:
        cpu, ticks_before = time.process_time(), len(ticks)
        frame.close()
        del frame
        worked_seconds, ticked = time.process_time() - cpu, len(ticks) - ticks_before

    assert worked_seconds > 0.1, "there was nothing to wait for"
    # Each core gives at most a second of work a second: so much time has passed, and half of the ticks may be late.
    assert ticked > worked_seconds / 2 / 0.005 / 4
    assert threads_settle_at(before)


def test_leaving_a_slow_frame_waits_for_no_more_than_its_threads_could_begin_with() -> None:
    data, taken = hard(2 * MIB), 0
    ahead: list[int] = []

    def finished(size_bytes: int) -> None:
        nonlocal taken
        taken += size_bytes

    def source() -> Iterator[bytes]:
        for start in range(0, len(data), FEED_BYTES):
            ahead.append(start - taken)
            yield data[start : start + FEED_BYTES]

    for _ in encode_frame(source(), SLOW, threads=2, size_bytes=len(data), finished=finished):
        pass

    assert taken == len(data)
    assert max(ahead) <= 2 * SLOW.job_bytes + FEED_BYTES
    assert ahead[-1] > 0, "what is read ahead does not count as done"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", Level)
@EVERY_CODEC
def test_every_byte_is_told_of_once_it_is_finished(codec: Codec, level: Level, threads: int) -> None:
    data, told = hard(MIB + 3), 0

    def finished(size_bytes: int) -> None:
        nonlocal told
        assert size_bytes > 0
        told += size_bytes

    so_far = [told for _ in codec.compress(cut(data, 77_777), level=level, threads=threads, finished=finished)]

    assert told == len(data)
    assert so_far[0] == 0
    assert len(set(so_far)) > 2, "it is told of in steps"


def test_what_a_slow_level_has_read_ahead_is_not_told_of() -> None:
    data, read, told = hard(MIB * 3 // 2), 0, 0

    def source() -> Iterator[bytes]:
        nonlocal read
        for chunk in cut(data, FEED_BYTES):
            yield chunk
            read += len(chunk)

    def finished(size_bytes: int) -> None:
        nonlocal told
        told += size_bytes

    stream = CODECS[Format.ZSTD].compress(source(), level=Level.SMALL, size_bytes=len(data), finished=finished)
    while read < len(data):
        next(stream)

    assert told < len(data) / 2
    assert sum(1 for _ in stream) > 0
    assert told == len(data)
