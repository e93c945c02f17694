"""``make fuzz``: the properties one after the other, with new input each time, until the time is over."""

from __future__ import annotations

import sys
import time

from hypothesis import HealthCheck, settings

from tests.fuzz.properties import PROPERTIES, hold

EXAMPLES_AT_ONCE = 500
LONG = settings(max_examples=EXAMPLES_AT_ONCE, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def fuzz(seconds: float) -> int:
    """Return how many rounds were made; raises what a reader raised, with the smallest input that makes it."""
    ends_at, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        for name in PROPERTIES:
            hold(name, LONG)
            rounds += 1
    return rounds


if __name__ == "__main__":
    made = fuzz(float(sys.argv[1]))
    sys.stdout.write(f"{made} rounds of {EXAMPLES_AT_ONCE}: every reader returned or refused by name.\n")
