"""The statuses in memory are those that are committed, whoever commits."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from service.web.following import status_board
from service.web.following.status_board import StatusBoard
from storage.clock import boot_milliseconds
from storage.database import Database
from storage.files.local_files import LocalFiles
from storage.group_writer import GroupWriter
from storage.jobs import job_table, worker_table
from storage.jobs.status_reads import PlainStatusReads
from storage.lifecycle import JobStatus
from storage.trouble import Trouble
from tests.storage.job_builder import HOUR, act, change_row, claim, finish, now, one_of_each, running, submit


@pytest.fixture
def board(database: Database) -> Iterator[StatusBoard]:
    board = StatusBoard(PlainStatusReads(database), "")
    yield board
    board.close()


def status_of(board: StatusBoard, job_id: str) -> str:
    snapshot = board.get(job_id)
    assert snapshot is not None
    assert json.loads(snapshot.body)["status"] == snapshot.row["status"]
    status: str = snapshot.row["status"]
    return status


def test_a_job_nobody_made_is_not_there(board: StatusBoard) -> None:
    assert board.get("a" * 26) is None


def test_every_status_is_read(board: StatusBoard, database: Database) -> None:
    for status, job_id in one_of_each(database).items():
        assert status_of(board, job_id) == status
        snapshot = board.get(job_id)
        assert snapshot is not None
        assert snapshot.is_final is status.is_final
        assert (snapshot.retry_after is None) is status.is_final


def test_each_commit_of_another_connection_is_seen_at_once(board: StatusBoard, database: Database) -> None:
    job_id = submit(database)
    tags = []
    for phase in range(30):
        change_row(database, job_id, version=phase + 2, bytes_done=phase)
        snapshot = board.get(job_id)
        assert snapshot is not None
        assert json.loads(snapshot.body)["progress"]["bytes_done"] == phase
        tags.append(snapshot.etag)

    assert len(set(tags)) == 30


def test_a_commit_of_another_process_is_seen_at_once(board: StatusBoard, database: Database) -> None:
    job_id = running(database).id
    assert status_of(board, job_id) == "running"

    # A connection that shares nothing with the engine's, as another process' would.
    with closing(sqlite3.connect(str(database.url.database))) as connection, connection:
        connection.execute("UPDATE jobs SET bytes_done = 77, version = version + 1 WHERE id = ?", (job_id,))
    connection.close()

    snapshot = board.get(job_id)
    assert snapshot is not None
    assert json.loads(snapshot.body)["progress"]["bytes_done"] == 77


def test_a_commit_of_the_group_writer_is_seen_at_once(board: StatusBoard, database: Database, tmp_path: Path) -> None:
    writer = GroupWriter(database, LocalFiles(tmp_path / "files"))
    writer.start()
    job_id = submit(database)

    async def story() -> None:
        assert status_of(board, job_id) == "queued"
        await writer.run(lambda connection: job_table.cancel(connection, job_id))
        assert status_of(board, job_id) == "cancelled"
        await writer.run(lambda connection: job_table.delete_job(connection, job_id))
        assert board.get(job_id) is None

    asyncio.run(story())
    writer.stop()


def test_nothing_is_seen_before_it_is_committed(board: StatusBoard, database: Database) -> None:
    job_id = submit(database)
    with database.transaction(is_durable=False) as connection:
        job_table.cancel(connection, job_id)
        assert status_of(board, job_id) == "queued"

    assert status_of(board, job_id) == "cancelled"


def test_without_a_commit_the_same_snapshot_is_given_again(board: StatusBoard, database: Database) -> None:
    job_id = submit(database)

    assert board.get(job_id) is board.get(job_id)


def test_a_commit_that_concerns_others_leaves_the_snapshot(board: StatusBoard, database: Database) -> None:
    job_id = running(database).id
    before = board.get(job_id)
    submit(database)

    assert board.get(job_id) is before


def test_the_place_in_the_queue_moves_when_those_before_are_taken(board: StatusBoard, database: Database) -> None:
    first, second, third = (submit(database) for _ in range(3))
    snapshots = [board.get(third)]
    assert claim(database)
    snapshots.append(board.get(third))
    act(database, lambda connection: job_table.cancel(connection, second))
    snapshots.append(board.get(third))

    assert [snapshot and snapshot.row["queue_position"] for snapshot in snapshots] == [3, 2, 1]
    assert len({snapshot.etag for snapshot in snapshots if snapshot}) == 3
    assert status_of(board, first) == "running"


def test_the_tags_of_many_jobs_are_those_of_each(board: StatusBoard, database: Database) -> None:
    ids = [*one_of_each(database).values(), *(submit(database) for _ in range(110))]

    tags = board.etags([*ids, "a" * 26])

    assert tags == {job_id: snapshot.etag for job_id in ids if (snapshot := board.get(job_id))}
    assert {"1-2", "1-99", "1-100"} <= {tag.strip('"') for tag in tags.values()}


def test_a_job_is_expired_as_soon_as_its_time_is_over(board: StatusBoard, database: Database) -> None:
    job = running(database)
    finish(database, job)
    change_row(database, job.id, expires_at=now(database) + HOUR)
    before = board.get(job.id)
    change_row(database, job.id, expires_at=now(database) - 1, version=9)
    after = board.get(job.id)

    assert before is not None
    assert after is not None
    # The sweep has not been there yet.
    assert after.row["status"] == JobStatus.SUCCEEDED
    assert (before.is_expired, after.is_expired) == (False, True)


def test_the_clock_alone_expires_a_snapshot(
    board: StatusBoard, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(database)
    finish(database, job)
    snapshot = board.get(job.id)
    assert snapshot is not None
    assert not snapshot.is_expired

    later = boot_milliseconds() + 2 * HOUR
    monkeypatch.setattr(status_board, "boot_milliseconds", lambda: later)

    assert snapshot.is_expired


def test_memory_is_bounded(board: StatusBoard, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_board, "MAX_SNAPSHOTS", 3)
    ids = [submit(database) for _ in range(7)]

    assert [status_of(board, job_id) for job_id in ids] == ["queued"] * 7
    assert len(board._snapshots) == 3


def test_what_was_asked_for_longest_ago_goes_first_and_alone(
    board: StatusBoard, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_board, "MAX_SNAPSHOTS", 3)
    first, second, third, fourth = (submit(database) for _ in range(4))
    for job_id in (first, second, third, first, fourth):
        board.get(job_id)

    assert list(board._snapshots) == [third, first, fourth]


def test_the_board_cannot_write(database: Database) -> None:
    board = StatusBoard(PlainStatusReads(database), "")

    with pytest.raises(DBAPIError, match="readonly"):
        board._reads._reader.one("DELETE FROM jobs")
    board.close()


def test_what_all_workers_wait_for_is_shown_by_queued_jobs_and_their_tags_change_with_it(
    board: StatusBoard, database: Database
) -> None:
    other, queued = running(database).id, submit(database)
    for name in ("a", "b"):
        act(database, lambda c, name=name: worker_table.register(c, name * 26, host="h", pid=1, capacity=1))

    def look() -> tuple[str | None, str]:
        snapshots = [board.get(job_id) for job_id in (queued, other)]
        tags = board.etags([queued, other])
        assert [snapshot and snapshot.etag for snapshot in snapshots] == [tags[queued], tags[other]]
        assert snapshots[1] is not None
        assert json.loads(snapshots[1].body)["waiting_for"] is None
        assert snapshots[0] is not None
        return json.loads(snapshots[0].body)["waiting_for"], snapshots[0].etag

    well = look()
    act(database, lambda c: worker_table.sign_of_life(c, "a" * 26, Trouble.ROOM))
    assert look() == well
    act(database, lambda c: worker_table.sign_of_life(c, "b" * 26, Trouble.ROOM))
    assert look() == ("room", f'{well[1][:-1]}-room"')
    act(database, lambda c: worker_table.sign_of_life(c, "b" * 26))
    assert look() == well
