"""The service's own clock: the machine's boot clock and an offset, so that a step of the wall clock moves nothing.

The boot clock tells how much time has passed, the wall clock what to call it. Within a boot only the first counts. A
wall clock that says otherwise, or what it says after a restart of the machine, is believed when both have gone alike
for an hour, or when an operator says so. ``storage.clock_table`` keeps the state; why so: docs/adr/0014.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

AGREEMENT_MILLISECONDS = 3_600_000
"""How long wall clock and boot clock must go alike before a step is believed."""

TOLERANCE_MILLISECONDS = 1000
"""Smaller differences are no step: corrections of a running NTP slew both clocks alike, and do not add up here."""

REMARKABLE_MILLISECONDS = 60_000
"""A machine that starts again is away for less, and clocks that are set by the network are off by less."""

TOGETHER_MILLISECONDS = 100
"""Both clocks are looked at within this time, or again."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Counts the time that the machine slept, as the monotonic clock of Linux does not.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the machine's clocks say, in milliseconds: since its boot, and since 1970."""

    boot_id: str
    boot: int
    wall: int


@dataclass(frozen=True, slots=True)
class Clock:
    """What is known of time. The service's time is the boot clock plus ``offset``."""

    boot_id: str
    offset: int
    doubt: int
    """So much of the service's time may never have passed: a wall clock said so after a restart of the machine."""
    seen: int
    """The service's time when it was last looked at: a bound for what comes after a restart."""
    step: int
    """How far the wall clock is ahead of the service's time, or behind it."""
    step_since: int
    """By the boot clock."""


def boot_milliseconds() -> int:
    """Return the time since the machine's start, sleep included; every process of the machine is told the same."""
    return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


def read_clocks() -> Reading:
    """Return what the clocks say now; where a boot has no id it is empty, and a boot clock that fell tells of it."""
    boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    while True:
        reading = Reading(boot_id, boot_milliseconds(), time.time_ns() // 1_000_000)
        # A thread that was held up between the two looks would have seen a step.
        if boot_milliseconds() - reading.boot <= TOGETHER_MILLISECONDS:
            return reading


def first(reading: Reading) -> Clock:
    """Return the clock of a new database, which takes the wall clock's word."""
    offset = reading.wall - reading.boot
    return Clock(reading.boot_id, offset, 0, reading.wall, 0, reading.boot)


def observed(clock: Clock, reading: Reading) -> Clock:
    """Return the clock as of this reading. The service's time goes on steadily; after a boot it never falls."""
    now = reading.boot + clock.offset
    if reading.boot_id != clock.boot_id or now < clock.seen - TOLERANCE_MILLISECONDS:
        return _after_boot(clock, reading)
    step = reading.wall - now
    if abs(step - clock.step) < TOLERANCE_MILLISECONDS:
        return replace(clock, seen=now)
    return replace(clock, seen=now, step=step, step_since=reading.boot)


def _after_boot(clock: Clock, reading: Reading) -> Clock:
    now = max(reading.wall, clock.seen)
    doubt = clock.doubt + now - clock.seen
    return Clock(reading.boot_id, now - reading.boot, doubt, now, reading.wall - now, reading.boot)


def is_in_question(clock: Clock) -> bool:
    """Return whether the wall clock says something that is not believed yet."""
    return clock.doubt > 0 or abs(clock.step) >= TOLERANCE_MILLISECONDS


def is_remarkable(clock: Clock) -> bool:
    """Return whether an operator should look at it: nothing is removed by what the wall clock says, for an hour."""
    return is_in_question(clock) and max(abs(clock.step), clock.doubt) >= REMARKABLE_MILLISECONDS


def may_be_believed(clock: Clock, reading: Reading) -> bool:
    """Return whether both clocks have gone alike for long enough."""
    return is_in_question(clock) and reading.boot - clock.step_since >= AGREEMENT_MILLISECONDS


def believing(clock: Clock, reading: Reading) -> tuple[Clock, int]:
    """Return the clock set by the wall clock, without doubt; and by how much its time has moved."""
    moved = clock.step if abs(clock.step) >= TOLERANCE_MILLISECONDS else 0
    set_clock = Clock(clock.boot_id, clock.offset + moved, 0, clock.seen + moved, clock.step - moved, reading.boot)
    return set_clock, moved


def unproven(clock: Clock) -> int:
    """Return how far the wall clock is ahead of the time that has certainly passed, in milliseconds; or behind it."""
    return clock.step + clock.doubt
