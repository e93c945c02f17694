"""What owners and time do to a job, and what the table itself refuses."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import IntegrityError

from storage.database import Database, add_clock
from storage.errors import JobConflict, JobNotFound
from storage.ids import Key, new_source_key, result_key
from storage.jobs import job_table
from storage.jobs.idempotency import IdempotentRequest, remember
from storage.lifecycle import JobStatus
from storage.models import attempts, idempotency_keys, jobs, sources
from tests.storage.job_builder import (
    DIGEST,
    HOUR,
    about,
    act,
    bring_to,
    change_row,
    claim,
    everything,
    fail,
    find_row,
    finish,
    new_job,
    new_source,
    now,
    one_of_each,
    row_of,
    running,
    submit,
)


def cancel(database: Database, job_id: str) -> JobStatus:
    return act(database, lambda connection: job_table.cancel(connection, job_id))


def retry(database: Database, job_id: str, more: int = 3) -> None:
    act(database, lambda connection: job_table.retry(connection, job_id, attempts_more=more))


def delete(database: Database, job_id: str) -> list[Key]:
    return act(database, lambda connection: job_table.delete_job(connection, job_id))


def expire(database: Database, limit: int = 100, grave: int = HOUR) -> list[Key]:
    return act(database, lambda connection: job_table.expire(connection, grave_milliseconds=grave, limit=limit))


def prune(database: Database, limit: int = 100) -> int:
    return act(database, lambda connection: job_table.prune(connection, limit=limit))


def test_a_new_job_is_queued_with_all_it_was_given(database: Database) -> None:
    source = new_source(name="big.log", size_bytes=5, sha256="12" * 32, media_type="text/plain")
    job = new_job(sources=(source,), name="big.log", format="zstd", level="small", max_attempts=7)
    before = now(database)
    made = act(database, lambda connection: job_table.insert_job(connection, job))
    row = row_of(database, job.id)

    given = {
        "owner_id": None,
        "manage_key_digest": DIGEST,
        "status": "queued",
        "version": 1,
        "name": "big.log",
        "format": "zstd",
        "level": "small",
        "ttl_milliseconds": HOUR,
        "source_size_bytes": 5,
        "source_sha256": "12" * 32,
        "source_media_type": "text/plain",
        "source_files": 1,
        "epoch": 0,
        "attempts": 0,
        "max_attempts": 7,
        "losses": 0,
        "is_isolated": False,
        "bytes_done": 0,
        "stored_as_is": False,
    }
    assert made == row
    assert given.items() <= row.items()
    # The clock is asked for each: a millisecond may end in between.
    assert before <= min(row["created_at"], row["run_at"]) <= max(row["created_at"], row["run_at"]) <= now(database)
    assert {row[name] for name in ("started_at", "finished_at", "expires_at", "lease_owner", "error_code")} == {None}


def test_a_job_of_several_sources_keeps_their_order_and_says_their_sum(database: Database) -> None:
    given = tuple(new_source(name=f"{i}.log", size_bytes=10**i, sha256="34" * 32) for i in (2, 0, 1))
    job_id = submit(database, sources=given)
    row = row_of(database, job_id)
    stored = everything(database)["sources"]

    assert (row["source_files"], row["source_size_bytes"]) == (3, 111)
    assert (row["source_sha256"], row["source_media_type"]) == (None, None)
    assert [(source["position"], source["name"], source["key"]) for source in stored] == [
        (position, source.name, source.key) for position, source in enumerate(given)
    ]


def test_a_key_can_be_the_source_of_one_job_only(database: Database) -> None:
    key = new_source_key()
    submit(database, sources=(new_source(key=key),))

    with pytest.raises(IntegrityError):
        submit(database, sources=(new_source(key=key),))
    assert len(everything(database)["jobs"]) == 1


def test_the_number_of_a_deleted_job_is_never_used_again(database: Database) -> None:
    job_id = submit(database)
    seq = row_of(database, job_id)["seq"]
    delete(database, job_id)

    assert row_of(database, submit(database))["seq"] > seq


def test_times_are_milliseconds_utc_of_the_database(database: Database) -> None:
    assert abs(now(database) - time.time() * 1000) < 5000


def test_the_clock_of_the_service_decides_every_time(database: Database) -> None:
    def with_another_clock(connection: Connection) -> str:
        job = new_job()
        driver = connection.connection.driver_connection
        assert driver is not None
        offset = connection.exec_driver_sql("SELECT offset_milliseconds FROM clock").scalar_one()
        driver.create_function("boot_milliseconds", 0, lambda: then - offset)
        try:
            job_table.insert_job(connection, job)
            job_table.cancel(connection, job.id)
        finally:
            add_clock(driver)
        return job.id

    then = 11574 * 24 * HOUR
    row = row_of(database, act(database, with_another_clock))
    assert {row[name] for name in ("created_at", "run_at", "cancel_requested_at", "finished_at")} == {then}
    assert row["expires_at"] == then + HOUR


def test_cancelling_a_queued_job_ends_it_at_once(database: Database) -> None:
    job_id = submit(database)
    before = now(database)

    assert cancel(database, job_id) is JobStatus.CANCELLED
    row = row_of(database, job_id)
    assert (row["status"], row["version"]) == ("cancelled", 2)
    assert before <= row["finished_at"] == row["cancel_requested_at"] <= now(database)
    assert row["expires_at"] == about(row["finished_at"] + HOUR)
    assert claim(database) is None


def test_cancelling_a_running_job_only_asks(database: Database) -> None:
    job = running(database)

    assert cancel(database, job.id) is JobStatus.RUNNING
    row = row_of(database, job.id)
    assert (row["status"], row["version"], row["lease_owner"]) == ("running", 3, job.worker_id)
    assert row["cancel_requested_at"] is not None
    assert (row["finished_at"], row["expires_at"]) == (None, None)


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.CANCELLED])
def test_cancelling_again_changes_nothing(database: Database, status: JobStatus) -> None:
    job_id = bring_to(database, status)
    cancel(database, job_id)
    before = everything(database)

    assert cancel(database, job_id) is status
    assert everything(database) == before


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.EXPIRED])
def test_an_ended_job_cannot_be_cancelled(database: Database, status: JobStatus) -> None:
    job_id = bring_to(database, status)

    with pytest.raises(JobConflict) as raised:
        cancel(database, job_id)
    assert (raised.value.job_id, raised.value.status) == (job_id, status)


def test_what_is_not_there_cannot_be_changed(database: Database) -> None:
    for change in (cancel, retry, delete):
        with pytest.raises(JobNotFound, match="nobody"):
            change(database, "nobody")


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_retry_clears_the_end_and_keeps_the_epoch(database: Database, status: JobStatus) -> None:
    job_id = bring_to(database, status)
    change_row(database, job_id, losses=2, max_attempts=1)
    old = row_of(database, job_id)
    before = now(database)
    retry(database, job_id, more=2)
    row = row_of(database, job_id)

    assert (row["status"], row["version"], row["epoch"]) == ("queued", old["version"] + 1, old["epoch"])
    assert (row["attempts"], row["max_attempts"], row["losses"]) == (1, 3, 0)
    cleared = ("cancel_requested_at", "error_code", "error_detail", "finished_at", "expires_at")
    assert {row[name] for name in cleared} == {None}
    assert before <= row["run_at"] <= now(database)
    again = claim(database)
    assert again is not None
    assert (again.id, again.epoch, again.attempt) == (job_id, 2, 2)


def test_a_retried_job_goes_to_the_end_of_the_queue(database: Database) -> None:
    retried = bring_to(database, JobStatus.FAILED)
    waiting = submit(database)
    change_row(database, waiting, run_at=now(database) - 5)
    retry(database, retried)

    order = [claim(database), claim(database)]
    assert [job and job.id for job in order] == [waiting, retried]


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.EXPIRED])
def test_only_failed_and_cancelled_jobs_are_retried(database: Database, status: JobStatus) -> None:
    job_id = bring_to(database, status)
    before = everything(database)

    with pytest.raises(JobConflict, match=status):
        retry(database, job_id)
    assert everything(database) == before


@pytest.mark.parametrize("status", JobStatus)
def test_delete_in_any_status_removes_all_rows_and_returns_the_keys(database: Database, status: JobStatus) -> None:
    job_id = bring_to(database, status)
    source = everything(database)["sources"][0]["key"]
    seq = row_of(database, job_id)["seq"]
    act(database, lambda connection: remember(connection, IdempotentRequest("k", "f"), seq, for_milliseconds=HOUR))
    expected = [] if status is JobStatus.EXPIRED else [source]
    if status is JobStatus.SUCCEEDED:
        expected = [result_key(job_id, 1)]

    assert delete(database, job_id) == expected
    with database.read() as connection:
        for table in (jobs, sources, attempts, idempotency_keys):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_a_result_that_is_the_source_is_returned_once(database: Database) -> None:
    job = running(database)
    key = job.sources[0].key
    finish(database, job, key=key, stored_as_is=True)

    assert delete(database, job.id) == [key]


def test_expire_takes_the_files_and_leaves_a_grave(database: Database) -> None:
    ended = {status: bring_to(database, status) for status in (JobStatus.SUCCEEDED, JobStatus.FAILED)}
    ended[JobStatus.CANCELLED] = bring_to(database, JobStatus.CANCELLED)
    for job_id in ended.values():
        change_row(database, job_id, expires_at=now(database))
    keys = {source["key"] for source in everything(database)["sources"]} - {None}
    before = now(database)

    assert set(expire(database)) == keys | {result_key(ended[JobStatus.SUCCEEDED], 1)}
    for job_id in ended.values():
        row = row_of(database, job_id)
        assert (row["status"], row["result_key"]) == ("expired", None)
        assert before + HOUR <= row["expires_at"] <= now(database) + HOUR
        assert row["finished_at"] is not None
    assert {source["key"] for source in everything(database)["sources"]} == {None}
    assert expire(database) == []


def test_expire_leaves_what_is_not_due_and_what_has_not_ended(database: Database) -> None:
    one_of_each(database)
    before = everything(database)

    assert expire(database) == []
    assert prune(database) == 0
    assert everything(database) == before


def test_expire_and_prune_do_as_many_as_they_are_told(database: Database) -> None:
    for _ in range(5):
        change_row(database, bring_to(database, JobStatus.FAILED), expires_at=0)

    assert [len(expire(database, limit=2, grave=0)) for _ in range(4)] == [2, 2, 1, 0]
    assert [prune(database, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert not any(everything(database)[name] for name in ("jobs", "sources", "attempts"))


def test_prune_waits_for_the_grave_to_be_over(database: Database) -> None:
    job_id = bring_to(database, JobStatus.EXPIRED)
    assert prune(database) == 0
    change_row(database, job_id, expires_at=now(database))

    assert prune(database) == 1
    assert find_row(database, job_id) is None


def test_changes_of_one_job_leave_others_alone(database: Database) -> None:
    other = submit(database)
    change_row(database, other, run_at=now(database) + HOUR)
    before = row_of(database, other)
    job = running(database)
    fail(database, job, is_fatal=True)
    retry(database, job.id)
    cancel(database, job.id)
    delete(database, job.id)

    assert row_of(database, other) == before


# What the functions never do, and the table refuses when somebody else tries.
BROKEN = {
    "status": "status = 'paused'",
    "lease_while_running": "status = 'running'",
    "lease_while_running, the other way": "lease_owner = 'w', lease_expires_at = 1",
    "finished_when_final": "status = 'failed'",
    "finished_when_final, the other way": "finished_at = 1",
    "attempts": "attempts = -1",
    "attempts, the other way": "attempts = 1",
    "bytes": "bytes_done = -1",
    "bytes, the other way": "source_size_bytes = -1",
    "result_when_succeeded": "status = 'succeeded', finished_at = 1",
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_table_refuses(database: Database, case: str) -> None:
    job_id = submit(database)
    before = row_of(database, job_id)

    with pytest.raises(IntegrityError, match=f"ck_jobs_{case.split(',')[0]}"):
        act(database, lambda connection: connection.execute(text(f"UPDATE jobs SET {BROKEN[case]}")))
    assert row_of(database, job_id) == before


def test_the_table_refuses_sources_without_a_job(database: Database) -> None:
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        act(
            database,
            lambda connection: connection.execute(
                sources.insert().values(job_seq=99, position=0, name="a", size_bytes=1)
            ),
        )
