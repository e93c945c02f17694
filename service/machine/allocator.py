"""Tells glibc to keep the memory that bodies pass through, instead of faulting it in again; and to give it back."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

ARENAS = 1
"""One heap for all threads: the end of any other is never given back below the threshold, 48 MiB each."""

MMAP_THRESHOLD_BYTES = 32 * 1024**2
"""Blocks below it come from the heap; the network's chunks of 256 KiB otherwise get a mapping of their own each."""
TRIM_THRESHOLD_BYTES = 48 * 1024**2
"""Free memory at the heap's end that is kept."""
KEPT_BYTES = 8 * 1024**2
"""Of that, what is kept when nothing is under way."""
PAUSE_SECONDS = 10
"""How often to see whether anything is."""
BUSY_ROUNDS = 6
"""After so many looks in a row that found something under way it is done all the same."""


def keep_freed_memory() -> bool:
    """Set the thresholds; return whether this C library knows them (mallopt(3): glibc only)."""
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    settings = (
        (_M_ARENA_MAX, ARENAS),
        (_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
    )
    return all(mallopt(name, value) for name, value in settings)


def give_back() -> bool:
    """Give freed memory back, wherever in the heap it lies; return whether there was any (malloc_trim(3): glibc only).

    After downloads to twenty connections that read nothing it was 48 MiB, which nobody would ever ask for again.
    """
    trim = _of_glibc("malloc_trim")
    return trim is not None and bool(trim(ctypes.c_size_t(KEPT_BYTES)))


def _of_glibc(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found
