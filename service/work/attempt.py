"""One running attempt as its worker sees it: progress comes out, orders to stop go in.

The thread that computes calls ``enter``, ``advance``, ``step`` and ``check``; the heartbeat's calls ``progress``, the
pulse's ``doing``; anybody may call ``stop``. Single attributes are read and written whole in Python, so no lock is
needed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from service.work.pulse import Doing
from storage.jobs.job_attempts import Progress
from storage.lifecycle import Phase

RATE_MEMORY_SECONDS = 3.0
"""Time in which an old rate loses two thirds of its weight: steady to look at, and soon right after a change."""

RECORDING_SECONDS = 15.0
"""Recording the end may wait so long for the database's lock, until the heartbeat has failed as well."""

VERIFY_SHARE = 1.3
"""Time of compressing and verifying over that of compressing alone, for the guess whether an attempt will end."""


class AttemptStopped(Exception):
    """The attempt must end without a result; which kind says what to record."""


class Cancelled(AttemptStopped):
    """Its owner asked."""


class Fenced(AttemptStopped):
    """It is over already: rescued, or the job deleted. Nothing may be recorded."""


class Released(AttemptStopped):
    """The worker is shutting down: the job goes back into the queue."""


class OverLimit(AttemptStopped):
    """It took more than one job may: it has failed for good, with this code of ``failures``."""

    code = ""
    told = ""


class CpuSpent(OverLimit):
    """Its processor time is spent."""

    code = "cpu_limit"
    told = "It was stopped when it had taken as much processor time as one job may."


class MemorySpent(OverLimit):
    """It took too much memory."""

    code = "memory_limit"
    told = "It was stopped when it had taken as much memory as one job may."


class Attempt:
    """Progress and stop orders of one attempt at ``bytes_total`` bytes of sources.

    ``threads`` is how many the codec may use. ``stirred`` is set when the attempt is stopped; whoever waits for the
    computing to end may set it too, to wait for both at once.
    """

    def __init__(self, bytes_total: int, *, threads: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.threads = threads
        self.cpu_seconds = 0.0
        self.stirred = threading.Event()
        self._bytes_total = bytes_total
        self._clock = clock
        self._stopped: type[AttemptStopped] | None = None
        self._phase = Phase.STARTING
        self._bytes_done = 0
        self._steps = 0
        self._extra_seconds = 0.0
        self._is_computed = False
        self._rate: float | None = None
        self._seen = (self._phase, 0, clock())

    def enter(self, phase: Phase, *, bytes_done: int = 0) -> None:
        """Begin a phase; raises as ``check``."""
        self.check()
        self._bytes_done = bytes_done
        self._extra_seconds = 0.0
        self._phase = phase
        self.step()

    def advance(self, size_bytes: int) -> None:
        """Count bytes of the sources that this phase is done with: what a codec has finished, not what it has read.

        Raises nothing, so that a codec which tells of them is never broken off in the middle.
        """
        self._bytes_done += size_bytes
        self.step()

    def step(self) -> None:
        """Note that the attempt gets on: bytes were read, or came out. Whoever waits, or just looks, takes no step."""
        self._steps += 1

    def allow(self, extra_seconds: float) -> None:
        """Let each step of this phase take so long beyond what others may."""
        self._extra_seconds = extra_seconds
        self.step()

    def computed(self) -> None:
        """Note that the computing is over: what follows waits for the database, as long as that takes."""
        self._is_computed = True
        self._extra_seconds = RECORDING_SECONDS
        self.step()

    def doing(self, *, waits_for_database: bool) -> Doing | None:
        """Return how it gets on, for the pulse; None if it can only wait until the database may be written again."""
        if self._is_computed and waits_for_database:
            return None
        return Doing(self._steps, self._extra_seconds)

    @property
    def at(self) -> str:
        """What it is at, for operators: its phase, or that only the database is left."""
        return "recording" if self._is_computed else self._phase

    def check(self) -> None:
        """Go on, unless the attempt was stopped.

        Raises:
            AttemptStopped: Cancelled, Fenced, Released or OverLimit, whichever came first.
        """
        if self._stopped is not None:
            raise self._stopped

    def stop(self, reason: type[AttemptStopped]) -> None:
        """Have the next ``check`` raise ``reason``, unless another came first."""
        self._stopped = self._stopped or reason
        self.stirred.set()

    def progress(self) -> Progress:
        """Return how far it is, with the rate smoothed over the calls of this. For one thread only."""
        phase, bytes_done, now = self._phase, min(self._bytes_done, self._bytes_total), self._clock()
        phase_before, bytes_before, before = self._seen
        self._seen = (phase, bytes_done, now)
        if phase != phase_before:
            self._rate = None
        elif now > before:
            self._rate = _smoothed(self._rate, (bytes_done - bytes_before) / (now - before), now - before)
        return Progress(phase, bytes_done, None if self._rate is None else round(self._rate))

    def may_end_within(self, seconds: float) -> bool:
        """Guess whether it will be over in time; True as long as there is nothing to judge by."""
        phase, rate = self._phase, self._rate
        if not rate:
            return True
        share = VERIFY_SHARE if phase is Phase.COMPRESSING else 1.0
        return share * (self._bytes_total - self._bytes_done) / rate <= seconds


def _smoothed(rate: float | None, fresh: float, seconds: float) -> float:
    if rate is None:
        return fresh
    weight = math.exp(-seconds / RATE_MEMORY_SECONDS)
    return weight * rate + (1 - weight) * fresh
