"""One job takes no more of the machine than it may, and says so when it is stopped."""

from __future__ import annotations

import pytest

from service.work.attempt import Attempt, AttemptStopped, CpuSpent, MemorySpent
from service.work.job_limits import JobLimits, resident_bytes
from tests.service.work.bench import Bench, until
from tests.service.work.test_worker import HeldWork, working

MIB = 1024**2


class Machine:
    """What a process has taken so far."""

    def __init__(self) -> None:
        self.seconds, self.resident = 100.0, 50 * MIB

    def limits(self, *, max_cpu_seconds: float = 0, max_memory_bytes: int = 0) -> JobLimits:
        return JobLimits(
            max_cpu_seconds=max_cpu_seconds,
            max_memory_bytes=max_memory_bytes,
            cpu_seconds=lambda: self.seconds,
            resident=lambda: self.resident,
        )


def is_stopped(attempt: Attempt) -> type[AttemptStopped] | None:
    try:
        attempt.check()
    except AttemptStopped as reason:
        return type(reason)
    return None


def test_an_attempt_is_stopped_when_its_time_is_spent_and_idle_time_is_nobody_s() -> None:
    machine, alone = Machine(), Attempt(1)
    limits = machine.limits(max_cpu_seconds=10)
    machine.seconds += 1000
    limits.look([])

    machine.seconds += 10
    limits.look([alone])
    assert is_stopped(alone) is None
    machine.seconds += 1
    limits.look([alone])
    assert is_stopped(alone) is CpuSpent


def test_those_that_run_together_are_charged_alike() -> None:
    machine, attempts = Machine(), [Attempt(1), Attempt(1)]
    limits = machine.limits(max_cpu_seconds=10)

    machine.seconds += 20
    limits.look(attempts)
    assert [attempt.cpu_seconds for attempt in attempts] == [10, 10]
    assert [is_stopped(attempt) for attempt in attempts] == [None, None]


def test_the_last_attempt_is_stopped_where_all_take_more_memory_than_they_may() -> None:
    machine, attempts = Machine(), [Attempt(1), Attempt(1)]
    limits = machine.limits(max_memory_bytes=100 * MIB)

    machine.resident += 200 * MIB
    limits.look(attempts)
    assert [is_stopped(attempt) for attempt in attempts] == [None, None]
    machine.resident += 1
    limits.look(attempts)
    assert [is_stopped(attempt) for attempt in attempts] == [None, MemorySpent]


def test_without_limits_nobody_is_stopped() -> None:
    machine, attempt = Machine(), Attempt(1)
    limits = machine.limits()
    machine.seconds, machine.resident = 2.0**40, 2**50
    limits.look([attempt])

    assert is_stopped(attempt) is None


def test_a_worker_stops_a_job_that_takes_too_long(bench: Bench) -> None:
    work = HeldWork(bench)
    with working(bench.with_settings(max_job_cpu_seconds=0.05), work):
        job_id = bench.submit(b"a")
        until(lambda: work.reasons.get(job_id) == "CpuSpent")


@pytest.mark.parametrize(("reason", "code"), [(CpuSpent, "cpu_limit"), (MemorySpent, "memory_limit")])
def test_a_job_that_was_stopped_has_failed_for_good_and_tells_why(
    bench: Bench, reason: type[AttemptStopped], code: str
) -> None:
    job_id = bench.submit(b"a" * 1000)
    job, attempt = bench.claim()
    attempt.stop(reason)
    bench.processor().process(job, attempt)

    row = bench.row(job_id)
    assert (row["status"], row["error_code"], row["attempts"]) == ("failed", code, 1)


def test_this_process_s_memory_is_known() -> None:
    assert resident_bytes() > MIB
