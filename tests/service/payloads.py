"""Bytes to compress, the same in every run."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from io import SEEK_CUR
from itertools import repeat
from pathlib import Path

from service.codecs.codec import Chunk

MIB = 1 << 20
_WORDS = [f"{index * 2654435761 % 1000003:x}" for index in range(3000)]


def text(size_bytes: int, seed: int = 1) -> bytes:
    """Lines of words, which compress about four times."""
    chance = random.Random(seed)
    unit = " ".join(chance.choices(_WORDS, k=40_000)).encode()
    return (unit * (size_bytes // len(unit) + 1))[:size_bytes]


def noise(size_bytes: int, seed: int = 2) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size_bytes)


def mixed(size_bytes: int) -> bytes:
    """A third each of text, noise and zeros, in runs of 200 KiB or so."""
    run = 200_003
    parts = [
        text(run, seed) if seed % 3 == 0 else noise(run, seed) if seed % 3 == 1 else bytes(run)
        for seed in range(size_bytes // run + 1)
    ]
    return b"".join(parts)[:size_bytes]


def cut(data: bytes, size_bytes: int) -> Iterator[bytes]:
    """Yield ``data`` in chunks of ``size_bytes``."""
    return (data[start : start + size_bytes] for start in range(0, len(data), size_bytes))


def thread_count() -> int:
    """Return how many threads this process has, those of libraries included."""
    return len(list(Path("/proc/self/task").iterdir()))


def threads_settle_at(count: int) -> bool:
    """Say whether only ``count`` threads are left; the system may list a joined one a moment longer."""
    deadline = time.monotonic() + 5
    while thread_count() > count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


ZEROS = bytes(MIB)


def giant(size_bytes: int, start: bytes) -> Iterator[bytes]:
    """Yield ``start``, then ``ZEROS`` itself up to ``size_bytes``: quickly packed, and sparse as a file."""
    yield start
    whole, rest = divmod(size_bytes - len(start), MIB)
    yield from repeat(ZEROS, whole)
    yield bytes(rest)


def write_sparse(path: Path, chunks: Iterable[Chunk]) -> None:
    """Write a file in which ``ZEROS`` are holes."""
    with path.open("wb") as file:
        for chunk in chunks:
            if chunk is ZEROS:
                file.seek(len(chunk), SEEK_CUR)
            else:
                file.write(chunk)
