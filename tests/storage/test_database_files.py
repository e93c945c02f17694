"""A database that is pulled away while it is open: SQLite would go on, and lose what it commits."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from storage.database import Database, sqlite_url
from storage.errors import StorageLost
from tests.storage import job_builder


def counted(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM jobs").fetchone()[0])


def removed(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


@pytest.mark.parametrize("change", [removed, moved, replaced])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_nothing_is_committed_into_files_that_were_pulled_away(
    database: Database, database_path: Path, suffix: str, change: Callable[[Path], None]
) -> None:
    job_builder.submit(database)
    change(Path(f"{database_path}{suffix}"))

    with pytest.raises(StorageLost) as lost:
        job_builder.submit(database)

    assert str(database_path.parent) not in str(lost.value)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar_one() == 1
    # Another connection would open others under these names.
    with pytest.raises(StorageLost):
        database.reader()


def test_a_commit_into_a_file_that_is_pulled_away_meanwhile_is_not_promised(
    database: Database, database_path: Path
) -> None:
    with database.read():
        pass

    def commit() -> None:
        with database.transaction() as connection:
            connection.exec_driver_sql("PRAGMA user_version = 7")
            moved(database_path)

    with pytest.raises(StorageLost):
        commit()
    with pytest.raises(StorageLost):
        job_builder.submit(database)


def test_a_file_that_is_put_back_goes_on(database: Database, database_path: Path) -> None:
    first = job_builder.submit(database)
    moved(database_path)
    with pytest.raises(StorageLost):
        job_builder.submit(database)
    database_path.with_name("elsewhere").rename(database_path)

    second = job_builder.submit(database)

    database.close()
    assert {first, second} == {row["id"] for row in job_builder.everything(database)["jobs"]}


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with closing(Database(sqlite_url(tmp_path / "new.db"))) as database, pytest.raises(OperationalError):
        job_builder.submit(database)
    with closing(Database(sqlite_url(tmp_path / "new.db"))) as database, pytest.raises(sqlite3.OperationalError):
        database.reader()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b.db", "a%20b.db", "a?mode=ro.db", "a#b.db", "ü.db"])
def test_a_database_has_the_name_it_is_given(tmp_path: Path, migrated_file: Path, name: str) -> None:
    shutil.copy(migrated_file, tmp_path / name)
    url = sqlite_url(tmp_path / name)

    with closing(Database(url)) as database:
        job_builder.submit(database)

    assert counted(tmp_path / name) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_was_committed_is_saved_from_a_log_that_was_removed(database: Database, database_path: Path) -> None:
    assert not database.bring_home(), "there is nothing to save"
    job_builder.submit(database)
    assert not database.bring_home(), "it is where it belongs"
    Path(f"{database_path}-wal").unlink()

    assert database.bring_home()

    shutil.copy(database_path, database_path.with_name("copy.db"))
    assert counted(database_path.with_name("copy.db")) == 1
    database.close()
    assert counted(database_path) == 1


def test_a_log_that_others_have_begun_meanwhile_is_left_alone(database: Database, database_path: Path) -> None:
    job_builder.submit(database)
    replaced(Path(f"{database_path}-wal"))

    assert not database.bring_home()


def test_a_pool_that_drops_its_connections_is_no_loss(database: Database) -> None:
    job_builder.submit(database)

    database.engine.dispose()

    job_builder.submit(database)
