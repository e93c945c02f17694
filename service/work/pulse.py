"""What a worker process tells its supervisor of how it gets on: one line on standard output, twice a second.

Not the heartbeat, which tells the table: a pulse needs neither database nor disk, and says more than that the process
lives. What counts as getting on is told where it is counted: ``attempt`` and ``loop`` (ADR 0017).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

PULSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Doing:
    """One thing that a thread is at: how many steps it has come, and how long one step may take beyond the usual."""

    steps: int
    extra_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """All that a process is at just now, by names for operators; what waits for something to do is not told of.

    ``starved`` is how much of the time since the last pulse a thread of it was ready to run and was not let, 0 to 1.
    """

    doing: Mapping[str, Doing]
    starved: float = 0.0

    @staticmethod
    def of_start() -> Mapping[str, Doing]:
        """Return what a process is at before it can work: one step, the start."""
        return {"the start": Doing(0)}

    def to_line(self) -> str:
        """Return one line that ``from_line`` reads, without its end."""
        doing = {name: [each.steps, each.extra_seconds] for name, each in self.doing.items()}
        return json.dumps({"starved": round(self.starved, 2), "doing": doing})

    @classmethod
    def from_line(cls, line: bytes) -> Pulse | None:
        """Read what ``to_line`` wrote; None for anything else."""
        try:
            told = json.loads(line)
            doing = {str(name): Doing(int(steps), float(extra)) for name, (steps, extra) in told["doing"].items()}
            return cls(doing, float(told["starved"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
