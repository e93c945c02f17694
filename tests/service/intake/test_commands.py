"""What clients can change: one transaction each, over real rows; errors that say what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from service.audit import Requester
from service.errors import IDEMPOTENCY_MISMATCH, NOT_CANCELLABLE, NOT_RETRYABLE, ServiceError
from service.intake import commands
from service.intake.commands import Made, Submission, digest_of, is_key
from storage.audit_table import Action, Actor
from storage.database import Database
from storage.errors import JobNotFound
from storage.jobs.idempotency import IdempotentRequest
from storage.lifecycle import JobStatus
from tests.storage.job_builder import (
    Row,
    act,
    change_row,
    everything,
    find_row,
    new_job,
    new_source,
    one_of_each,
    row_of,
)

UNKNOWN = "z" * 26
REQUEST = IdempotentRequest("a" * 64, "b" * 64)
OWNER = Requester(Actor.MANAGE_KEY, "request-7", "192.0.2.1")


def submitted(database: Database, request: IdempotentRequest | None = None, **changes: object) -> Made:
    submission = Submission(new_job(**changes), request, 60_000)
    return act(database, lambda connection: commands.submit(connection, submission, by=OWNER))


def made(outcome: Made) -> Row:
    assert outcome.row is not None
    assert outcome.row["id"] == outcome.job_id
    return outcome.row


def test_a_key_fits_its_own_digest_only() -> None:
    digest = digest_of("secret")

    assert len(digest) == 64
    assert is_key("secret", digest)
    assert not is_key("Secret", digest)
    assert not is_key(digest, digest)
    assert not is_key("", digest)


def test_a_submission_becomes_a_queued_job_with_its_sources(database: Database) -> None:
    sources = (new_source(name="a.txt", size_bytes=3, sha256="ab" * 32), new_source(name="b.txt", size_bytes=4))

    row = made(submitted(database, sources=sources, name="2 files", format="zip", level="small"))

    stored = row_of(database, row["id"])
    assert stored["status"] == JobStatus.QUEUED
    assert (stored["name"], stored["format"], stored["level"]) == ("2 files", "zip", "small")
    assert (stored["source_size_bytes"], stored["source_files"]) == (7, 2)
    assert [(it["key"], it["name"]) for it in everything(database)["sources"]] == [
        (source.key, source.name) for source in sources
    ]


def test_the_row_that_submit_returns_is_the_row_that_is_stored(database: Database) -> None:
    row = made(submitted(database))

    stored = row_of(database, row["id"])
    assert {name: row[name] for name in stored if name in row} == {name: stored[name] for name in stored if name in row}
    assert {"id", "seq", "status", "version", "created_at"} <= set(row)


def test_the_same_request_again_gives_the_job_it_made(database: Database) -> None:
    first = made(submitted(database, REQUEST))

    assert submitted(database, REQUEST) == Made(first["id"], None)
    assert len(everything(database)["jobs"]) == 1


def test_another_request_with_the_key_is_refused_and_makes_nothing(database: Database) -> None:
    submitted(database, REQUEST)

    with pytest.raises(ServiceError) as caught:
        submitted(database, IdempotentRequest(REQUEST.key_digest, "c" * 64))

    assert caught.value.kind is IDEMPOTENCY_MISMATCH
    assert len(everything(database)["jobs"]) == 1


def test_requests_without_a_key_make_a_job_each(database: Database) -> None:
    assert made(submitted(database))["id"] != made(submitted(database))["id"]


def test_a_key_whose_job_was_deleted_makes_a_new_one(database: Database) -> None:
    first = made(submitted(database, REQUEST))
    act(database, lambda connection: commands.delete(connection, first["id"], by=OWNER))

    assert made(submitted(database, REQUEST))["id"] != first["id"]


def test_a_job_that_cannot_be_made_leaves_no_memory_of_its_key(database: Database) -> None:
    twice = new_source()
    submitted(database, sources=(twice,))

    with pytest.raises(IntegrityError):
        submitted(database, REQUEST, sources=(twice,))

    assert made(submitted(database, REQUEST))


def test_what_a_key_made_can_be_asked_before_the_bytes_have_come(database: Database) -> None:
    assert act(database, lambda connection: commands.earlier_job(connection, REQUEST)) is None
    first = made(submitted(database, REQUEST))

    assert act(database, lambda connection: commands.earlier_job(connection, REQUEST)) == first["id"]
    assert act(database, lambda connection: commands.earlier_job(connection, None)) is None


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (JobStatus.QUEUED, JobStatus.CANCELLED),
        (JobStatus.RUNNING, JobStatus.RUNNING),
        (JobStatus.CANCELLED, JobStatus.CANCELLED),
    ],
)
def test_cancel_tells_the_status_it_has_now(database: Database, status: JobStatus, after: JobStatus) -> None:
    job_id = one_of_each(database)[status]

    assert act(database, lambda connection: commands.cancel(connection, job_id, by=OWNER)) is after
    assert row_of(database, job_id)["status"] == after
    assert row_of(database, job_id)["cancel_requested_at"] is not None


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.EXPIRED])
def test_what_has_ended_is_not_cancelled(database: Database, status: JobStatus) -> None:
    job_id = one_of_each(database)[status]
    before = everything(database)

    with pytest.raises(ServiceError, match=f"The job is {status}") as caught:
        act(database, lambda connection: commands.cancel(connection, job_id, by=OWNER))

    assert caught.value.kind is NOT_CANCELLABLE
    assert caught.value.members == {"job_status": str(status)}
    assert everything(database) == before


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_failed_or_was_cancelled_is_queued_again(database: Database, status: JobStatus) -> None:
    job_id = one_of_each(database)[status]
    change_row(database, job_id, attempts=1, epoch=4)

    act(database, lambda connection: commands.retry(connection, job_id, max_attempts=3, by=OWNER))

    row = row_of(database, job_id)
    assert (row["status"], row["max_attempts"], row["epoch"]) == (JobStatus.QUEUED, 4, 4)
    assert (row["error_code"], row["finished_at"], row["cancel_requested_at"]) == (None, None, None)


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.EXPIRED])
def test_anything_else_is_not_run_again(database: Database, status: JobStatus) -> None:
    job_id = one_of_each(database)[status]
    before = everything(database)

    with pytest.raises(ServiceError) as caught:
        act(database, lambda connection: commands.retry(connection, job_id, max_attempts=3, by=OWNER))

    assert caught.value.kind is NOT_RETRYABLE
    assert caught.value.members == {"job_status": str(status)}
    assert everything(database) == before


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_is_deleted_in_any_status_and_its_files_are_told(database: Database, status: JobStatus) -> None:
    job_id = one_of_each(database)[status]
    seq = row_of(database, job_id)["seq"]
    result = row_of(database, job_id)["result_key"]
    named = {it["key"] for it in everything(database)["sources"] if it["job_seq"] == seq} | {result}

    keys = act(database, lambda connection: commands.delete(connection, job_id, by=OWNER))

    assert find_row(database, job_id) is None
    assert set(keys) == named - {None}


def test_what_is_not_there_is_not_changed(database: Database) -> None:
    one_of_each(database)
    before = everything(database)

    with pytest.raises(JobNotFound):
        act(database, lambda connection: commands.cancel(connection, UNKNOWN, by=OWNER))
    with pytest.raises(JobNotFound):
        act(database, lambda connection: commands.retry(connection, UNKNOWN, max_attempts=1, by=OWNER))
    with pytest.raises(JobNotFound):
        act(database, lambda connection: commands.delete(connection, UNKNOWN, by=OWNER))
    assert everything(database) == before


def test_digests_alone_are_stored(database: Database, database_path: Path) -> None:
    submitted(database, manage_key_digest=digest_of("the-manage-key"))

    database.close()
    assert b"the-manage-key" not in b"".join(path.read_bytes() for path in database_path.parent.glob("vacpack.db*"))


def events_of(database: Database, job_id: str) -> list[tuple[str, int]]:
    """Return what OWNER did to a job, and how it was answered; fail if anything else is said of who it was."""
    events = [event for event in everything(database)["audit_events"] if event["job_id"] == job_id]
    who = {(event["actor"], event["request_id"], event["client"]) for event in events if event["actor"] != "system"}
    assert who <= {("manage_key", "request-7", "192.0.2.1")}
    return [(event["action"], event["status"]) for event in events if event["actor"] != "system"]


def test_every_change_leaves_its_event_with_the_status_it_is_answered_with(database: Database) -> None:
    job_id = made(submitted(database))["id"]
    act(database, lambda connection: commands.cancel(connection, job_id, by=OWNER))
    act(database, lambda connection: commands.retry(connection, job_id, max_attempts=1, by=OWNER))
    act(database, lambda connection: commands.delete(connection, job_id, by=OWNER))

    changes = [Action.JOB_SUBMITTED, Action.JOB_CANCELLED, Action.JOB_RETRIED, Action.JOB_DELETED]
    assert events_of(database, job_id) == list(zip(changes, [202, 200, 202, 204], strict=True))


def test_asking_a_running_job_to_stop_is_audited_as_accepted(database: Database) -> None:
    job_id = one_of_each(database)[JobStatus.RUNNING]

    act(database, lambda connection: commands.cancel(connection, job_id, by=OWNER))

    assert events_of(database, job_id) == [("job.cancelled", 202)]


def test_the_event_of_a_submission_tells_sizes_and_not_names(database: Database) -> None:
    row = made(submitted(database, name="secret plans.txt", sources=(new_source(name="secret plans.txt"),)))

    [event] = [event for event in everything(database)["audit_events"] if event["job_id"] == row["id"]]
    assert json.loads(event["details"]) == {
        "source_size_bytes": 1000,
        "source_files": 1,
        "format": "auto",
        "level": "balanced",
    }


def test_an_event_is_rolled_back_with_its_change(database: Database) -> None:
    def change_and_fail(connection: Connection) -> None:
        commands.submit(connection, Submission(new_job(), None, 60_000), by=OWNER)
        raise RuntimeError("after both")

    with pytest.raises(RuntimeError):
        act(database, change_and_fail)

    assert everything(database)["audit_events"] == []


def test_the_same_request_again_leaves_no_second_event(database: Database) -> None:
    first = made(submitted(database, REQUEST))
    submitted(database, REQUEST)

    assert events_of(database, first["id"]) == [("job.submitted", 202)]
