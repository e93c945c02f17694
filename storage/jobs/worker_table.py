"""The workers that live: who they are and when each last gave a sign of life."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, update

from storage.database import Now, Proven
from storage.lifecycle import JobStatus
from storage.models import jobs, status_literal, workers
from storage.trouble import Trouble


def register(connection: Connection, worker_id: str, *, host: str, pid: int, capacity: int) -> None:
    """Enter a worker that begins; ``capacity`` is how many jobs it works on at a time."""
    row = {"id": worker_id, "host": host, "pid": pid, "capacity": capacity}
    connection.execute(insert(workers).values(started_at=Now(), heartbeat_at=Now(), **row))


def sign_of_life(connection: Connection, worker_id: str, waiting_for: Trouble | None = None) -> bool:
    """Record that the worker is alive now, and what it waits for; return whether it is still entered.

    One that was silent for long (a machine that slept) has been forgotten, and must register again.
    """
    statement = update(workers).where(workers.c.id == worker_id).values(heartbeat_at=Now(), waiting_for=waiting_for)
    return connection.execute(statement).rowcount == 1


def paused(connection: Connection) -> dict[str, int]:
    """Return how many workers claim nothing, by the trouble they wait for."""
    query = select(workers.c.waiting_for, func.count()).where(workers.c.waiting_for.is_not(None))
    rows = connection.execute(query.group_by(workers.c.waiting_for)).all()
    return {row[0]: row[1] for row in rows}


def unregister(connection: Connection, worker_id: str) -> None:
    """Remove a worker that has ended."""
    connection.execute(delete(workers).where(workers.c.id == worker_id))


def forget_silent(connection: Connection, *, for_milliseconds: int) -> int:
    """Remove workers that were silent so long and hold no job; return how many."""
    holding = select(jobs.c.lease_owner).where(jobs.c.status == status_literal(JobStatus.RUNNING))
    silent = workers.c.heartbeat_at < Proven() - for_milliseconds
    return connection.execute(delete(workers).where(silent, workers.c.id.not_in(holding))).rowcount
