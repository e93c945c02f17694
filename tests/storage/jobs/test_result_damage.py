"""Marks of damaged results: set and taken off only while the job still has the result that was looked at."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.ids import Key
from storage.jobs import job_table
from storage.jobs.result_damage import (
    damaged_results,
    has_result,
    is_waiting,
    note_damaged,
    note_whole,
    results_after,
    waiting_after,
)
from tests.storage.job_builder import act, change_row, everything, finish, new_source, row_of, running, submit


@pytest.fixture
def done(database: Database) -> str:
    """A succeeded job's id."""
    job = running(database)
    finish(database, job)
    return job.id


def key_of(database: Database, job_id: str) -> Key:
    return Key(row_of(database, job_id)["result_key"])


def noted(database: Database, job_id: str, key: Key) -> bool:
    return act(database, lambda connection: note_damaged(connection, job_id, key, found="missing"))


def cleared(database: Database, job_id: str, key: Key) -> bool:
    return act(database, lambda connection: note_whole(connection, job_id, key))


def count(database: Database) -> int:
    with database.read() as connection:
        return damaged_results(connection)


def test_a_mark_is_set_once_and_keeps_its_time(database: Database, done: str) -> None:
    key, version = key_of(database, done), row_of(database, done)["version"]

    assert noted(database, done, key)
    first = row_of(database, done)
    assert not noted(database, done, key)

    assert row_of(database, done) == first
    assert (first["version"], first["status"], count(database)) == (version + 1, "succeeded", 1)


def test_a_mark_is_taken_off_once(database: Database, done: str) -> None:
    key = key_of(database, done)
    assert not cleared(database, done, key)
    noted(database, done, key)

    assert cleared(database, done, key)
    assert not cleared(database, done, key)

    assert (row_of(database, done)["result_damaged_at"], count(database)) == (None, 0)
    events = [(event["action"], event["actor"]) for event in everything(database)["audit_events"]]
    assert events == [("result.damaged", "system"), ("result.repaired", "system")]


@pytest.mark.parametrize("change", ["another key", "expired", "deleted"])
def test_a_job_that_has_another_result_or_none_is_left_alone(database: Database, done: str, change: str) -> None:
    key = key_of(database, done)
    match change:
        case "another key":
            change_row(database, done, result_key=f"{key}1")
        case "expired":
            change_row(database, done, expires_at=1)
            act(database, lambda connection: job_table.expire(connection, grave_milliseconds=9, limit=9))
        case _:
            act(database, lambda connection: job_table.delete_job(connection, done))
    before = everything(database)

    assert not noted(database, done, key)
    assert not cleared(database, done, key)
    assert not act(database, lambda connection: has_result(connection, done, key))

    assert everything(database) == before


def test_an_expired_job_is_not_damaged_any_more(database: Database, done: str) -> None:
    noted(database, done, key_of(database, done))
    change_row(database, done, expires_at=1)

    act(database, lambda connection: job_table.expire(connection, grave_milliseconds=9, limit=9))

    assert (row_of(database, done)["result_damaged_at"], count(database)) == (None, 0)


def test_damaged_results_are_counted_by_the_index_alone(database: Database) -> None:
    with database.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT count(*) FROM jobs WHERE status = 'succeeded' AND result_damaged_at IS NOT NULL"
        ).all()

    assert "ix_jobs_damaged" in plan[0][3]


def test_results_and_waiting_sources_are_read_in_order_and_in_pages(database: Database) -> None:
    made = [running(database) for _ in range(1)]
    finish(database, made[0])
    waiting = submit(database, sources=tuple(new_source(checksum=f"{at:016x}") for at in range(3)))
    submit(database, sources=(new_source(),))

    with database.read() as connection:
        [result] = results_after(connection, 0, limit=9)
        assert results_after(connection, result.seq, limit=9) == []
        first = waiting_after(connection, 0, -1, limit=2)
        [last] = waiting_after(connection, first[-1].seq, first[-1].position, limit=9)
        assert is_waiting(connection, last)

    assert result.job_id == made[0].id
    assert [(one.job_id, one.checksum) for one in (*first, last)] == [(waiting, f"{at:016x}") for at in range(3)]
    act(database, lambda connection: job_table.delete_job(connection, waiting))
    with database.read() as connection:
        assert not is_waiting(connection, last)
