"""What workers do to a job, each step fenced by the epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from storage.database import Database, Now
from storage.errors import StaleAttempt
from storage.ids import new_source_key
from storage.jobs import job_attempts, job_table
from storage.jobs.job_attempts import ClaimedJob, ClaimedSource, Progress
from storage.jobs.work_totals import totals
from storage.lifecycle import JobStatus
from storage.models import attempts
from tests.storage.job_builder import (
    HOUR,
    WORKER,
    about,
    act,
    attempts_of,
    change_row,
    claim,
    counted,
    everything,
    fail,
    finish,
    new_source,
    now,
    result_of,
    row_of,
    running,
    submit,
)

PROGRESS = Progress("compressing", 400, 200)


def release(database: Database, job: ClaimedJob) -> None:
    act(database, lambda connection: job_attempts.release(connection, job))


def confirm_cancel(database: Database, job: ClaimedJob) -> None:
    act(database, lambda connection: job_attempts.confirm_cancel(connection, job))


def heartbeat(database: Database, job: ClaimedJob, progress: Progress = PROGRESS, lease: int = 20_000) -> bool:
    return act(
        database,
        lambda connection: job_attempts.heartbeat(connection, job, progress, lease_milliseconds=lease),
    )


def ask_to_stop(database: Database, job_id: str) -> None:
    act(database, lambda connection: job_table.cancel(connection, job_id))


def test_claim_hands_out_the_whole_job_under_a_lease(database: Database) -> None:
    given = tuple(new_source(name=f"{i}", size_bytes=i, sha256="12" * 32) for i in (3, 1, 2))
    job_id = submit(database, sources=given, format="zip", level="fast", name="all.zip")
    before = now(database)
    job = claim(database, lease=20_000)
    row = row_of(database, job_id)

    assert job == ClaimedJob(
        seq=row["seq"],
        id=job_id,
        epoch=1,
        worker_id=WORKER,
        attempt=1,
        name="all.zip",
        format="zip",
        level="fast",
        size_bytes=6,
        is_isolated=False,
        sources=tuple(ClaimedSource(s.key, s.name, s.size_bytes, s.sha256) for s in given),
    )
    assert (row["status"], row["version"], row["phase"], row["bytes_done"]) == ("running", 2, "starting", 0)
    assert before <= row["started_at"] <= now(database)
    assert row["lease_expires_at"] == about(row["started_at"] + 20_000)
    assert claim(database) is None


def test_claims_go_by_run_at_and_then_by_arrival(database: Database) -> None:
    ids = [submit(database) for _ in range(4)]
    for job_id, run_at in zip(ids, (50, 40, 50, 30), strict=True):
        change_row(database, job_id, run_at=run_at)

    claimed = [claim(database) for _ in range(5)]
    assert [job and job.id for job in claimed] == [ids[3], ids[1], ids[0], ids[2], None]


def test_what_is_not_due_yet_is_not_claimed(database: Database) -> None:
    job_id = submit(database)
    change_row(database, job_id, run_at=now(database) + HOUR)
    assert claim(database) is None
    change_row(database, job_id, run_at=now(database))

    assert claim(database) is not None


def test_an_isolated_job_waits_for_an_idle_worker_and_holds_the_line(database: Database) -> None:
    alone, behind = submit(database), submit(database)
    change_row(database, alone, is_isolated=True, run_at=1)

    assert claim(database, is_idle=False) is None
    first, second = claim(database, is_idle=True), claim(database, is_idle=False)
    assert first is not None
    assert (first.id, first.is_isolated) == (alone, True)
    assert second is not None
    assert (second.id, second.is_isolated) == (behind, False)


def test_a_second_attempt_keeps_the_time_of_the_first_start(database: Database) -> None:
    job = running(database)
    change_row(database, job.id, started_at=5)
    fail(database, job)
    again = claim(database)

    assert again is not None
    assert (again.epoch, again.attempt) == (2, 2)
    assert row_of(database, job.id)["started_at"] == 5


def test_a_heartbeat_renews_the_lease_and_tells_how_far_it_is(database: Database) -> None:
    job = running(database, lease=-1000)
    before = now(database)

    assert heartbeat(database, job) is False
    row = row_of(database, job.id)
    assert (row["phase"], row["bytes_done"], row["bytes_per_second"], row["version"]) == ("compressing", 400, 200, 3)
    assert before + 20_000 <= row["lease_expires_at"] <= now(database) + 20_000


def test_a_heartbeat_brings_the_wish_to_cancel(database: Database) -> None:
    job = running(database)
    ask_to_stop(database, job.id)

    assert heartbeat(database, job) is True


def test_finish_records_the_result_and_lets_the_sources_go(database: Database) -> None:
    job = running(database)
    heartbeat(database, job)
    change_row(database, job.id, error_code="codec_failed", error_detail="Once.")
    finish(database, job)
    row = row_of(database, job.id)

    expected = {
        "status": "succeeded",
        "version": 4,
        "result_key": f"r-{job.id}.1",
        "result_name": "a.log.zst",
        "result_format": "zstd",
        "result_media_type": "application/zstd",
        "result_coding": "zstd",
        "result_size_bytes": 100,
        "result_sha256": "ab" * 32,
        "result_checksum": "ef" * 8,
        "stored_as_is": False,
        "source_sha256": "cd" * 32,
        "bytes_done": 1000,
        "name": "a.log",
        "format": "auto",
    }
    assert expected.items() <= row.items()
    gone = ("phase", "bytes_per_second", "error_code", "error_detail", "lease_owner", "lease_expires_at")
    assert {row[name] for name in gone} == {None}
    assert row["expires_at"] == about(row["finished_at"] + HOUR)
    assert [(s["key"], s["sha256"]) for s in everything(database)["sources"]] == [(None, "cd" * 32)]


def test_finish_as_is_keeps_the_source_as_the_result(database: Database) -> None:
    job = running(database)
    key = job.sources[0].key
    finish(database, job, key=key, coding=None, stored_as_is=True)
    row = row_of(database, job.id)

    assert (row["result_key"], row["stored_as_is"], row["result_coding"]) == (key, True, None)
    assert [(s["key"], s["sha256"]) for s in everything(database)["sources"]] == [(key, "cd" * 32)]


def test_finish_records_the_digest_of_each_of_several_sources(database: Database) -> None:
    job = running(database, sources=(new_source(), new_source()))
    digests = ["01" * 32, "02" * 32]
    act(database, lambda connection: job_attempts.finish(connection, job, result_of(job), digests))

    assert [s["sha256"] for s in everything(database)["sources"]] == digests
    assert row_of(database, job.id)["source_sha256"] is None


def test_a_cancel_that_came_first_refuses_finish_and_is_confirmed(database: Database) -> None:
    job = running(database)
    ask_to_stop(database, job.id)
    before = everything(database)

    with pytest.raises(StaleAttempt):
        finish(database, job)
    assert everything(database) == before
    confirm_cancel(database, job)
    row = row_of(database, job.id)
    assert (row["status"], row["lease_owner"], row["phase"], row["bytes_done"]) == ("cancelled", None, None, 0)
    assert row["expires_at"] == about(row["finished_at"] + HOUR)
    assert everything(database)["sources"][0]["key"] == job.sources[0].key


def test_nobody_confirms_a_cancel_that_was_not_asked_for(database: Database) -> None:
    job = running(database)

    with pytest.raises(StaleAttempt):
        confirm_cancel(database, job)
    assert row_of(database, job.id)["status"] == "running"


def test_a_failed_attempt_runs_again_after_the_pause(database: Database) -> None:
    job = running(database)
    heartbeat(database, job)
    before = now(database)

    assert fail(database, job, pause=60_000) is JobStatus.QUEUED
    row = row_of(database, job.id)
    assert before + 60_000 <= row["run_at"] <= now(database) + 60_000
    assert (row["attempts"], row["error_code"], row["error_detail"]) == (1, "codec_failed", "It broke.")
    assert (row["finished_at"], row["expires_at"], row["lease_owner"], row["bytes_done"]) == (None, None, None, 0)
    assert claim(database) is None


def test_the_last_attempt_fails_for_good(database: Database) -> None:
    submit(database, max_attempts=2)
    outcomes = [fail(database, job) for job in iter(lambda: claim(database), None)]
    row = everything(database)["jobs"][0]

    assert outcomes == [JobStatus.QUEUED, JobStatus.FAILED]
    assert (row["attempts"], row["epoch"], row["expires_at"]) == (2, 2, about(row["finished_at"] + HOUR))
    assert everything(database)["sources"][0]["key"] is not None


def test_a_fatal_error_fails_at_once(database: Database) -> None:
    job = running(database)

    assert fail(database, job, is_fatal=True) is JobStatus.FAILED
    assert row_of(database, job.id)["attempts"] == 1


def test_a_failure_of_a_job_to_be_cancelled_cancels_it(database: Database) -> None:
    job = running(database)
    ask_to_stop(database, job.id)

    assert fail(database, job, is_fatal=True) is JobStatus.CANCELLED
    assert row_of(database, job.id)["finished_at"] is not None


def test_a_long_detail_is_cut(database: Database) -> None:
    job = running(database)
    act(
        database,
        lambda connection: job_attempts.fail(
            connection, job, code="c", detail="x" * 900, is_fatal=False, pause_milliseconds=0
        ),
    )

    assert row_of(database, job.id)["error_detail"] == "x" * 500
    assert attempts_of(database, job.id)[0]["error_detail"] == "x" * 500


def test_a_released_job_keeps_its_place_and_the_attempt_does_not_count(database: Database) -> None:
    job = running(database)
    place = row_of(database, job.id)["run_at"]
    behind = submit(database)
    release(database, job)
    row = row_of(database, job.id)

    assert (row["status"], row["run_at"], row["attempts"], row["epoch"]) == ("queued", place, 0, 1)
    order = [claim(database), claim(database)]
    assert [(j.id, j.epoch, j.attempt) for j in order if j] == [(job.id, 2, 1), (behind, 1, 1)]


def test_releasing_a_job_to_be_cancelled_cancels_it(database: Database) -> None:
    job = running(database)
    ask_to_stop(database, job.id)
    release(database, job)

    assert row_of(database, job.id)["status"] == "cancelled"
    assert claim(database) is None


STEPS: dict[str, Callable[[Database, ClaimedJob], object]] = {
    "heartbeat": heartbeat,
    "finish": finish,
    "fail": fail,
    "confirm_cancel": confirm_cancel,
    "release": release,
}


def _another_attempt_runs(database: Database, job: ClaimedJob) -> ClaimedJob:
    release(database, job)
    assert claim(database, job.worker_id) is not None
    return job


def _another_worker_calls(database: Database, job: ClaimedJob) -> ClaimedJob:
    return replace(job, worker_id="impostor")


def _the_job_was_deleted(database: Database, job: ClaimedJob) -> ClaimedJob:
    act(database, lambda connection: job_table.delete_job(connection, job.id))
    return job


def _the_number_belongs_to_another_job(database: Database, job: ClaimedJob) -> ClaimedJob:
    return replace(job, id="somebody-else")


def _it_is_queued_again(database: Database, job: ClaimedJob) -> ClaimedJob:
    release(database, job)
    return job


def _it_has_ended(database: Database, job: ClaimedJob) -> ClaimedJob:
    fail(database, job, is_fatal=True)
    return job


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "happening",
    [
        _another_attempt_runs,
        _another_worker_calls,
        _the_job_was_deleted,
        _the_number_belongs_to_another_job,
        _it_is_queued_again,
        _it_has_ended,
    ],
)
def test_a_stale_attempt_changes_nothing(
    database: Database, step: str, happening: Callable[[Database, ClaimedJob], ClaimedJob]
) -> None:
    stale = happening(database, running(database))
    rows = everything(database)["jobs"]
    if rows and rows[0]["status"] == "running" and step == "confirm_cancel":
        ask_to_stop(database, rows[0]["id"])
    before = everything(database)

    with pytest.raises(StaleAttempt) as raised:
        STEPS[step](database, stale)
    assert (raised.value.job_id, raised.value.epoch) == (stale.id, stale.epoch)
    assert everything(database) == before


def test_a_change_takes_part_in_the_callers_transaction(database: Database) -> None:
    job = running(database)

    def finish_and_break(connection: Connection) -> None:
        job_attempts.finish(connection, job, result_of(job), ["cd" * 32])
        raise RuntimeError("after all")

    with pytest.raises(RuntimeError, match="after all"):
        act(database, finish_and_break)
    assert row_of(database, job.id)["status"] == "running"
    assert counted(database) == 0


def test_every_claim_leaves_a_row_with_its_end_and_outcome(database: Database) -> None:
    job = running(database, max_attempts=9)
    release(database, job)
    second = claim(database, "worker-2")
    assert second is not None
    fail(database, second)
    third = claim(database)
    assert third is not None
    ask_to_stop(database, job.id)
    confirm_cancel(database, third)
    act(database, lambda connection: job_table.retry(connection, job.id, attempts_more=1))
    fourth = claim(database)
    assert fourth is not None
    assert [row["ended_at"] is None for row in attempts_of(database, job.id)] == [False, False, False, True]
    finish(database, fourth)

    rows = attempts_of(database, job.id)
    assert [(row["epoch"], row["worker_id"], row["outcome"], row["error_code"]) for row in rows] == [
        (1, WORKER, "released", None),
        (2, "worker-2", "failed", "codec_failed"),
        (3, WORKER, "cancelled", None),
        (4, WORKER, "succeeded", None),
    ]
    assert all(row["started_at"] <= row["ended_at"] <= now(database) for row in rows)
    assert rows[1]["error_detail"] == "It broke."


def began_seconds_ago(database: Database, job: ClaimedJob, seconds: int) -> None:
    earlier = attempts.update().where(attempts.c.job_seq == job.seq)
    act(database, lambda connection: connection.execute(earlier.values(started_at=Now() - seconds * 1000)))


def test_totals_count_ended_attempts_by_format_outcome_and_reason(database: Database) -> None:
    for _ in range(2):
        job = running(database)
        began_seconds_ago(database, job, 7)
        finish(database, job)
    fail(database, running(database, format="gzip"), is_fatal=True)
    with database.read() as connection:
        rows = {(row["format"], row["outcome"], row["error_code"]): row for row in totals(connection)}

    assert rows.keys() == {("zstd", "succeeded", ""), ("gzip", "failed", "codec_failed")}
    succeeded, failed = rows["zstd", "succeeded", ""], rows["gzip", "failed", "codec_failed"]
    assert (succeeded["jobs"], succeeded["bytes_in"], succeeded["bytes_out"]) == (2, 2000, 200)
    assert 14_000 <= succeeded["milliseconds"] < 20_000
    assert (failed["jobs"], failed["bytes_in"], failed["bytes_out"]) == (1, 1000, 0)


def test_totals_stay_when_their_jobs_are_gone(database: Database) -> None:
    job = running(database)
    finish(database, job, key=new_source_key())
    act(database, lambda connection: job_table.delete_job(connection, job.id))

    assert counted(database) == 1
