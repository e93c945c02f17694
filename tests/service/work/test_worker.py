"""The worker in this process, with the real table; the work itself is real or made to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy.exc import OperationalError

from service.work.attempt import Attempt, AttemptStopped
from service.work.worker import Worker
from storage.jobs import job_attempts, job_views, worker_table
from storage.jobs.job_attempts import ClaimedJob
from storage.lifecycle import Phase
from tests.service.payloads import text
from tests.service.work.bench import WORKER, Bench, until
from tests.storage.job_builder import act, change_row


class HeldWork:
    """Attempts that last until they are let go or told to stop, and then end as the processor would end them."""

    def __init__(self, bench: Bench) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.most_at_once = 0
        self.reasons: dict[str, str] = {}
        self._bench = bench
        self._done: set[str] = set()

    def __call__(self, job: ClaimedJob, attempt: Attempt) -> None:
        self.attempts[job.id] = attempt
        self.most_at_once = max(self.most_at_once, len(self.attempts))
        try:
            while job.id not in self._done:
                attempt.check()
        except AttemptStopped as reason:
            self.reasons[job.id] = type(reason).__name__
        del self.attempts[job.id]
        if self.reasons.get(job.id) != "Fenced":
            act(self._bench.database, lambda connection: job_attempts.release(connection, job))
            change_row(self._bench.database, job.id, run_at=2**50)

    def let_go(self, job_id: str) -> None:
        self._done.add(job_id)


@contextmanager
def working(bench: Bench, work: HeldWork, *, cores: int = 4) -> Iterator[Worker]:
    worker = Worker(WORKER, bench.database, bench.settings, work, cores=cores)
    worker.start()
    try:
        yield worker
    finally:
        worker.drain(0)


@pytest.fixture
def work(bench: Bench) -> HeldWork:
    return HeldWork(bench)


def test_a_job_that_no_wake_told_of_starts_within_two_seconds(bench: Bench, work: HeldWork) -> None:
    with working(bench, work):
        job_id = bench.submit(b"a")

        assert until(lambda: job_id in work.attempts) < 2


def test_a_wake_starts_it_at_once(bench: Bench, work: HeldWork) -> None:
    with working(bench.with_settings(poll_seconds=60), work) as worker:
        job_id = bench.submit(b"a")
        worker.wake()

        assert until(lambda: job_id in work.attempts) < 1


def test_a_free_slot_is_filled_at_once_and_there_are_no_more_than_slots(bench: Bench, work: HeldWork) -> None:
    ids = [bench.submit(b"a") for _ in range(4)]
    with working(bench.with_settings(poll_seconds=60), work):
        until(lambda: len(work.attempts) == 2)
        assert [bench.status(job_id) for job_id in ids] == ["running", "running", "queued", "queued"]

        for job_id in ids:
            until(partial(work.attempts.__contains__, job_id))
            work.let_go(job_id)
        until(lambda: not work.attempts)

    assert work.most_at_once == 2


def test_one_job_alone_gets_all_cores_and_two_share_them(bench: Bench, work: HeldWork) -> None:
    first = bench.submit(b"a")
    with working(bench.with_settings(poll_seconds=60), work) as worker:
        until(lambda: first in work.attempts)
        second = bench.submit(b"a")
        worker.wake()
        until(lambda: second in work.attempts)

        assert work.attempts[first].threads == 4
        assert work.attempts[second].threads == 2


def test_two_that_begin_together_share_the_cores(bench: Bench, work: HeldWork) -> None:
    ids = [bench.submit(b"a") for _ in range(2)]
    with working(bench, work, cores=1):
        until(lambda: len(work.attempts) == 2)

        assert [work.attempts[job_id].threads for job_id in ids] == [1, 1]


def test_an_isolated_job_runs_alone(bench: Bench, work: HeldWork) -> None:
    before, isolated, after = (bench.submit(b"a") for _ in range(3))
    change_row(bench.database, isolated, is_isolated=True)
    with working(bench, work) as worker:
        until(lambda: before in work.attempts)
        worker.wake()
        assert bench.status(isolated) == "queued"

        work.let_go(before)
        until(lambda: isolated in work.attempts)
        assert work.attempts[isolated].threads == 4
        worker.wake()
        assert bench.status(after) == "queued"

        work.let_go(isolated)
        until(lambda: after in work.attempts)

    assert work.most_at_once == 1


def test_the_heartbeat_publishes_progress_and_renews_the_lease(bench: Bench, work: HeldWork) -> None:
    job_id = bench.submit(text(1000))
    with working(bench, work):
        until(lambda: job_id in work.attempts)
        lease = bench.row(job_id)["lease_expires_at"]
        work.attempts[job_id].enter(Phase.COMPRESSING)
        work.attempts[job_id].advance(600)

        until(lambda: bench.row(job_id)["bytes_done"] == 600)

        row = bench.row(job_id)
        assert row["phase"] == "compressing"
        until(lambda: bench.row(job_id)["lease_expires_at"] > lease)
        until(lambda: bench.row(job_id)["bytes_per_second"] is not None)


def test_a_cancel_reaches_a_running_attempt_within_a_second(bench: Bench, work: HeldWork) -> None:
    job_id = bench.submit(b"a")
    with working(bench.with_settings(heartbeat_seconds=0.5), work):
        until(lambda: job_id in work.attempts)

        bench.cancel(job_id)

        assert until(lambda: job_id in work.reasons) < 1
        assert work.reasons[job_id] == "Cancelled"


def test_an_attempt_that_lost_its_job_is_told(bench: Bench, work: HeldWork) -> None:
    job_id = bench.submit(b"a")
    with working(bench, work):
        until(lambda: job_id in work.attempts)

        change_row(bench.database, job_id, epoch=7, lease_owner="x" * 26)

        until(lambda: work.reasons.get(job_id) == "Fenced")


def live(bench: Bench) -> int:
    return act(bench.database, lambda c: job_views.live_workers(c, within_milliseconds=10_000))


def test_a_worker_stands_in_the_table_as_long_as_it_works(
    bench: Bench, work: HeldWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.work.worker.SIGN_OF_LIFE_SECONDS", 0.05)
    with working(bench, work):
        assert live(bench) == 1
        act(bench.database, lambda c: c.exec_driver_sql("UPDATE workers SET heartbeat_at = 0"))
        until(lambda: live(bench) == 1)

        # As a sweep does to one that slept with its laptop.
        act(bench.database, lambda c: worker_table.unregister(c, WORKER))
        until(lambda: live(bench) == 1)

    assert live(bench) == 0


def test_drain_waits_for_what_ends_in_time_and_gives_the_rest_back(bench: Bench, work: HeldWork) -> None:
    ending, lasting = bench.submit(b"a"), bench.submit(b"a")
    worker = Worker(WORKER, bench.database, bench.settings, work)
    worker.start()
    until(lambda: len(work.attempts) == 2)
    late = bench.submit(b"a")

    drain = threading.Thread(target=worker.drain, args=(1.0,))
    drain.start()
    work.let_go(ending)
    drain.join()

    assert work.reasons == {lasting: "Released"}
    assert [bench.status(job_id) for job_id in (ending, lasting, late)] == ["queued"] * 3
    assert live(bench) == 0


def test_drain_gives_back_at_once_what_will_not_end_in_time(bench: Bench, work: HeldWork) -> None:
    job_id = bench.submit(text(100_000))
    worker = Worker(WORKER, bench.database, bench.settings, work)
    worker.start()
    until(lambda: job_id in work.attempts)
    work.attempts[job_id].enter(Phase.COMPRESSING)
    until(lambda: bench.row(job_id)["phase"] == "compressing")
    work.attempts[job_id].advance(1)
    until(lambda: bench.row(job_id)["bytes_per_second"])
    drain = threading.Thread(target=worker.drain, args=(60.0,))
    drain.start()

    assert until(lambda: work.reasons.get(job_id) == "Released") < 2

    drain.join()


def test_an_attempt_that_breaks_off_frees_its_slot(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    def break_off(job: ClaimedJob, _: Attempt) -> None:
        seen.append(job.id)
        raise ZeroDivisionError

    ids = [bench.submit(b"a") for _ in range(3)]
    worker = Worker(WORKER, bench.database, bench.with_settings(worker_jobs=1, poll_seconds=60).settings, break_off)
    worker.start()
    until(lambda: seen == ids)
    worker.drain(0)

    assert caplog.messages == ["attempt broke off"] * 3


def test_a_worker_that_cannot_leave_the_table_ends_all_the_same(
    bench: Bench, work: HeldWork, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(WORKER, bench.database, bench.settings, work)
    worker.start()
    act(bench.database, lambda c: c.exec_driver_sql("ALTER TABLE workers RENAME TO somewhere_else"))

    worker.drain(0)

    assert "the worker could not leave the table" in caplog.messages


def test_a_worker_that_cannot_renew_its_leases_in_time_gives_its_attempts_back(
    bench: Bench, work: HeldWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have the jobs by then; and none is given up for one renewal that fails."""
    is_broken = threading.Event()

    def broken(*arguments: object, **options: object) -> bool:
        if is_broken.is_set():
            raise OperationalError("UPDATE", {}, Exception("out of memory"))
        return bool(job_attempts.heartbeat(*arguments, **options))  # type: ignore[arg-type]  # Passed on as they came.

    monkeypatch.setattr("service.work.worker.heartbeat", broken)
    bench = bench.with_settings(lease_milliseconds=1500, heartbeat_seconds=0.05)
    with working(bench, work):
        job_id = bench.submit(b"a")
        until(lambda: job_id in work.attempts)

        is_broken.set()

        assert until(lambda: work.reasons.get(job_id) == "Released") > 1
        is_broken.clear()
