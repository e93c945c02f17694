"""Tells glibc to keep the memory that bodies pass through, instead of giving it back and faulting it in again."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

MMAP_THRESHOLD_BYTES = 32 * 1024**2
"""Blocks below it come from the heap; the network's chunks of 256 KiB otherwise get a mapping of their own each."""
TRIM_THRESHOLD_BYTES = 48 * 1024**2
"""Free memory at the heap's end that is kept."""


def keep_freed_memory() -> bool:
    """Set the thresholds; return whether this C library knows them (mallopt(3): glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) and mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES))
