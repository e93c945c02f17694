"""Progress out, stop orders in."""

from __future__ import annotations

from functools import partial

import pytest

from service.work.attempt import Attempt, Cancelled, Fenced, Released
from service.work.pulse import Doing
from storage.jobs.job_attempts import Progress
from storage.lifecycle import Phase


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_tells_phase_bytes_and_a_smoothed_rate() -> None:
    clock = Clock()
    attempt = Attempt(10_000, clock=clock)
    assert attempt.progress() == Progress("starting", 0, None)

    attempt.enter(Phase.COMPRESSING)
    assert attempt.progress() == Progress("compressing", 0, None)
    clock.now += 1
    attempt.advance(1000)
    assert attempt.progress() == Progress("compressing", 1000, 1000)
    clock.now += 1
    attempt.advance(3000)
    rate = attempt.progress().bytes_per_second

    assert rate is not None
    assert 1000 < rate < 3000


def test_a_steady_rate_is_told_as_it_is_and_a_new_phase_begins_without_one() -> None:
    clock = Clock()
    attempt = Attempt(10_000, clock=clock)
    attempt.enter(Phase.COMPRESSING)
    for _ in range(5):
        attempt.advance(500)
        clock.now += 0.5
        attempt.progress()
    assert attempt.progress() == Progress("compressing", 2500, 1000)

    attempt.enter(Phase.VERIFYING)

    assert attempt.progress() == Progress("verifying", 0, None)


def test_progress_never_passes_the_size_of_the_source() -> None:
    attempt = Attempt(10)
    attempt.advance(25)

    assert attempt.progress().bytes_done == 10


def test_the_first_order_to_stop_is_the_one_that_counts() -> None:
    attempt = Attempt(10)
    attempt.check()
    attempt.stop(Cancelled)
    attempt.stop(Released)

    with pytest.raises(Cancelled):
        attempt.check()
    attempt.advance(1)
    with pytest.raises(Cancelled):
        attempt.enter(Phase.VERIFYING)
    assert not issubclass(Fenced, Cancelled)


def test_the_guess_whether_it_ends_in_time_goes_by_the_rate() -> None:
    clock = Clock()
    attempt = Attempt(10_000, clock=clock)
    attempt.enter(Phase.COMPRESSING)
    attempt.progress()
    assert attempt.may_end_within(0.1)

    clock.now += 1
    attempt.advance(1000)
    attempt.progress()

    assert attempt.may_end_within(12)
    assert not attempt.may_end_within(11)


def test_what_gets_on_is_a_step_and_what_only_waits_or_looks_is_none() -> None:
    attempt = Attempt(100)

    def steps() -> int:
        doing = attempt.doing(waits_for_database=False)
        assert doing is not None
        return doing.steps

    seen = [steps()]
    begin = partial(attempt.enter, Phase.COMPRESSING)
    for gets_on in (begin, partial(attempt.advance, 1), attempt.step, attempt.computed):
        gets_on()
        seen.append(steps())
    attempt.check()
    attempt.progress()

    assert seen == sorted(set(seen))
    assert steps() == seen[-1]


def test_recording_the_end_is_not_judged_while_the_database_cannot_be_written() -> None:
    attempt = Attempt(100)
    attempt.enter(Phase.STORING)
    assert attempt.doing(waits_for_database=True) is not None

    attempt.computed()

    assert attempt.at == "recording"
    assert attempt.doing(waits_for_database=True) is None
    assert attempt.doing(waits_for_database=False) is not None


def test_a_phase_that_may_take_longer_says_so_and_the_next_does_not() -> None:
    attempt = Attempt(100)
    attempt.enter(Phase.STORING)
    attempt.allow(25)
    assert attempt.doing(waits_for_database=False) == Doing(2, 25)

    attempt.enter(Phase.VERIFYING)

    assert attempt.doing(waits_for_database=False) == Doing(3)
