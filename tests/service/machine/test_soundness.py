"""Finding out what is wrong by writing: by name, within a time, and without piling up threads."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from service.machine.soundness import Sounding, trouble_with_database, trouble_with_files, trouble_with_threads
from storage.database import Database
from storage.trouble import Trouble
from tests.acceptance.patience import until


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def soundings() -> int:
    return sum(thread.name == "sounding" for thread in threading.enumerate())


def test_a_sound_folder_is_left_as_it_was(tmp_path: Path) -> None:
    assert trouble_with_files(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "probe").write_bytes(b"left")

    assert trouble_with_files(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (errno.ENOSPC, Trouble.ROOM),
        (errno.EDQUOT, Trouble.ROOM),
        (errno.EROFS, Trouble.READ_ONLY),
        (errno.EACCES, Trouble.NOT_WRITABLE),
        (errno.EIO, Trouble.DISK),
        (errno.EMFILE, Trouble.DESCRIPTORS),
        (errno.ENOTDIR, Trouble.DISK),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else str(value),
)
def test_whatever_call_fails_names_the_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, trouble: Trouble
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"storage.files.probe_file.os.{call}", fail)

    assert trouble_with_files(tmp_path) is trouble


def test_a_database_that_can_be_written_is_sound_and_one_that_is_locked_is_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trouble_with_database(database) is None
    monkeypatch.setattr("storage.database.BUSY_TIMEOUT_MILLISECONDS", 100)

    with database.transaction():
        assert trouble_with_database(database) is Trouble.LOCKED


def test_a_thread_can_be_started() -> None:
    assert trouble_with_threads() is None


def test_what_hangs_is_the_answer_and_no_other_thread_is_begun() -> None:
    gate, clock = threading.Event(), Clock()
    looks: list[int] = []

    def hang() -> None:
        looks.append(1)
        gate.wait()

    sounding = Sounding(hang, clock=clock)
    try:
        for _ in range(20):
            sounding.begin()
            clock.now += 10
            assert sounding.answer() is Trouble.HANGING
        assert (len(looks), soundings()) == (1, 1)
    finally:
        gate.set()

    until(lambda: not soundings(), what="its end")
    clock.now += 10
    sounding.begin()
    assert sounding.answer() is None


def test_an_answer_holds_for_its_time() -> None:
    clock, looks = Clock(), []
    sounding = Sounding(lambda: looks.append(1), keep_seconds=1, clock=clock)

    for seconds in (0, 0.5, 0.4, 0.2):
        clock.now += seconds
        sounding.begin()
        assert sounding.answer() is None

    assert len(looks) == 2


def test_an_error_of_its_own_is_trouble_too() -> None:
    sounding = Sounding(lambda: 1 // 0)  # type: ignore[arg-type,return-value]  # a fault

    sounding.begin()

    assert sounding.answer() is Trouble.DISK
