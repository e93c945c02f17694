"""The life of a job: its statuses, every step from one to another, and its attempts; and of messages that tell of it.

Pure data; nothing here touches a database. Each closed set of words that rows and clients share stands here once: name
its members, never their place or their text. ``tests/test_closed_sets.py`` holds all who know one to knowing all of it.

Two rules. Every transition is one conditional UPDATE, in ``job_table`` for owners and time, in ``job_attempts`` for
workers (fenced by the epoch), in ``job_rescue`` for workers that are gone; and no transition happens that does not
stand in ``TRANSITIONS``. The diagram in ``docs/architecture.md`` is drawn from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job stands. A closed set; what else one might want to say is derived from the row."""

    QUEUED = "queued"
    """Durable and waiting: made by submit, by retry, or given back by an attempt that did not end it."""
    RUNNING = "running"
    """A worker holds the lease. A crash leaves it here until rescue finds the worker gone or the lease over."""
    SUCCEEDED = "succeeded"
    """The result is stored and was read back to the digest of what came in."""
    FAILED = "failed"
    """Given up, with an error; the source is still there for a retry."""
    CANCELLED = "cancelled"
    """Stopped by its owner; the source is still there for a retry."""
    EXPIRED = "expired"
    """Files gone, row kept so that the answer is 410 and not 404, until it is pruned."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself, apart from expiry."""
        return self in _FINAL


_FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED})


class Phase(StrEnum):
    """What a running attempt is at."""

    STARTING = "starting"
    """It was claimed just now."""
    SCANNING = "scanning"
    """The operator's scanner looks at the sources."""
    PROBING = "probing"
    """Some of the source is read, to see whether it can be made smaller."""
    COMPRESSING = "compressing"
    DIGESTING = "digesting"
    """It cannot be made smaller: the source is read once, for its digest."""
    STORING = "storing"
    """All is written, and not yet on the disk."""
    VERIFYING = "verifying"
    """The result is read back and compared with the sources."""


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """It had stopped because the job's owner asked."""
    RELEASED = "released"
    """Given back by a worker that was shutting down."""
    PAUSED = "paused"
    """Given back because of the machine; the attempt's code says which trouble."""
    INTERRUPTED = "interrupted"
    """The whole service ended."""
    WORKER_LOST = "worker_lost"
    """Its worker died, perhaps of it."""
    STALLED = "stalled"
    """Its lease ran out."""


class MessageKind(StrEnum):
    """How somebody is told that a job has ended."""

    WEBHOOK = "webhook"
    EMAIL = "email"


class MessageStatus(StrEnum):
    """Where a message of the outbox stands."""

    PENDING = "pending"
    """Made in the transaction that ended the job: due, waiting for its next delivery, or under a lease. A crash leaves
    it here until the worker is found dead or the lease is over."""
    SENT = "sent"
    """The other side took it."""
    FAILED = "failed"
    """Given up; a replay makes it pending again."""


class DeliveryOutcome(StrEnum):
    """How a delivery ended."""

    DELIVERED = "delivered"
    """The other side took it."""
    FAILED = "failed"
    """It did not, or cannot be reached; trying again may help."""
    REFUSED = "refused"
    """It said that it will never take it: no further try."""
    LIMITED = "limited"
    """It has been told of enough in this hour: nothing was sent."""
    INTERRUPTED = "interrupted"
    """The sender died: whether the other side took the message is not known. No messenger says so of itself."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One step: from where to where, by what, and why. None is 'no row'."""

    source: JobStatus | None
    target: JobStatus | None
    name: str
    why: str


_Q, _R, _X = JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.EXPIRED
_S, _F, _C = JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED

TRANSITIONS = (
    Transition(None, _Q, "insert", "an upload is durable and becomes a job"),
    Transition(_Q, _R, "claim", "a worker takes the oldest job that is due"),
    Transition(_R, _S, "finish", "the result is stored and verified"),
    Transition(_R, _Q, "fail", "the attempt failed and attempts are left: run again after a pause"),
    Transition(_R, _F, "fail", "the attempt failed for good"),
    Transition(_R, _C, "confirm_cancel", "the worker has stopped because the job's owner asked"),
    Transition(_R, _C, "fail", "the attempt failed while a cancel was waiting"),
    Transition(_R, _Q, "release", "the worker is shutting down and gives the job back, uncounted"),
    Transition(_R, _C, "release", "the worker is shutting down and a cancel was waiting"),
    Transition(_R, _Q, "pause", "the machine lacks room, memory or the like: given back uncounted, to be tried later"),
    Transition(_R, _C, "pause", "the machine lacks something and a cancel was waiting"),
    Transition(_R, _Q, "rescue", "the worker is gone: run again, alone if the worker died of something"),
    Transition(_R, _F, "rescue", "the job has ended too many workers, or its attempts are used up"),
    Transition(_R, _C, "rescue", "the worker is gone and a cancel was waiting"),
    Transition(_Q, _C, "cancel", "nothing was running yet"),
    Transition(_F, _Q, "retry", "its owner asks for another round"),
    Transition(_C, _Q, "retry", "its owner changed their mind"),
    Transition(_S, _X, "expire", "its time is over"),
    Transition(_F, _X, "expire", "its time is over"),
    Transition(_C, _X, "expire", "its time is over"),
    Transition(_X, None, "prune", "its grave has stood long enough"),
)


def _left_by(name: str) -> tuple[JobStatus, ...]:
    return tuple(step.source for step in TRANSITIONS if step.name == name and step.source is not None)


UNDER_WAY = tuple(status for status in JobStatus if not status.is_final)
"""Where a job waits or runs."""

ENDINGS = _left_by("expire")
"""How a job can end: what its subscribers are told of."""

RETRYABLE = _left_by("retry")
"""Where what arrived may be there for another round."""
