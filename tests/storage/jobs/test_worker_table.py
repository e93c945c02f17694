"""Who works, and who has not been heard of."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from storage.database import Database
from storage.jobs import job_rescue, job_views, worker_table
from storage.models import workers
from tests.storage.job_builder import HOUR, Row, act, now, running


def register(database: Database, worker_id: str, host: str = "here") -> None:
    act(database, lambda connection: worker_table.register(connection, worker_id, host=host, pid=7, capacity=2))


def silent_for(database: Database, worker_id: str, milliseconds: int) -> None:
    then = now(database) - milliseconds
    statement = workers.update().where(workers.c.id == worker_id).values(heartbeat_at=then)
    act(database, lambda connection: connection.execute(statement))


def live(database: Database, within: int = 1000) -> int:
    with database.read() as connection:
        return job_views.live_workers(connection, within_milliseconds=within)


def forget_silent(database: Database) -> int:
    return act(database, lambda connection: worker_table.forget_silent(connection, for_milliseconds=HOUR))


def sign_of_life(database: Database, worker_id: str) -> bool:
    return act(database, lambda connection: worker_table.sign_of_life(connection, worker_id))


def entered(database: Database) -> dict[str, Row]:
    with database.read() as connection:
        return {row["id"]: dict(row) for row in connection.execute(select(workers)).mappings()}


def test_a_worker_is_entered_with_the_databases_time(database: Database) -> None:
    before = now(database)
    register(database, "w1")
    row = entered(database)["w1"]

    assert (row["host"], row["pid"], row["capacity"]) == ("here", 7, 2)
    assert before <= row["started_at"] == row["heartbeat_at"] <= now(database)
    assert live(database) == 1


def test_a_worker_is_entered_once(database: Database) -> None:
    register(database, "w1")

    with pytest.raises(IntegrityError):
        register(database, "w1")


def test_a_silent_worker_does_not_count_until_it_gives_a_sign(database: Database) -> None:
    register(database, "w1")
    silent_for(database, "w1", 5000)
    assert (live(database), live(database, within=60_000)) == (0, 1)

    assert sign_of_life(database, "w1") is True
    assert live(database) == 1


def test_a_forgotten_worker_is_told_so(database: Database) -> None:
    assert sign_of_life(database, "w1") is False
    assert entered(database) == {}


def test_a_worker_that_ends_is_removed_and_others_stay(database: Database) -> None:
    for worker_id in ("w1", "w2"):
        register(database, worker_id)
    act(database, lambda connection: worker_table.unregister(connection, "w1"))

    assert list(entered(database)) == ["w2"]


def test_silent_workers_are_forgotten_unless_they_hold_a_job(database: Database) -> None:
    for worker_id in ("silent", "holding", "living"):
        register(database, worker_id)
        silent_for(database, worker_id, 0 if worker_id == "living" else 2 * HOUR)
    running(database, "holding")

    assert forget_silent(database) == 1
    assert sorted(entered(database)) == ["holding", "living"]
    act(
        database,
        lambda connection: job_rescue.rescue_worker(connection, "holding", is_blamed=False, max_losses=3),
    )
    assert forget_silent(database) == 1
    assert list(entered(database)) == ["living"]
