"""What clients can change: submit, cancel, retry, delete, replay. Each is one transaction, given its open connection.

Each adds its audit event, so that event and change commit together; ``by`` is who asked. ``desk`` commits them, and
does what follows.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from service.audit import Requester
from service.errors import (
    IDEMPOTENCY_MISMATCH,
    NOT_CANCELLABLE,
    NOT_RETRYABLE,
    TOO_MANY_RETRIES,
    ErrorKind,
    ServiceError,
)
from storage import audit_table
from storage.audit_table import Action, Actor
from storage.errors import JobConflict, TooManyRetries
from storage.ids import Key
from storage.jobs import idempotency, job_table
from storage.jobs.idempotency import IdempotentRequest
from storage.jobs.job_table import NewJob
from storage.lifecycle import JobStatus
from storage.messages import outbox
from storage.messages.outbox import Subscriber, subscribe

_TOLD_OF_A_JOB = ("source_size_bytes", "source_files", "format", "level")
"""What the audit keeps of a job; not its name, which tells of the contents, and outlives no job."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to be made, and the request that must make only one."""

    job: NewJob
    request: IdempotentRequest | None
    remember_milliseconds: int
    subscribers: tuple[Subscriber, ...] = ()
    """Whom to tell when it has ended."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an upload came to."""

    job_id: str
    row: dict[str, Any] | None
    """Of the job as it was made; None where an earlier request made it."""


def digest_of(secret: str) -> str:
    """Return what is stored of a key: its SHA-256. Keys have 128 random bits, so nothing slower is needed."""
    return sha256(secret.encode()).hexdigest()


def is_key(given: str, digest: str) -> bool:
    """Return whether ``given`` is the key of this digest, in constant time."""
    return hmac.compare_digest(digest_of(given), digest)


def submit(connection: Connection, submission: Submission, *, by: Requester) -> Made:
    """Make the job, or find the one that an earlier request with the same key made.

    Raises:
        ServiceError: idempotency_mismatch.
    """
    earlier = earlier_job(connection, submission.request)
    if earlier is not None:
        return Made(earlier, None)
    row = job_table.insert_job(connection, submission.job)
    subscribe(connection, row["seq"], submission.subscribers)
    if submission.request is not None:
        keep = submission.remember_milliseconds
        idempotency.remember(connection, submission.request, row["seq"], for_milliseconds=keep)
    told = {name: row[name] for name in _TOLD_OF_A_JOB}
    audit_table.add(connection, by.event(Action.JOB_SUBMITTED, row["id"], status=202, details=told))
    return Made(row["id"], row)


def earlier_job(connection: Connection, request: IdempotentRequest | None) -> str | None:
    """Return the id of the job that this request has made already, as far as it is known, or None.

    Raises:
        ServiceError: idempotency_mismatch, the key made a job of another request.
    """
    found = idempotency.find(connection, request.key_digest) if request else None
    if request is None or found is None:
        return None
    if not found.fingerprint.startswith(request.fingerprint):
        detail = "The key was used for another request. Use a new key for a new upload."
        raise ServiceError(IDEMPOTENCY_MISMATCH, detail)
    return found.job_id


def cancel(connection: Connection, job_id: str, *, by: Requester) -> JobStatus:
    """Cancel a queued job at once, ask a running one to stop; return its status.

    Raises:
        JobNotFound, ServiceError: not_cancellable.
    """
    try:
        status = job_table.cancel(connection, job_id)
    except JobConflict as conflict:
        raise _conflict(NOT_CANCELLABLE, conflict) from conflict
    answered = 202 if status is JobStatus.RUNNING else 200
    audit_table.add(connection, by.event(Action.JOB_CANCELLED, job_id, status=answered))
    return status


def retry(
    connection: Connection, job_id: str, *, max_attempts: int, by: Requester, max_retries: int | None = None
) -> None:
    """Queue a failed or cancelled job again, for clients ``max_retries`` times; for the admin as often as asked.

    Raises:
        JobNotFound, ServiceError: not_retryable, too_many_retries.
    """
    most = None if by.actor is Actor.ADMIN else max_retries
    try:
        job_table.retry(connection, job_id, attempts_more=max_attempts, max_retries=most)
    except TooManyRetries as error:
        detail = "Upload the file again, or ask whoever runs this server to retry it."
        raise ServiceError(TOO_MANY_RETRIES, detail, limit="max_retries") from error
    except JobConflict as conflict:
        raise _conflict(NOT_RETRYABLE, conflict) from conflict
    audit_table.add(connection, by.event(Action.JOB_RETRIED, job_id, status=202))


def delete(connection: Connection, job_id: str, *, by: Requester) -> list[Key]:
    """Remove the job in any status; return the keys of the files the caller removes after the commit.

    Raises:
        JobNotFound: there is none.
    """
    keys = job_table.delete_job(connection, job_id)
    audit_table.add(connection, by.event(Action.JOB_DELETED, job_id, status=204))
    return keys


def replay(connection: Connection, job_id: str, message_id: str, *, by: Requester) -> None:
    """Have a message of the job's end sent again.

    Raises:
        MessageNotFound, MessageUnderWay, TooManyReplays: as ``outbox.replay``.
    """
    outbox.replay(connection, job_id, message_id)
    details = {"message": message_id}
    audit_table.add(connection, by.event(Action.MESSAGE_REPLAYED, job_id, status=202, details=details))


def _conflict(kind: ErrorKind, conflict: JobConflict) -> ServiceError:
    members: dict[str, Any] = {"job_status": str(conflict.status)}
    return ServiceError(kind, f"The job is {conflict.status}.", **members)
