"""Room that is kept for what makes room: real blocks, given up in pieces, made whole again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from storage.database import Database
from storage.reserve import SIZE_BYTES, STEPS, Reserve


def held(reserve: Reserve) -> int:
    """Return what it takes on the disk."""
    return reserve.path.stat().st_blocks * 512


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "a.db")


def disk_of(monkeypatch: pytest.MonkeyPatch, *, total_bytes: int, free_bytes: int) -> None:
    values = list(os.statvfs("/"))
    values[0:5] = [4096, 4096, total_bytes // 4096, free_bytes // 4096, free_bytes // 4096]
    monkeypatch.setattr("storage.reserve.os.statvfs", lambda _: os.statvfs_result(values))


def test_it_is_real_and_its_owners_alone(reserve: Reserve) -> None:
    assert reserve.keep()

    assert held(reserve) >= SIZE_BYTES
    assert reserve.path.stat().st_mode & 0o777 == 0o600
    assert reserve.path.name == "a.db-reserve"


def test_it_is_given_up_in_pieces(reserve: Reserve) -> None:
    reserve.keep()
    sizes = []
    while reserve.give():
        sizes.append(reserve.size_bytes())

    assert sizes == [SIZE_BYTES * left // STEPS for left in range(STEPS - 1, -1, -1)]
    assert held(reserve) == 0


def test_without_one_there_is_nothing_to_give(reserve: Reserve) -> None:
    assert not reserve.give()
    reserve.give_if_short()
    assert not reserve.path.exists()


def test_a_hole_is_no_reserve(reserve: Reserve) -> None:
    reserve.path.touch()
    os.truncate(reserve.path, SIZE_BYTES)

    assert reserve.keep()

    assert held(reserve) >= SIZE_BYTES


def test_it_is_made_whole_only_where_as_much_again_is_free(reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_of(monkeypatch, total_bytes=2**30, free_bytes=2 * SIZE_BYTES - 4096)
    assert not reserve.keep()
    assert reserve.size_bytes() == 0

    disk_of(monkeypatch, total_bytes=2**30, free_bytes=2 * SIZE_BYTES)
    assert reserve.keep()


def test_of_a_small_disk_it_takes_a_sixteenth(reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
    disk_of(monkeypatch, total_bytes=32 * 2**20, free_bytes=16 * 2**20)

    assert reserve.keep()

    assert reserve.size_bytes() == 2 * 2**20


def test_a_process_that_begins_on_a_full_disk_takes_a_piece(reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve.keep()
    reserve.give_if_short()
    assert reserve.size_bytes() == SIZE_BYTES
    disk_of(monkeypatch, total_bytes=2**40, free_bytes=0)

    reserve.give_if_short()

    assert reserve.size_bytes() == SIZE_BYTES * (STEPS - 1) // STEPS


def full() -> OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return OperationalError("COMMIT", {}, error)


def failing(times: int, error: Callable[[], Exception] = full) -> Callable[[Connection], int]:
    """Return a change that fails so often, and then returns how often it was called."""
    calls = 0

    def change(_: Connection) -> int:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise error()
        return calls

    return change


def test_what_frees_has_the_log_moved_and_is_given_pieces_until_it_succeeds(database: Database) -> None:
    database.reserve.keep()

    assert database.free(failing(1)) == 2
    assert database.reserve.size_bytes() == SIZE_BYTES
    assert database.free(failing(3)) == 4
    assert database.reserve.size_bytes() == SIZE_BYTES * (STEPS - 2) // STEPS


def test_when_the_reserve_is_used_up_it_says_so(database: Database) -> None:
    database.reserve.keep()

    with pytest.raises(OperationalError):
        database.free(failing(STEPS + 2))

    assert database.reserve.size_bytes() == 0


def test_another_error_costs_no_room(database: Database) -> None:
    database.reserve.keep()

    with pytest.raises(ZeroDivisionError):
        database.free(failing(1, ZeroDivisionError))

    assert database.reserve.size_bytes() == SIZE_BYTES
