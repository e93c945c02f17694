"""Threads that compute only when nobody else wants the processor, and how a whole worker process steps back."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

OOM_SCORE = 500
"""Added to the child's score, so that the kernel ends it, and not the service, when memory runs out."""


class ComputeThreads:
    """A pool of threads for the codecs, below all others; threads that the codecs start inherit it."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="compute", initializer=_step_back)

    def __call__(self, function: Callable[[], T], /) -> T:
        """Run ``function`` in the pool, wait for it, and return or raise what it does."""
        return self._pool.submit(function).result()

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._pool.shutdown()


def _step_back() -> None:
    # Refused in some sandboxes, missing outside Linux: then the process's own niceness has to do.
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def lower_process(niceness: int) -> None:
    """Lower this process's priority by so many steps, and offer it first when memory runs out."""
    os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
