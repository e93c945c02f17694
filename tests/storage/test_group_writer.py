"""Changes that are committed together: each is durable or has failed when its wait ends, and fails alone."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from storage.database import Database
from storage.errors import JobConflict, JobNotFound, StorageError, StorageFailed
from storage.files.file_store import NewFile
from storage.files.local_files import LocalFiles
from storage.group_writer import MAX_BATCH, GroupWriter
from storage.ids import new_source_key
from storage.jobs import job_table
from tests.storage.job_builder import find_row, new_job, one_of_each, row_of


@pytest.fixture
def store(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "files")


@pytest.fixture
def writer(database: Database, store: LocalFiles) -> Iterator[GroupWriter]:
    """A writer that has not started yet, so that a test can let changes gather."""
    writer = GroupWriter(database, store)
    yield writer
    if not writer._is_stopped and writer._thread.is_alive():
        writer.stop()


@pytest.fixture
def commits(database: Database) -> list[int]:
    """Grows by one with every commit of the database."""
    seen: list[int] = []
    event.listen(database.engine, "commit", lambda _: seen.append(1))
    return seen


def making(job_id: str) -> Callable[[Connection], int]:
    return lambda connection: job_table.insert_job(connection, new_job(id=job_id))["seq"]


def ids(count: int) -> list[str]:
    letters = ascii_lowercase
    return [f"{letters[number // 26]}{letters[number % 26]}" * 13 for number in range(count)]


async def gathered(writer: GroupWriter, *runs: Any) -> list[Any]:
    """Put changes before the writer starts, so that they meet in one batch; return their outcomes."""
    tasks = [asyncio.ensure_future(run) for run in runs]
    while writer._waiting.qsize() < len(runs):  # noqa: ASYNC110 - a queue of threads tells no loop.
        await asyncio.sleep(0)
    writer.start()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_a_change_is_committed_when_its_wait_ends(writer: GroupWriter, database: Database) -> None:
    writer.start()

    seq = asyncio.run(writer.run(making("a" * 26)))

    # Seen by a connection that shares nothing with the writer's.
    with closing(sqlite3.connect(str(database.url.database))) as connection, connection:
        assert connection.execute("SELECT seq FROM jobs WHERE id = ?", ("a" * 26,)).fetchone() == (seq,)
    connection.close()


def test_changes_that_wait_are_committed_together(writer: GroupWriter, database: Database, commits: list[int]) -> None:
    names = ids(30)

    seqs = asyncio.run(gathered(writer, *(writer.run(making(name)) for name in names)))

    assert len(commits) == 1
    assert seqs == sorted(seqs)
    assert [row_of(database, name)["seq"] for name in names] == seqs


def test_a_batch_is_bounded(writer: GroupWriter, commits: list[int]) -> None:
    names = ids(MAX_BATCH + 3)

    asyncio.run(gathered(writer, *(writer.run(making(name)) for name in names)))

    assert len(commits) == 2


def test_a_change_that_fails_fails_alone(writer: GroupWriter, database: Database) -> None:
    ended = next(iter(one_of_each(database).values()))

    outcomes = asyncio.run(
        gathered(
            writer,
            writer.run(making("a" * 26)),
            writer.run(lambda connection: job_table.delete_job(connection, "z" * 26)),
            writer.run(making("b" * 26)),
            writer.run(lambda connection: job_table.retry(connection, ended, attempts_more=1)),
            writer.run(making("c" * 26)),
        )
    )

    assert [type(outcome) for outcome in outcomes] == [int, JobNotFound, int, JobConflict, int]
    assert all(find_row(database, letter * 26) for letter in "abc")


def test_a_change_whose_file_is_gone_fails_alone(writer: GroupWriter, database: Database, tmp_path: Path) -> None:
    store = LocalFiles(tmp_path / "files")
    part = store.create(new_source_key())
    part.commit()
    there, gone = part.key, new_source_key()

    outcomes = asyncio.run(
        gathered(
            writer,
            writer.run(making("a" * 26), needs=[there]),
            writer.run(making("b" * 26), needs=[there, gone]),
            writer.run(making("c" * 26)),
        )
    )

    assert [type(outcome) for outcome in outcomes] == [int, StorageFailed, int]
    assert [find_row(database, letter * 26) is not None for letter in "abc"] == [True, False, True]


def test_a_change_that_fails_leaves_nothing_of_itself(writer: GroupWriter, database: Database) -> None:
    def half(connection: Connection) -> None:
        making("a" * 26)(connection)
        raise ValueError("no further")

    outcomes = asyncio.run(gathered(writer, writer.run(half), writer.run(making("b" * 26))))

    assert isinstance(outcomes[0], ValueError)
    assert find_row(database, "a" * 26) is None
    assert find_row(database, "b" * 26) is not None


def test_a_locked_database_is_waited_for_once_a_batch(
    writer: GroupWriter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    whole = database.transaction

    def locked(**options: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OperationalError("BEGIN IMMEDIATE", {}, sqlite3.OperationalError("database is locked"))
        return whole(**options)

    monkeypatch.setattr(database, "transaction", locked)

    outcomes = asyncio.run(gathered(writer, *(writer.run(making(name)) for name in ids(20))))

    assert [type(outcome) for outcome in outcomes] == [OperationalError] * 20
    assert tries == 1
    # The next is tried again.
    assert asyncio.run(writer.run(making("z" * 26)))


def test_who_gives_up_waiting_does_not_undo_the_change(writer: GroupWriter, database: Database) -> None:
    async def story() -> None:
        waiting = asyncio.create_task(writer.run(making("a" * 26)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        writer.start()
        await writer.run(making("b" * 26))

    asyncio.run(story())

    assert find_row(database, "a" * 26) is not None


def test_several_loops_may_share_a_writer(writer: GroupWriter, database: Database) -> None:
    writer.start()
    names = ids(8)
    threads = [threading.Thread(target=lambda name=name: asyncio.run(writer.run(making(name)))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert all(find_row(database, name) for name in names)


def test_a_loop_that_has_ended_does_not_stop_the_writer(writer: GroupWriter, database: Database) -> None:
    async def leave() -> None:
        # Nobody is there any more when it is done.
        task = asyncio.create_task(writer.run(making("a" * 26)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    writer.start()

    assert asyncio.run(writer.run(making("b" * 26)))
    assert find_row(database, "a" * 26) is not None


def test_stopping_writes_what_waits_and_ends(writer: GroupWriter, database: Database) -> None:
    async def story() -> list[Any]:
        tasks = [asyncio.ensure_future(writer.run(making(name))) for name in ids(5)]
        await asyncio.sleep(0)
        writer.start()
        await asyncio.to_thread(writer.stop)
        return await asyncio.gather(*tasks)

    assert len(asyncio.run(story())) == 5
    assert not writer._thread.is_alive()
    assert find_row(database, ids(5)[4]) is not None


def test_after_its_end_a_writer_refuses_instead_of_keeping_waiting(writer: GroupWriter) -> None:
    writer.start()
    writer.stop()

    with pytest.raises(RuntimeError, match="stopped"):
        asyncio.run(writer.run(making("a" * 26)))


# Changes that bring files.


def file_of(content: bytes) -> NewFile:
    return NewFile(new_source_key(), [content[:2], content[2:]])


def contents(store: LocalFiles) -> list[bytes]:
    found = []
    for file in store.files():
        with store.open(file.key) as opened:
            found.append(opened.read())
    return sorted(found)


def test_files_are_stored_before_the_rows_that_name_them(writer: GroupWriter, store: LocalFiles) -> None:
    file = file_of(b"hello")
    seen: list[bytes] = []

    def change(_: Connection) -> None:
        with store.open(file.key) as opened:
            seen.append(opened.read())

    writer.start()
    asyncio.run(writer.run(change, [file]))

    assert seen == [b"hello"]


def test_files_of_a_whole_batch_are_stored(writer: GroupWriter, store: LocalFiles) -> None:
    names = ids(4)

    asyncio.run(gathered(writer, *(writer.run(making(name), [file_of(name.encode())]) for name in names)))

    assert contents(store) == sorted(name.encode() for name in names)


def test_a_file_that_cannot_be_stored_fails_its_change_alone_and_leaves_nothing(
    writer: GroupWriter, store: LocalFiles, database: Database
) -> None:
    taken = file_of(b"first")
    store.put_many([taken])
    other = file_of(b"other")

    outcomes = asyncio.run(
        gathered(
            writer,
            writer.run(making("a" * 26), [other, file_of(b"same change")]),
            writer.run(making("b" * 26), [file_of(b"companion"), NewFile(taken.key, [b"second"])]),
            writer.run(making("c" * 26), [file_of(b"third")]),
        )
    )

    assert [isinstance(outcome, StorageError) for outcome in outcomes] == [False, True, False]
    assert [find_row(database, letter * 26) is not None for letter in "abc"] == [True, False, True]
    assert {b"other", b"same change", b"third"} <= set(contents(store))
    assert b"companion" not in contents(store)


def test_files_of_a_change_that_fails_are_left_to_its_maker(writer: GroupWriter, store: LocalFiles) -> None:
    file = file_of(b"hello")
    writer.start()

    with pytest.raises(JobNotFound):
        asyncio.run(writer.run(lambda connection: job_table.delete_job(connection, "z" * 26), [file]))

    # A commit that reports an error may have been made all the same, so the writer does not know.
    assert contents(store) == [b"hello"]


def test_a_store_that_breaks_does_not_end_the_writer(
    writer: GroupWriter, store: LocalFiles, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(store, "put_many", broken)
    writer.start()
    with pytest.raises(MemoryError):
        asyncio.run(writer.run(making("a" * 26), [file_of(b"x")]))

    assert find_row(database, "a" * 26) is None
    assert asyncio.run(writer.run(making("b" * 26)))


def test_what_cannot_be_removed_does_not_end_the_writer(
    writer: GroupWriter, store: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Any) -> None:
        raise StorageFailed("no unlink")

    taken = file_of(b"first")
    store.put_many([taken])
    monkeypatch.setattr(store, "delete", failing)
    writer.start()

    with pytest.raises(StorageError):
        asyncio.run(writer.run(making("a" * 26), [file_of(b"companion"), NewFile(taken.key, [b"second"])]))
    assert asyncio.run(writer.run(making("b" * 26)))


def full(_: Connection) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise OperationalError("COMMIT", {}, error)


@pytest.mark.parametrize("when", ["in a change", "at the commit"])
def test_on_a_full_disk_what_makes_room_uses_the_reserve_and_nothing_else_does(
    writer: GroupWriter, database: Database, when: str
) -> None:
    """Each change fails while the reserve is whole."""
    database.reserve.keep()
    whole = database.reserve.size_bytes()

    def fail_while_whole(connection: Connection) -> None:
        if database.reserve.size_bytes() == whole:
            full(connection)

    def change(name: str) -> Callable[[Connection], int]:
        def apply(connection: Connection) -> int:
            if when == "in a change":
                fail_while_whole(connection)
            return making(name)(connection)

        return apply

    if when == "at the commit":
        event.listen(database.engine, "commit", fail_while_whole)
    runs = [writer.run(change("a" * 26)), writer.run(change("b" * 26), frees=True)]
    first, second = asyncio.run(gathered(writer, *runs))

    assert isinstance(first, OperationalError)
    assert isinstance(second, int)
    assert database.reserve.size_bytes() < whole
    assert find_row(database, "a" * 26) is None
    assert row_of(database, "b" * 26)["seq"] == second
