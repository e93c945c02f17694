"""A database of its own for every test: a copy of one that was migrated once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations import migrate
from storage.database import Database, sqlite_url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the newest schema and no rows; copy it, never change it."""
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    migrate(sqlite_url(path))
    return path


@pytest.fixture
def database_path(migrated_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "vacpack.db"
    shutil.copyfile(migrated_file, path)
    return path


@pytest.fixture
def database(database_path: Path) -> Iterator[Database]:
    database = Database(sqlite_url(database_path))
    yield database
    database.close()
