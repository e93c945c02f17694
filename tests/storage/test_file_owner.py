"""A folder of files belongs to one database."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from migrations import migrate
from storage.database import Database, sqlite_url
from storage.file_owner import MARKER, owns
from storage.local_files import LocalFiles

OpenAt = Callable[[Path], Database]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    LocalFiles(tmp_path / "files")
    return tmp_path / "files"


@pytest.fixture
def database_at() -> Iterator[OpenAt]:
    """Opens a database at its newest schema."""
    with ExitStack() as stack:

        def open_at(path: Path) -> Database:
            migrate(sqlite_url(path))
            return stack.enter_context(closing(Database(sqlite_url(path))))

        yield open_at


def test_a_new_folder_becomes_the_databases_and_stays_so(tmp_path: Path, folder: Path, database_at: OpenAt) -> None:
    first = database_at(tmp_path / "a.db")

    assert owns(first, folder)
    assert owns(first, folder)
    assert owns(database_at(tmp_path / "a.db"), folder)
    assert [file.key for file in LocalFiles(folder).files()] == []


def test_another_database_does_not_own_them(tmp_path: Path, folder: Path, database_at: OpenAt) -> None:
    owns(database_at(tmp_path / "a.db"), folder)

    assert not owns(database_at(tmp_path / "b.db"), folder)
    assert owns(database_at(tmp_path / "a.db"), folder)


def test_a_copy_of_the_database_owns_them_too(tmp_path: Path, folder: Path, database_at: OpenAt) -> None:
    database = database_at(tmp_path / "a.db")
    owns(database, folder)
    database.close()

    shutil.copy(tmp_path / "a.db", tmp_path / "restored.db")

    assert owns(database_at(tmp_path / "restored.db"), folder)


def test_without_the_marker_a_new_database_takes_over(tmp_path: Path, folder: Path, database_at: OpenAt) -> None:
    owns(database_at(tmp_path / "a.db"), folder)
    (folder / MARKER).unlink()

    assert owns(database_at(tmp_path / "b.db"), folder)
