"""A cheap guess whether compressing pays, before any work is done. The worker's ``auto`` and ``zip`` ask it."""

from __future__ import annotations

from collections.abc import Callable

import zstandard

SAMPLES = 16
SAMPLE_BYTES = 64 << 10

INCOMPRESSIBLE_FRACTION = 0.97


def probe(read_at: Callable[[int, int], bytes], size_bytes: int) -> float:
    """Return about which fraction of its size a file would be compressed to, 0.0 to a little over 1.0.

    Sixteen samples of 64 KiB, the first at the start, the last at the end, the others evenly between, are compressed
    by zstd 1; a smaller file is read whole. ``read_at(offset, size)`` returns up to ``size`` bytes from ``offset``.
    An empty file gives 1.0: there is nothing to gain.
    """
    if size_bytes <= SAMPLES * SAMPLE_BYTES:
        samples = [read_at(0, size_bytes)]
    else:
        last = size_bytes - SAMPLE_BYTES
        samples = [read_at(last * index // (SAMPLES - 1), SAMPLE_BYTES) for index in range(SAMPLES)]
    total = sum(map(len, samples))
    compressor = zstandard.ZstdCompressor(level=1)
    return sum(len(compressor.compress(sample)) for sample in samples) / total if total else 1.0


def is_incompressible(fraction: float) -> bool:
    """Say whether what ``probe`` returned is too much to be worth compressing."""
    return fraction >= INCOMPRESSIBLE_FRACTION
