"""What clients can change: submit, cancel, retry, delete. Each is one transaction, given its open connection.

The caller commits (through the group writer), then wakes the dispatcher, then deletes files that no row names any more.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from service.errors import IDEMPOTENCY_MISMATCH, NOT_CANCELLABLE, NOT_RETRYABLE, ErrorKind, ServiceError
from storage import idempotency, job_table
from storage.errors import JobConflict
from storage.file_store import Key
from storage.idempotency import IdempotentRequest
from storage.job_table import NewJob
from storage.lifecycle import JobStatus


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to be made, and the request that must make only one."""

    job: NewJob
    request: IdempotentRequest | None
    remember_milliseconds: int


def digest_of(secret: str) -> str:
    """Return what is stored of a key: its SHA-256. Keys have 128 random bits, so nothing slower is needed."""
    return sha256(secret.encode()).hexdigest()


def is_key(given: str, digest: str) -> bool:
    """Return whether ``given`` is the key of this digest, in constant time."""
    return hmac.compare_digest(digest_of(given), digest)


def submit(connection: Connection, submission: Submission) -> str | dict[str, Any]:
    """Make the job; return its row, or the id of the job that an earlier request with the same key made.

    Raises:
        ServiceError: idempotency_mismatch.
    """
    earlier = earlier_job(connection, submission.request)
    if earlier is not None:
        return earlier
    row = job_table.insert_job(connection, submission.job)
    if submission.request is not None:
        keep = submission.remember_milliseconds
        idempotency.remember(connection, submission.request, row["seq"], for_milliseconds=keep)
    return row


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


def cancel(connection: Connection, job_id: str) -> JobStatus:
    """Cancel a queued job at once, ask a running one to stop; return its status.

    Raises:
        JobNotFound, ServiceError: not_cancellable.
    """
    try:
        return job_table.cancel(connection, job_id)
    except JobConflict as conflict:
        raise _conflict(NOT_CANCELLABLE, conflict) from conflict


def retry(connection: Connection, job_id: str, *, max_attempts: int) -> None:
    """Queue a failed or cancelled job again.

    Raises:
        JobNotFound, ServiceError: not_retryable.
    """
    try:
        job_table.retry(connection, job_id, attempts_more=max_attempts)
    except JobConflict as conflict:
        raise _conflict(NOT_RETRYABLE, conflict) from conflict


def delete(connection: Connection, job_id: str) -> list[Key]:
    """Remove the job in any status; return the keys of the files the caller removes after the commit.

    Raises:
        JobNotFound: there is none.
    """
    return job_table.delete_job(connection, job_id)


def _conflict(kind: ErrorKind, conflict: JobConflict) -> ServiceError:
    members: dict[str, Any] = {"job_status": str(conflict.status)}
    return ServiceError(kind, f"The job is {conflict.status}.", **members)
