"""Audit events as rows: written, listed, copied on, outliving their jobs, and pruned by age alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from storage import audit_table
from storage.audit_table import Action, Actor, EventFilter, NewEvent
from storage.database import Database
from storage.jobs import job_table
from storage.lifecycle import JobStatus
from tests.storage.job_builder import HOUR, Row, act, bring_to, change_row, now, submit

JOB = "a" * 26
OTHER = "b" * 26


def add(database: Database, action: Action = Action.JOBS_LISTED, *, age: int = 0, **fields: Any) -> None:
    event = NewEvent(action, fields.pop("actor", Actor.ADMIN), **fields)
    act(database, lambda connection: audit_table.add(connection, event, age_milliseconds=age))


def listed(database: Database, **wanted: Any) -> list[Row]:
    with database.read() as connection:
        return audit_table.list_events(connection, EventFilter(**wanted))


def ids(rows: list[Row]) -> list[int]:
    return [row["id"] for row in rows]


def test_an_event_is_kept_whole(database: Database) -> None:
    before = now(database)
    add(
        database,
        Action.RESULT_DOWNLOADED,
        actor=Actor.JOB_ID,
        job_id=JOB,
        request_id="r-1",
        client="2001:db8::1",
        status=206,
        details={"format": "gzip", "q": '日志 "x"'},
    )

    [event] = listed(database)
    assert before <= event["at"] <= now(database)
    assert json.loads(event["details"]) == {"format": "gzip", "q": '日志 "x"'}
    assert {name: value for name, value in event.items() if name not in ("at", "details")} == {
        "id": 1,
        "action": "result.downloaded",
        "actor": "job_id",
        "job_id": JOB,
        "request_id": "r-1",
        "client": "2001:db8::1",
        "status": 206,
    }


def test_an_event_that_waited_is_written_with_its_own_time(database: Database) -> None:
    add(database, age=5000)

    assert 5000 <= now(database) - listed(database)[0]["at"] < 6000


def test_a_list_is_newest_first_and_goes_on_at_a_cursor(database: Database) -> None:
    for _ in range(5):
        add(database)

    assert ids(listed(database, limit=2)) == [5, 4]
    assert ids(listed(database, limit=2, before_id=4)) == [3, 2]
    assert ids(listed(database, limit=2, before_id=2)) == [1]


def test_a_list_can_be_of_one_action_of_one_job_or_both(database: Database) -> None:
    add(database, Action.JOB_CANCELLED, job_id=JOB)
    add(database, Action.JOB_CANCELLED, job_id=OTHER)
    add(database, Action.JOB_RETRIED, job_id=JOB)
    add(database)

    assert ids(listed(database, action=Action.JOB_CANCELLED)) == [2, 1]
    assert ids(listed(database, job_id=JOB)) == [3, 1]
    assert ids(listed(database, action=Action.JOB_RETRIED, job_id=JOB)) == [3]
    assert ids(listed(database, action=Action.JOB_DELETED)) == []


@pytest.mark.parametrize(
    ("column", "index"), [("action", "ix_audit_events_action"), ("job_id", "ix_audit_events_job_id")]
)
def test_one_action_or_job_is_found_by_an_index_in_order(database: Database, column: str, index: str) -> None:
    with database.read() as connection:
        query = f"EXPLAIN QUERY PLAN SELECT * FROM audit_events WHERE {column} = :wanted ORDER BY id DESC LIMIT 50"
        plan = [row.detail for row in connection.execute(text(query), {"wanted": JOB})]

    assert len(plan) == 1
    assert index in plan[0]


def test_an_event_outlives_its_job(database: Database) -> None:
    job_id = submit(database)
    add(database, Action.JOB_SUBMITTED, job_id=job_id)

    act(database, lambda connection: job_table.delete_job(connection, job_id))

    assert [event["job_id"] for event in listed(database)] == [job_id]


def test_a_job_that_expires_leaves_an_event_of_the_system_and_no_other_job_does(database: Database) -> None:
    kept = bring_to(database, JobStatus.SUCCEEDED)
    over = bring_to(database, JobStatus.FAILED)
    change_row(database, over, expires_at=1)

    act(database, lambda connection: job_table.expire(connection, grave_milliseconds=HOUR, limit=10))

    assert kept != over
    [event] = listed(database)
    assert (event["action"], event["actor"], event["job_id"]) == ("job.expired", "system", over)
    assert (event["status"], event["request_id"], event["client"], event["details"]) == (None, None, None, "{}")
    assert now(database) - 10_000 < event["at"] <= now(database)


def test_copying_goes_on_where_it_was(database: Database) -> None:
    for _ in range(5):
        add(database)

    with database.read() as connection:
        assert ids(audit_table.events_after(connection, 0, limit=2)) == [1, 2]
        assert ids(audit_table.events_after(connection, 2, limit=9)) == [3, 4, 5]
        assert audit_table.events_after(connection, 5, limit=9) == []
        assert audit_table.last_event_id(connection) == 5


def test_an_empty_table_has_no_last_event(database: Database) -> None:
    with database.read() as connection:
        assert audit_table.last_event_id(connection) == 0


def test_what_is_too_old_is_pruned_in_batches_and_nothing_else(database: Database) -> None:
    for age in (9 * HOUR, 8 * HOUR, 7 * HOUR, 3 * HOUR, 0):
        add(database, age=age)

    def prune(connection: Any) -> int:
        return audit_table.prune(connection, older_than_milliseconds=5 * HOUR, keep=99, limit=2)

    assert [act(database, prune) for _ in range(3)] == [2, 1, 0]
    assert ids(listed(database)) == [5, 4]


def test_the_oldest_go_where_there_are_more_than_are_kept(database: Database) -> None:
    for _ in range(5):
        add(database)

    def prune(connection: Any) -> int:
        return audit_table.prune(connection, older_than_milliseconds=HOUR, keep=2, limit=2)

    assert [act(database, prune) for _ in range(3)] == [2, 1, 0]
    assert ids(listed(database)) == [5, 4]


@pytest.mark.parametrize(
    "details",
    [
        {"q": "x" * 10_000},
        {"q": "日" * 240, "status": "志" * 240},
        {"q": '"\\' * 200},
        {str(number): number for number in range(1000)},
        {"q": "\ud800" * 240},
    ],
    ids=["one", "two", "escapes", "no text", "surrogates"],
)
def test_details_never_take_more_than_their_bytes(details: dict[str, Any]) -> None:
    kept = audit_table._bounded(details)

    assert len(kept.encode("utf-8", "replace")) <= audit_table.MAX_DETAILS_BYTES
    assert set(json.loads(kept)) <= set(details)


def test_the_number_of_a_pruned_event_never_comes_again(database: Database) -> None:
    add(database, age=HOUR)
    act(database, lambda connection: audit_table.prune(connection, older_than_milliseconds=1, keep=99, limit=9))
    add(database)

    assert ids(listed(database)) == [2]


def test_queries_and_changes_are_told_apart() -> None:
    changes = {action for action in Action if not action.is_query}

    marks = {Action.RESULT_DAMAGED, Action.RESULT_REPAIRED, Action.KEY_REFUSED}
    assert changes == {action for action in Action if action.startswith(("job.", "message."))} | marks
