"""The child's side of the watch: tells the supervisor how each thread gets on, and ends a process that can do no good.

A worker whose duties keep failing while the machine is well (out of memory or descriptors, a fault of the program) is
worse than none: it holds leases, and readyz counts it. A new process has everything again. Where the machine lacks
something, a new one would lack it too, so this one waits.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable

from service.failures import trouble_of
from service.machine.loop import Failing, Loop
from service.work.pulse import PULSE_SECONDS, Pulse
from service.work.starvation import Starvation
from service.work.worker import Worker
from storage.errors import StorageLost
from storage.trouble import Trouble

OF_THIS_PROCESS = frozenset({Trouble.MEMORY, Trouble.DESCRIPTORS, Trouble.THREADS})
"""What a new process has again."""

LEAST_FAILURES = 3
"""However much time has passed: a process that was stopped meanwhile did not try."""

_log = logging.getLogger(__name__)


class PulseSender:
    """Sends a pulse twice a second over ``fd``, and looks after the loops meanwhile. Start it once."""

    def __init__(self, fd: int, *, patience_seconds: float, give_up: Callable[[], object]) -> None:
        """``give_up`` ends the process: a duty has failed for ``patience_seconds``, or its thread has ended."""
        self._fd = fd
        self._patience_seconds = patience_seconds
        self._give_up = give_up
        self._worker: Worker | None = None
        self._loops: tuple[Loop, ...] = ()
        self._starvation = Starvation()
        self._is_stopped = threading.Event()
        # A supervisor that is stopped reads nothing, and nobody here may wait for that.
        os.set_blocking(fd, False)

    def start(self) -> None:
        """Begin: what is done until ``watch`` counts as one thing, the start."""
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def watch(self, worker: Worker, others: Iterable[Loop]) -> None:
        """Tell of this worker from now on, and look after its loops and the others."""
        self._loops = (*worker.loops, *others)
        self._worker = worker

    def say(self, line: str) -> None:
        """Send one line, whole, or none if the pipe is full."""
        try:
            os.write(self._fd, f"{line}\n".encode())
        except OSError:
            # Full: the supervisor is stopped. Broken: it is gone, and the end of the other pipe says so.
            return

    def stop(self) -> None:
        """Send no more: the process is about to end in good order."""
        self._is_stopped.set()

    def _run(self) -> None:
        while not self._is_stopped.is_set():
            doing = self._worker.doing() if self._worker else Pulse.of_start()
            self.say(Pulse(doing, self._starvation.share()).to_line())
            self._look_after_loops()
            self._look_after_pause()
            self._is_stopped.wait(PULSE_SECONDS)

    def _look_after_loops(self) -> None:
        essential = self._worker.loops if self._worker else ()
        for loop in self._loops:
            failing = loop.failing()
            if loop.is_dead():
                _log.error("this worker ends: the thread of a duty has ended", extra={"duty": loop.name})
                self._give_up()
            elif failing is not None and self._is_hopeless(failing, is_essential=loop in essential):
                _log.error(
                    "this worker ends: a duty keeps failing",
                    extra={"duty": failing.name, "for_seconds": round(failing.seconds, 1)},
                    exc_info=failing.error,
                )
                self._give_up()

    def _look_after_pause(self) -> None:
        """End a process that tries no job for want of what a new one has again; it holds none."""
        waiting = self._worker.waits_in_vain_for() if self._worker else None
        if waiting is not None and waiting[0] in OF_THIS_PROCESS and waiting[1] >= self._patience_seconds:
            facts = {"waiting_for": str(waiting[0]), "for_seconds": round(waiting[1], 1)}
            _log.error("this worker ends: it can do no job any more", extra=facts)
            self._give_up()

    def _is_hopeless(self, failing: Failing, *, is_essential: bool) -> bool:
        """Say whether a new process would do better; a sweep that stumbles over one file ends nobody's compressing."""
        if failing.seconds < self._patience_seconds or failing.times < LEAST_FAILURES:
            return False
        trouble = trouble_of(failing.error)
        if trouble in OF_THIS_PROCESS:
            return True
        return is_essential and trouble is None and not isinstance(failing.error, StorageLost)
