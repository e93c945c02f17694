"""Events that wait for the table: none is lost, whatever the database does; and events as people read them."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from service import audit
from service.audit import AuditQueue, Requester, event_document, event_json, event_text
from storage.audit_table import Action, Actor
from storage.database import Database
from storage.files.local_files import LocalFiles
from storage.group_writer import GroupWriter
from tests.storage.job_builder import everything

SOMEBODY = Requester(Actor.ADMIN, "request-1", "192.0.2.1")
LISTED = SOMEBODY.event(Action.JOBS_LISTED, status=200)

ROW: dict[str, Any] = {
    "id": 7,
    "at": 1_764_000_000_123,
    "action": "jobs.searched",
    "actor": "admin",
    "job_id": None,
    "request_id": "request-1",
    "client": "192.0.2.1",
    "status": 200,
    "details": '{"q": "日志"}',
}


@asynccontextmanager
async def queue_over(database: Database, folder: Path) -> AsyncIterator[AuditQueue]:
    """A queue over a real group writer; closed at the end, the queue first."""
    writer = GroupWriter(database, LocalFiles(folder / "files"))
    writer.start()
    queue = AuditQueue(writer.run)
    yield queue
    await queue.close()
    writer.stop()


def count(database: Database) -> int:
    return len(everything(database)["audit_events"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for is in the database.
            await asyncio.sleep(0.01)


def run(test: Callable[[AuditQueue], Awaitable[None]], database: Database, folder: Path) -> None:
    async def main() -> None:
        async with queue_over(database, folder) as queue:
            await test(queue)

    asyncio.run(main())


def test_every_event_is_written_once(database: Database, tmp_path: Path) -> None:
    async def test(queue: AuditQueue) -> None:
        for number in range(1200):
            queue.record(SOMEBODY.event(Action.JOBS_LISTED, status=200, details={"number": number}))
        await until(lambda: count(database) == 1200)

    run(test, database, tmp_path)

    numbers = [json.loads(event["details"])["number"] for event in everything(database)["audit_events"]]
    assert numbers == list(range(1200))


def test_recording_goes_on_after_a_rest(database: Database, tmp_path: Path) -> None:
    async def test(queue: AuditQueue) -> None:
        for number in range(1, 4):
            queue.record(LISTED)
            await until(lambda expected=number: count(database) == expected)  # type: ignore[misc]
            await asyncio.sleep(0)

    run(test, database, tmp_path)


def test_events_that_come_together_are_committed_together(database: Database) -> None:
    batches: list[int] = []

    async def commit(apply: audit.Apply) -> None:
        before = count(database)
        with database.transaction() as connection:
            apply(connection)
        batches.append(count(database) - before)

    async def main() -> None:
        queue = AuditQueue(commit)
        for _ in range(audit.BATCH + 1):
            queue.record(LISTED)
            await asyncio.sleep(0)
        await until(lambda: len(batches) == 2)

    asyncio.run(main())
    assert batches == [audit.BATCH, 1]


def test_closing_writes_what_waits(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "GATHER_SECONDS", 3600)

    async def test(queue: AuditQueue) -> None:
        for _ in range(3 * audit.BATCH):
            queue.record(LISTED)

    run(test, database, tmp_path)

    assert count(database) == 3 * audit.BATCH


def test_events_wait_while_the_database_refuses_and_keep_their_time(
    database: Database, database_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "RETRY_SECONDS", 0.05)

    async def commit(apply: audit.Apply) -> None:
        with database.transaction() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            apply(connection)

    async def main() -> None:
        queue = AuditQueue(commit)
        # Autocommit: the lock is held until it is given back.
        with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
            with database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA busy_timeout = 1")
            other.execute("BEGIN IMMEDIATE")
            queue.record(LISTED)
            await until(lambda: "could not be written" in caplog.text)
            await asyncio.sleep(0.3)
            assert count(database) == 0
            other.execute("ROLLBACK")
        await until(lambda: count(database) == 1)

    asyncio.run(main())
    [event] = everything(database)["audit_events"]
    assert event["action"] == "jobs.listed"


def test_what_cannot_be_kept_or_written_is_counted_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 10)

    async def refuse(_: audit.Apply) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async def main() -> None:
        queue = AuditQueue(refuse)
        for _ in range(15):
            queue.record(LISTED)
        await queue.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())

    lost = [record.args for record in caplog.records if record.levelno == logging.ERROR]
    assert lost == [(15,)]


def test_an_event_reads_the_same_in_json_and_for_people() -> None:
    assert event_document(ROW) == {
        "id": 7,
        "at": "2025-11-24T16:00:00.123Z",
        "action": "jobs.searched",
        "actor": "admin",
        "job": None,
        "status": 200,
        "client": "192.0.2.1",
        "request_id": "request-1",
        "details": {"q": "日志"},
    }
    assert json.loads(event_json(ROW)) == event_document(ROW)
    assert event_text(ROW).split() == [
        "2025-11-24T16:00:00.123Z",
        "jobs.searched",
        "admin",
        "-",
        "200",
        "192.0.2.1",
        "q=日志",
    ]


def test_no_control_character_reaches_a_terminal_and_json_stays_json() -> None:
    hostile = "a\x1b[2J\x9b31m\nb\x7f"
    row = ROW | {"client": hostile, "details": json.dumps({"q": hostile}, ensure_ascii=False)}

    for line in (event_json(row), event_text(row)):
        assert line.isprintable()
    assert json.loads(event_json(row))["client"] == hostile
    assert json.loads(event_json(row))["details"] == {"q": hostile}
