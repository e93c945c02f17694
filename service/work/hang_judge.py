"""Whether a worker hangs, judged by its pulses and by how long the judge itself was awake to hear them.

Pure but for its clock. A machine that slept, and a supervisor that was stopped, have heard nothing for a long time too;
so no single wait counts for more than ``LONGEST_WAIT_SECONDS``, however late the judge is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from service.work.pulse import Doing, Pulse

LONGEST_WAIT_SECONDS = 1.5
"""Asked once a second; what is more is the judge's own absence."""

START_SECONDS = 60.0
"""Until its first pulse a worker loads its program: 0.5 s, and 10 s on two cores that twelve others want."""

STARVED_SHARE = 0.25
"""What a second counts in which the worker's threads were not let run: its steps are late, and nothing hangs. Not
nothing, so that a thread that is stuck beside busy ones on a machine that is never idle is found in the end."""


@dataclass(frozen=True, slots=True)
class Hang:
    """What hangs, in words for operators, and for how many seconds."""

    what: str
    seconds: float


@dataclass(slots=True)
class _Watched:
    steps: int
    extra_seconds: float
    quiet_seconds: float = 0.0


class HangJudge:
    """Judges one worker process from its start. ``heard`` and ``judge`` are called by one thread."""

    def __init__(
        self, *, hang_seconds: float, silence_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``hang_seconds`` is the patience with each thing it does, ``silence_seconds`` that with no pulse at all."""
        self._hang_seconds = hang_seconds
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._last = clock()
        self._silent_seconds = 0.0
        self._pulse: Pulse | None = None
        self._watched: dict[str, _Watched] = {}

    def heard(self, pulse: Pulse) -> None:
        """Take note of a pulse."""
        self._pulse = pulse
        self._silent_seconds = 0.0
        self._watched = {name: self._compared(name, doing) for name, doing in pulse.doing.items()}

    def judge(self) -> Hang | None:
        """Return what hangs, if anything does. Call it about once a second."""
        now = self._clock()
        waited, self._last = min(now - self._last, LONGEST_WAIT_SECONDS), now
        self._silent_seconds += waited
        if self._pulse is None:
            patience = max(START_SECONDS, self._silence_seconds)
            return Hang("the start of the process", self._silent_seconds) if self._silent_seconds > patience else None
        if self._silent_seconds > self._silence_seconds:
            return Hang("the whole process", self._silent_seconds)
        return self._judge_each(waited * (1 - (1 - STARVED_SHARE) * min(1.0, self._pulse.starved)))

    def _judge_each(self, seconds: float) -> Hang | None:
        for name, watched in self._watched.items():
            watched.quiet_seconds += seconds
            if watched.quiet_seconds > self._hang_seconds + watched.extra_seconds:
                return Hang(name, watched.quiet_seconds)
        return None

    def _compared(self, name: str, doing: Doing) -> _Watched:
        before = self._watched.get(name)
        if before is None or before.steps != doing.steps:
            return _Watched(doing.steps, doing.extra_seconds)
        return before
