"""The service's clock: no step of the wall clock takes from anybody the time that was promised."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from storage.clock import (
    AGREEMENT_MILLISECONDS,
    TOLERANCE_MILLISECONDS,
    Clock,
    Reading,
    believing,
    boot_milliseconds,
    first,
    is_in_question,
    may_be_believed,
    observed,
    read_clocks,
    unproven,
)

HOUR = AGREEMENT_MILLISECONDS
DAY = 24 * HOUR
BOOT = 9000
START = Reading("boot-1", boot=5 * HOUR, wall=20_000 * DAY)


def later(reading: Reading, passed: int, *, step: int = 0) -> Reading:
    return replace(reading, boot=reading.boot + passed, wall=reading.wall + passed + step)


def now(clock: Clock, reading: Reading) -> int:
    return reading.boot + clock.offset


def proven(clock: Clock, reading: Reading) -> int:
    return now(clock, reading) - clock.doubt


def swept(clock: Clock, reading: Reading) -> tuple[Clock, int]:
    clock = observed(clock, reading)
    return believing(clock, reading) if may_be_believed(clock, reading) else (clock, 0)


def test_the_machines_clocks_are_read_in_milliseconds() -> None:
    before, reading, after = boot_milliseconds(), read_clocks(), boot_milliseconds()

    assert before <= reading.boot <= after
    assert reading.boot_id == read_clocks().boot_id


def test_a_step_moves_the_clock_after_an_hour_of_agreement_and_not_before() -> None:
    for step in (30 * DAY, -HOUR, 2 * HOUR):
        stepped = later(START, 1000, step=step)
        clock, _ = swept(first(START), stepped)
        assert (now(clock, stepped), unproven(clock)) == (START.wall + 1000, step)

        nearly = later(stepped, HOUR - 1)
        clock, moved = swept(clock, nearly)
        assert (now(clock, nearly), moved) == (START.wall + HOUR + 999, 0)

        agreed = later(stepped, HOUR)
        clock, moved = swept(clock, agreed)
        assert (now(clock, agreed), moved, is_in_question(clock)) == (agreed.wall, step, False)


def test_a_step_that_is_taken_back_leaves_nothing() -> None:
    ahead = later(START, 1000, step=30 * DAY)
    back = later(ahead, 6000, step=-30 * DAY)
    clock = observed(observed(first(START), ahead), back)

    assert (now(clock, back), is_in_question(clock)) == (back.wall, False)


def test_each_further_step_begins_the_hour_anew() -> None:
    clock, reading = first(START), START
    for _ in range(5):
        reading = later(reading, HOUR - 1, step=DAY)
        clock, moved = swept(clock, reading)
        assert moved == 0
    assert unproven(clock) == 5 * DAY


def test_a_slow_drift_is_followed_once_it_has_grown() -> None:
    clock, reading = first(START), START
    for _ in range(40 * 24):
        reading = later(reading, HOUR, step=90)
        clock, _ = swept(clock, reading)
        assert abs(reading.wall - now(clock, reading)) < 2 * TOLERANCE_MILLISECONDS


def test_after_a_restart_of_the_machine_the_time_is_doubted_for_an_hour() -> None:
    rebooted = Reading("boot-2", boot=9000, wall=START.wall + 2 * DAY)
    clock, _ = swept(first(START), rebooted)
    assert (now(clock, rebooted), proven(clock, rebooted)) == (rebooted.wall, START.wall)

    agreed = later(rebooted, HOUR)
    clock, moved = swept(clock, agreed)
    assert (proven(clock, agreed), moved) == (agreed.wall, 0)


def test_a_second_restart_within_the_hour_does_not_lift_the_doubt() -> None:
    clock = observed(first(START), Reading("boot-2", 9000, START.wall + 30 * DAY))
    again = Reading("boot-3", 9000, START.wall + 30 * DAY + 60_000)

    assert proven(observed(clock, again), again) == START.wall


def test_a_wall_clock_that_fell_with_the_restart_does_not_take_the_time_back() -> None:
    reading = Reading("boot-2", 9000, 0)
    clock = observed(first(START), reading)

    assert (now(clock, reading), proven(clock, reading)) == (START.wall, START.wall)


def test_a_boot_without_an_id_is_told_by_its_clock() -> None:
    started = Reading("", 5 * HOUR, START.wall)
    rebooted = Reading("", 9000, START.wall + DAY)
    clock = observed(first(started), rebooted)

    assert (now(clock, rebooted), proven(clock, rebooted)) == (rebooted.wall, started.wall)


def test_an_operator_is_believed_at_once() -> None:
    stepped = later(START, 1000, step=30 * DAY)
    clock, moved = believing(observed(first(START), stepped), stepped)

    assert (now(clock, stepped), moved, is_in_question(clock)) == (stepped.wall, 30 * DAY, False)


@dataclass
class Promise:
    """Something kept for a time, as a row would hold it."""

    boots: int
    boot: int
    kept_for: int
    expires_at: int


class Clocks(RuleBasedStateMachine):
    """A machine whose wall clock does what it likes, beside the time that truly passes."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = START
        self.clock = first(START)
        self.boots = 1
        self.proven_before = 0
        self.steady_since = START.boot
        self.promises: list[Promise] = []

    def sweep(self) -> None:
        before = now(self.clock, self.reading)
        self.clock, moved = swept(self.clock, self.reading)
        for promise in self.promises:
            promise.expires_at += max(0, moved)
        agreed = self.reading.boot - self.steady_since >= HOUR
        assert agreed or (moved == 0 and now(self.clock, self.reading) >= before - TOLERANCE_MILLISECONDS)

    @rule(passed=st.integers(0, 3 * HOUR))
    def time_passes(self, passed: int) -> None:
        self.reading = later(self.reading, passed)
        self.sweep()

    @rule(step=st.one_of(st.integers(-40 * DAY, 40 * DAY), st.integers(-1500, 1500)))
    def the_wall_clock_steps(self, step: int) -> None:
        self.reading = later(self.reading, 0, step=step)
        if abs(step) >= 2 * TOLERANCE_MILLISECONDS:
            self.steady_since = self.reading.boot
        self.sweep()

    @rule(down=st.integers(0, 3 * DAY), error=st.integers(-40 * DAY, 40 * DAY))
    def the_machine_starts_again(self, down: int, error: int) -> None:
        self.boots += 1
        self.proven_before = proven(self.clock, self.reading)
        self.reading = Reading(f"boot-{self.boots}", BOOT, self.reading.wall + down + error)
        self.steady_since = self.reading.boot
        self.sweep()

    @rule(kept_for=st.integers(0, 7 * DAY))
    def something_is_promised(self, kept_for: int) -> None:
        expires_at = now(self.clock, self.reading) + kept_for
        self.promises.append(Promise(self.boots, self.reading.boot, kept_for, expires_at))

    @invariant()
    def proven_time_is_never_ahead_of_the_services(self) -> None:
        assert self.clock.doubt >= 0

    @precondition(lambda self: self.promises)
    @invariant()
    def nothing_ends_before_its_time(self) -> None:
        for promise in self.promises:
            if promise.expires_at > proven(self.clock, self.reading):
                continue
            if promise.boots == self.boots:
                assert self.reading.boot - promise.boot >= promise.kept_for
            else:
                # How long the machine was off is the wall clock's word, and counts after an hour.
                uptime = self.reading.boot - BOOT
                assert uptime >= HOUR or promise.expires_at <= self.proven_before + uptime


def test_nothing_is_taken_before_its_time_whatever_the_wall_clock_does() -> None:
    run_state_machine_as_test(Clocks, settings=settings(max_examples=150, stateful_step_count=30, deadline=None))
