"""Threads that compute only when nobody else wants the processor, and how a whole worker process steps back."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from service.work.attempt import Attempt

T = TypeVar("T")

OOM_SCORE = 500
"""Added to the child's score, so that the kernel ends it, and not the service, when memory runs out."""


NOTICE_SECONDS = 0.3
"""Time for a stopped attempt to end by itself. On a busy machine a thread of the lowest priority may need much longer
to get the processor, and nobody who cancels or shuts down should have to wait for that."""


class ComputeThreads:
    """A pool of threads for the codecs, below all others; threads that the codecs start inherit it."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="compute", initializer=_step_back)

    def __call__(self, function: Callable[[], T], attempt: Attempt, /) -> T:
        """As ``Compute``: run ``function`` in the pool and wait for it, but not for long once the attempt is stopped.

        A function that is left behind goes on until it notices, and cleans up after itself.
        """
        future = self._pool.submit(function)
        future.add_done_callback(lambda _: attempt.stirred.set())
        attempt.stirred.wait()
        if not wait([future], NOTICE_SECONDS).done:
            future.cancel()
            attempt.check()
        return future.result()


def _step_back() -> None:
    # Refused in some sandboxes, missing outside Linux: then the process's own niceness has to do.
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def lower_process(niceness: int) -> None:
    """Lower this process's priority by so many steps, and offer it first when memory runs out."""
    os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
