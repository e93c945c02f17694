"""Threads that compute when nobody else wants the processor, and how a whole worker process steps back."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from service.work.attempt import Attempt

T = TypeVar("T")

OOM_SCORE = 500
"""Added to the child's score, so that the kernel ends it, and not the service, when memory runs out."""


COMPUTE_STEPS = 9
"""How far codecs stand below the threads of the same worker that talk to the database.

Not ``SCHED_IDLE``: beside two processes that never rest, such as clients that poll without a pause, two jobs of zstd
got through 7 to 25 MiB each in 11 s, five steps below the default niceness through 60, and the service's writes and
loop waited no longer (p99 2 to 6 ms and 8 to 22 ms, all within noise; 2 cores, Linux 6.18). Nine steps are the lowest
there is by default: beside two ``small`` jobs a slow poller's p99 was 5.9 ms at five steps and 4.3 ms at
nine, in two runs of three rounds; idle it was 2.0 ms in the first and a noisy 6.7 ms in the second."""

LOWEST = 19
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
    # On Linux the priority belongs to the thread; elsewhere to the process, which may then stand lower than it asked.
    own = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, own, min(LOWEST, os.getpriority(os.PRIO_PROCESS, own) + COMPUTE_STEPS))


IO_IDLE = 3 << 13
"""The class whose requests the disk serves when there are no others (``ioprio_set(2)``), where its scheduler has it."""

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
"""The number of the system call, which the C library does not offer."""


def step_back_fully() -> None:
    """Put this thread behind all others: for the processor, and as far as it is known how, for the disk."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)
    number = _IOPRIO_SET.get(platform.machine()) if sys.platform == "linux" else None
    if number is not None:
        # Of this thread (0); a kernel or sandbox that refuses leaves it as it was.
        ctypes.CDLL(None).syscall(number, 1, 0, IO_IDLE)


def lower_process(niceness: int) -> None:
    """Lower this process's priority by so many steps, and offer it first when memory runs out."""
    os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
