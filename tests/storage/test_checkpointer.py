"""The write-ahead log stays small, and one process alone moves it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrations import migrate
from storage.checkpointer import Checkpointer
from storage.database import WAL_BYTES, Database, sqlite_url


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = sqlite_url(tmp_path / "vacpack.db")
    migrate(url)
    with closing(Database(url)) as database:
        yield database


@pytest.fixture
def checkpointer(database: Database) -> Iterator[Checkpointer]:
    with closing(Checkpointer(database)) as checkpointer:
        yield checkpointer


def grow(database: Database, size_bytes: int = 2 * WAL_BYTES) -> None:
    """Write until the log's file has this size."""
    with database.transaction(is_durable=False) as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS ballast (body BLOB)")
    while database.wal_bytes() < size_bytes:
        with database.transaction(is_durable=False) as connection:
            connection.exec_driver_sql("INSERT INTO ballast VALUES (zeroblob(100000))")


def main_bytes(database: Database) -> int:
    return Path(str(database.url.database)).stat().st_size


def test_no_connection_moves_the_log_on_its_own_account(database: Database) -> None:
    before = main_bytes(database)

    grow(database)

    assert main_bytes(database) == before
    with closing(database.reader()) as reader:
        assert reader.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_a_log_that_has_grown_is_moved_and_its_file_cut(database: Database, checkpointer: Checkpointer) -> None:
    grow(database)

    assert checkpointer.run()

    assert database.wal_bytes() <= WAL_BYTES
    assert main_bytes(database) >= WAL_BYTES
    assert not checkpointer.run()


def test_what_a_reader_looks_at_is_moved_when_it_has_gone(database: Database, checkpointer: Checkpointer) -> None:
    with database.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM jobs").all()
        grow(database)
        assert not checkpointer.run()
        assert database.wal_bytes() > WAL_BYTES

    assert checkpointer.run()
    assert database.wal_bytes() <= WAL_BYTES


def test_nobody_commits_while_the_log_is_moved(
    database: Database, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(database)
    seen = []

    def reader() -> sqlite3.Connection:
        path = str(database.url.database)
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                seen.append(str(error))
        return Database.reader(database)

    monkeypatch.setattr(database, "reader", reader)

    assert checkpointer.run()
    assert seen == ["database is locked"]


def test_of_two_the_first_is_in_charge_until_it_ends(database: Database, checkpointer: Checkpointer) -> None:
    with closing(Checkpointer(database)) as second:
        grow(database)
        assert checkpointer.run()
        grow(database)
        assert not second.run()

        checkpointer.close()

        assert second.run()
