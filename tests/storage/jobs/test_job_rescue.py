"""What becomes of jobs whose worker is gone: who is blamed, who runs alone, who is given up."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.errors import StaleAttempt
from storage.jobs import job_attempts, job_rescue, job_table
from storage.jobs.job_leaving import LeftJob
from storage.jobs.work_totals import totals
from storage.lifecycle import JobStatus
from tests.storage.job_builder import (
    HOUR,
    WORKER,
    about,
    act,
    attempts_of,
    change_row,
    claim,
    everything,
    finish,
    now,
    row_of,
    running,
    submit,
)


def rescue_worker(database: Database, *, is_blamed: bool, worker: str = WORKER, max_losses: int = 3) -> list[LeftJob]:
    return act(
        database,
        lambda connection: job_rescue.rescue_worker(connection, worker, is_blamed=is_blamed, max_losses=max_losses),
    )


def rescue_lapsed(database: Database) -> list[LeftJob]:
    return act(database, job_rescue.rescue_lapsed)


def ask_to_stop(database: Database, job_id: str) -> None:
    act(database, lambda connection: job_table.cancel(connection, job_id))


def test_a_worker_that_dies_with_one_job_counts_a_loss_and_isolates_it(database: Database) -> None:
    job = running(database)
    place = row_of(database, job.id)["run_at"]
    left = rescue_worker(database, is_blamed=True)
    row = row_of(database, job.id)

    assert left == [LeftJob(job.seq, job.id, 1, JobStatus.QUEUED, "auto", 1000)]
    assert (row["status"], row["attempts"], row["losses"], row["is_isolated"]) == ("queued", 0, 1, True)
    assert (row["run_at"], row["error_code"], row["lease_owner"], row["phase"]) == (place, None, None, None)
    assert row["version"] == 3


def test_a_worker_that_dies_with_several_jobs_isolates_all_and_counts_none(database: Database) -> None:
    held = [running(database) for _ in range(3)]
    other = running(database, "worker-2")
    left = rescue_worker(database, is_blamed=True)

    assert sorted(job.id for job in left) == sorted(job.id for job in held)
    for job in held:
        row = row_of(database, job.id)
        assert (row["status"], row["losses"], row["is_isolated"], row["attempts"]) == ("queued", 0, True, 0)
    assert row_of(database, other.id)["status"] == "running"


def test_an_unblamed_end_changes_neither_losses_nor_isolation(database: Database) -> None:
    plain, isolated = running(database), running(database)
    change_row(database, isolated.id, is_isolated=True, losses=2)
    rescue_worker(database, is_blamed=False)

    rows = [row_of(database, job.id) for job in (plain, isolated)]
    assert [(row["status"], row["losses"], row["is_isolated"], row["attempts"]) for row in rows] == [
        ("queued", 0, False, 0),
        ("queued", 2, True, 0),
    ]


def test_an_unblamed_end_fails_nothing_however_often_it_comes(database: Database) -> None:
    submit(database, max_attempts=1)
    for _ in range(5):
        assert claim(database) is not None
        assert [job.status for job in rescue_worker(database, is_blamed=False, max_losses=1)] == [JobStatus.QUEUED]


def test_a_job_that_ends_its_worker_alone_too_often_fails_with_a_sentence(database: Database) -> None:
    job_id = submit(database)
    ends = []
    while (job := claim(database)) is not None:
        ends += [left.status for left in rescue_worker(database, is_blamed=True)]
        assert job.attempt == 1
    row = row_of(database, job_id)

    assert ends == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.FAILED]
    assert (row["error_code"], row["losses"]) == ("worker_lost", 3)
    assert row["error_detail"] == "The worker died 3 times while it worked on this file alone."
    assert row["expires_at"] == about(row["finished_at"] + HOUR)
    assert [attempt["outcome"] for attempt in attempts_of(database, job_id)] == ["worker_lost"] * 3


def test_the_neighbours_of_a_job_that_kills_are_finished(database: Database) -> None:
    neighbour = running(database)
    poison = running(database)
    rescue_worker(database, is_blamed=True)
    while (job := claim(database)) is not None:
        if job.id == poison.id:
            rescue_worker(database, is_blamed=True)
        else:
            finish(database, job)

    assert row_of(database, neighbour.id)["status"] == "succeeded"
    assert row_of(database, poison.id)["status"] == "failed"


def test_isolated_jobs_go_to_idle_workers_only(database: Database) -> None:
    jobs = [running(database), running(database)]
    rescue_worker(database, is_blamed=True)
    submit(database)

    assert claim(database, "worker-2", is_idle=False) is None
    job = claim(database, "worker-2", is_idle=True)
    assert job is not None
    assert (job.id, job.is_isolated, job.epoch) == (jobs[0].id, True, 2)


@pytest.mark.parametrize("is_blamed", [True, False])
@pytest.mark.parametrize("losses", [0, 2])
def test_a_cancel_that_waited_is_done_by_rescue(database: Database, is_blamed: bool, losses: int) -> None:
    job = running(database)
    change_row(database, job.id, losses=losses)
    ask_to_stop(database, job.id)
    before = now(database)

    assert [left.status for left in rescue_worker(database, is_blamed=is_blamed)] == [JobStatus.CANCELLED]
    row = row_of(database, job.id)
    assert before <= row["finished_at"] <= now(database)
    assert row["expires_at"] == about(row["finished_at"] + HOUR)


def test_a_worker_that_holds_nothing_leaves_nothing(database: Database) -> None:
    job = running(database)
    before = everything(database)

    assert rescue_worker(database, is_blamed=True, worker="worker-2") == []
    assert rescue_lapsed(database) == []
    assert everything(database) == before
    assert row_of(database, job.id)["status"] == "running"


def test_a_lapsed_lease_counts_the_attempt_and_isolates(database: Database) -> None:
    job = running(database, lease=-1000)
    living = running(database)
    left = rescue_lapsed(database)
    row = row_of(database, job.id)

    assert left == [LeftJob(job.seq, job.id, 1, JobStatus.QUEUED, "auto", 1000)]
    assert (row["status"], row["attempts"], row["losses"], row["is_isolated"]) == ("queued", 1, 0, True)
    assert attempts_of(database, job.id)[0]["outcome"] == "stalled"
    assert row_of(database, living.id)["status"] == "running"


def test_a_job_that_stalls_to_its_last_attempt_fails_with_a_sentence(database: Database) -> None:
    job_id = submit(database, max_attempts=2)
    ends = []
    while claim(database, lease=-1000) is not None:
        ends += [left.status for left in rescue_lapsed(database)]
    row = row_of(database, job_id)

    assert ends == [JobStatus.QUEUED, JobStatus.FAILED]
    assert (row["error_code"], row["attempts"]) == ("worker_stalled", 2)
    assert row["error_detail"] == "The worker stopped answering while it worked on this file."
    assert row["finished_at"] is not None


def test_a_lapsed_job_to_be_cancelled_is_cancelled(database: Database) -> None:
    job = running(database, lease=-1000, max_attempts=1)
    ask_to_stop(database, job.id)

    assert [left.status for left in rescue_lapsed(database)] == [JobStatus.CANCELLED]
    assert row_of(database, job.id)["status"] == "cancelled"


@pytest.mark.parametrize("rescue", ["worker", "lapsed"])
def test_a_rescued_attempt_is_over_for_its_worker(database: Database, rescue: str) -> None:
    job = running(database, lease=-1000)
    if rescue == "worker":
        rescue_worker(database, is_blamed=True)
    else:
        rescue_lapsed(database)
    before = everything(database)

    with pytest.raises(StaleAttempt):
        finish(database, job)
    with pytest.raises(StaleAttempt):
        act(database, lambda connection: job_attempts.release(connection, job))
    assert everything(database) == before


def test_lost_attempts_are_in_the_totals(database: Database) -> None:
    for is_blamed in (True, False):
        running(database)
        rescue_worker(database, is_blamed=is_blamed)
        job = claim(database)
        assert job is not None
        finish(database, job)
    running(database, lease=-1000)
    rescue_lapsed(database)
    with database.read() as connection:
        counted = {(row["format"], row["outcome"]): (row["jobs"], row["bytes_in"]) for row in totals(connection)}

    assert counted == {
        ("auto", "worker_lost"): (1, 1000),
        ("auto", "interrupted"): (1, 1000),
        ("auto", "stalled"): (1, 1000),
        ("zstd", "succeeded"): (2, 2000),
    }
