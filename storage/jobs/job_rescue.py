"""What becomes of running jobs whose worker is gone or silent: rescue, one conditional UPDATE each.

A worker's death is counted apart from failed attempts. ``rescue_worker`` is for one that is known to be dead,
``rescue_lapsed`` for leases that ran out, whatever the reason. Both take the caller's open transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, case, func, literal_column, select

from storage.database import Now
from storage.jobs.job_leaving import LeftJob, end_attempt, leave
from storage.lifecycle import AttemptOutcome, JobStatus
from storage.messages.deliveries import release_sender
from storage.models import jobs, status_literal

_QUEUED = status_literal(JobStatus.QUEUED)
_RUNNING = status_literal(JobStatus.RUNNING)
_FAILED = status_literal(JobStatus.FAILED)
_CANCELLED = status_literal(JobStatus.CANCELLED)
WORKER_LOST = "worker_lost"
WORKER_STALLED = "worker_stalled"
"""What jobs have failed of whose workers could not do it any more; ``service.failures`` has the sentences."""

_WAS_CANCELLED = jobs.c.cancel_requested_at.is_not(None)


def rescue_worker(connection: Connection, worker_id: str, *, is_blamed: bool, max_losses: int) -> list[LeftJob]:
    """Take the jobs of a worker that is gone back into the queue, the attempts uncounted, and its messages too.

    ``is_blamed``: the worker died by itself, perhaps of what it was doing. Then its jobs run alone from now on; and if
    there was only one, it counts a loss and fails at ``max_losses``. A death of the whole service blames nobody.
    """
    held = and_(jobs.c.status == _RUNNING, jobs.c.lease_owner == worker_id)
    is_alone = connection.execute(select(func.count()).where(held)).scalar_one() == 1
    loss = int(is_blamed and is_alone)
    is_spent = and_(literal_column(str(loss)) == 1, jobs.c.losses + 1 >= max_losses)
    changes: dict[str, Any] = {"attempts": jobs.c.attempts - 1, "losses": jobs.c.losses + loss}
    if is_blamed:
        detail = f"The worker died {max_losses} times while it worked on this file alone."
        changes |= {
            "is_isolated": True,
            "error_code": case((is_spent, WORKER_LOST), else_=jobs.c.error_code),
            "error_detail": case((is_spent, detail), else_=jobs.c.error_detail),
        }
    left = leave(
        connection,
        held,
        case((_WAS_CANCELLED, _CANCELLED), (is_spent, _FAILED), else_=_QUEUED),
        is_final=_WAS_CANCELLED | is_spent,
        **changes,
    )
    for job in left:
        end_attempt(connection, job, AttemptOutcome.WORKER_LOST if is_blamed else AttemptOutcome.INTERRUPTED)
    release_sender(connection, worker_id)
    return left


def rescue_lapsed(connection: Connection) -> list[LeftJob]:
    """Take jobs whose lease is over back into the queue; here the attempt counts, so that nothing hangs for ever."""
    is_spent = jobs.c.attempts >= jobs.c.max_attempts
    left = leave(
        connection,
        and_(jobs.c.status == _RUNNING, jobs.c.lease_expires_at < Now()),
        case((_WAS_CANCELLED, _CANCELLED), (is_spent, _FAILED), else_=_QUEUED),
        is_final=_WAS_CANCELLED | is_spent,
        is_isolated=True,
        error_code=WORKER_STALLED,
        error_detail="The worker stopped answering while it worked on this file.",
    )
    for job in left:
        end_attempt(connection, job, AttemptOutcome.STALLED)
    return left
