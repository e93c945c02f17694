"""Which job an ``Idempotency-Key`` made. Only digests of keys are stored."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, delete, insert, select

from storage.database import Now, Proven
from storage.models import idempotency_keys, jobs


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request that must make one job only: the digest of its key, and of each part of what identifies it.

    The parts are known one after the other, first the head, then the content: the fingerprint of what is known so far
    is a beginning of the whole one.
    """

    key_digest: str
    fingerprint: str = ""

    def with_part(self, said: str) -> IdempotentRequest:
        """Return the request with one part more: 128 bits of its SHA-256."""
        return IdempotentRequest(self.key_digest, self.fingerprint + sha256(said.encode()).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """What the same key made before."""

    fingerprint: str
    job_id: str


def find(connection: Connection, key_digest: str) -> EarlierRequest | None:
    """Return what this key made, unless it has been forgotten."""
    query = (
        select(idempotency_keys.c.fingerprint, jobs.c.id)
        .join(jobs, jobs.c.seq == idempotency_keys.c.job_seq)
        .where(idempotency_keys.c.key_digest == key_digest, idempotency_keys.c.expires_at > Proven())
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else EarlierRequest(row.fingerprint, row.id)


def remember(connection: Connection, request: IdempotentRequest, job_seq: int, *, for_milliseconds: int) -> None:
    """Record which job the key made, in the transaction that makes it.

    Raises:
        sqlalchemy.exc.IntegrityError: the key has made one already.
    """
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.expires_at <= Proven()))
    connection.execute(
        insert(idempotency_keys).values(
            key_digest=request.key_digest,
            fingerprint=request.fingerprint,
            job_seq=job_seq,
            expires_at=Now() + for_milliseconds,
        )
    )
