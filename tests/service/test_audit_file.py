"""The operation log: every event once, in order, a line each, whatever happens to the file."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.audit_file import BATCH, AuditFile
from storage import audit_table
from storage.audit_table import Action, Actor, NewEvent
from storage.database import Database
from tests.storage.job_builder import act


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def log(path: Path, database: Database) -> Iterator[AuditFile]:
    file = AuditFile(path, database)
    yield file
    file.close()


def add(database: Database, count: int = 1) -> None:
    event = NewEvent(Action.JOBS_LISTED, Actor.ADMIN, status=200)
    act(database, lambda connection: [audit_table.add(connection, event) for _ in range(count)])


def ids(path: Path) -> list[int]:
    """Return the ids of the events in a file, whose every line must be whole."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line)["id"] for line in text.splitlines()]


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """Let this process write no file beyond this size, as on a full disk: part of a write gets through, then none."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_link_is_not_followed(log: AuditFile, path: Path, database: Database) -> None:
    elsewhere = path.with_name("elsewhere")
    path.symlink_to(elsewhere)
    add(database)
    with pytest.raises(OSError, match="symbolic links"):
        log.copy()
    assert not elsewhere.exists()

    path.unlink()
    log.copy()
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    add(database)
    with pytest.raises(OSError, match="symbolic links"):
        log.copy()
    assert ids(elsewhere) == [1]


def test_each_event_is_copied_once_in_order(log: AuditFile, path: Path, database: Database) -> None:
    for count in (1, 2, 0, 2 * BATCH + 1):
        add(database, count)
        log.copy()

    assert ids(path) == list(range(1, 2 * BATCH + 5))


def test_the_file_is_for_its_owner_only(log: AuditFile, path: Path) -> None:
    before = os.umask(0)
    try:
        log.copy()
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_file_begins_with_what_comes_from_now_on(path: Path, database: Database) -> None:
    add(database, 3)
    log = AuditFile(path, database)
    add(database, 2)
    log.copy()
    log.close()

    assert ids(path) == [4, 5]


def test_the_next_process_goes_on_after_the_last_line(log: AuditFile, path: Path, database: Database) -> None:
    add(database, 2)
    log.copy()
    add(database, 3)

    after = AuditFile(path, database)
    after.copy()
    after.close()

    assert ids(path) == [1, 2, 3, 4, 5]


def test_a_line_whose_writer_died_is_written_again(log: AuditFile, path: Path, database: Database) -> None:
    add(database, 3)
    log.copy()
    os.truncate(path, path.stat().st_size - 9)

    after = AuditFile(path, database)
    after.copy()
    after.close()

    assert ids(path) == [1, 2, 3]


def test_the_file_of_another_database_is_gone_on_with(log: AuditFile, path: Path, database: Database) -> None:
    path.write_text('{"id": 900}\n')
    add(database)
    late = AuditFile(path, database)
    add(database)
    late.copy()
    late.close()

    assert ids(path) == [900, 2]


def test_a_file_that_holds_something_else_is_added_to(path: Path, database: Database) -> None:
    path.write_text("not JSON\n")
    log = AuditFile(path, database)
    add(database)
    log.copy()
    log.close()

    assert path.read_text().startswith('not JSON\n{"id": 1, ')


def test_a_file_that_was_rotated_away_is_left_and_another_begun(log: AuditFile, path: Path, database: Database) -> None:
    add(database, 2)
    log.copy()
    rotated = path.rename(path.with_suffix(".1"))
    add(database, 2)
    log.copy()

    assert (ids(rotated), ids(path)) == ([1, 2], [3, 4])


def test_a_file_that_was_emptied_in_its_place_is_gone_on_with(log: AuditFile, path: Path, database: Database) -> None:
    add(database, 2)
    log.copy()
    os.truncate(path, 0)
    add(database, 2)
    log.copy()

    assert ids(path) == [3, 4]


def test_a_full_disk_leaves_whole_lines_and_what_is_missing_comes_later(
    log: AuditFile, path: Path, database: Database
) -> None:
    add(database, 2)
    log.copy()
    size = path.stat().st_size
    add(database, 5)

    for _ in range(2):
        with room_for(size + 50), pytest.raises(OSError, match="File too large"):
            log.copy()
        assert ids(path) == [1, 2]

    log.copy()
    assert ids(path) == [1, 2, 3, 4, 5, 6, 7]


def test_a_file_that_cannot_be_opened_is_written_once_it_can_be(log: AuditFile, path: Path, database: Database) -> None:
    path.mkdir()
    add(database, 2)
    with pytest.raises(IsADirectoryError):
        log.copy()
    path.rmdir()
    log.copy()

    assert ids(path) == [1, 2]
