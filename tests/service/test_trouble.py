"""Which errors are the machine's, for which no job is blamed: one table, and what reads it."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import threading
from pathlib import Path

import pytest
import zstandard
from sqlalchemy.exc import OperationalError

from service.codecs.terms import CodecError, translated
from service.failures import MACHINE, TROUBLES, AttemptFailed, trouble_of
from service.language import LANGUAGES, words
from storage.errors import FileMissing, StorageError, StorageFull, StorageLost
from storage.files.file_system import as_storage_error
from storage.trouble import Trouble


def of_sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the text decides nothing")
    error.sqlite_errorcode = code
    return error


def stored(number: int) -> StorageError:
    """Return the storage room's error of a system's error."""
    try:
        try:
            raise OSError(number, "said the system")
        except OSError as cause:
            raise as_storage_error(cause, "writing") from cause
    except StorageError as error:
        return error


@pytest.mark.parametrize("number", MACHINE, ids=lambda number: errno.errorcode[number])
def test_an_error_of_the_system_is_the_same_trouble_however_it_comes(number: int) -> None:
    assert trouble_of(OSError(number, "")) is MACHINE[number]
    assert trouble_of(stored(number)) is MACHINE[number]


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (sqlite3.SQLITE_FULL, Trouble.ROOM),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Trouble.ROOM),
        (sqlite3.SQLITE_IOERR, Trouble.DISK),
        (sqlite3.SQLITE_IOERR_WRITE, Trouble.DISK),
        (sqlite3.SQLITE_IOERR_FSYNC, Trouble.DISK),
        (sqlite3.SQLITE_IOERR_NOMEM, Trouble.MEMORY),
        (sqlite3.SQLITE_IOERR_SHMMAP, Trouble.MEMORY),
        (sqlite3.SQLITE_BUSY, Trouble.LOCKED),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Trouble.LOCKED),
        (sqlite3.SQLITE_LOCKED, Trouble.LOCKED),
        (sqlite3.SQLITE_READONLY_DBMOVED, Trouble.READ_ONLY),
        (sqlite3.SQLITE_PERM, Trouble.NOT_WRITABLE),
        (sqlite3.SQLITE_CONSTRAINT, None),
        (sqlite3.SQLITE_CORRUPT, None),
    ],
)
def test_an_error_of_the_database_is_known_by_its_code(code: int, trouble: Trouble | None) -> None:
    error = of_sqlite(code)

    assert trouble_of(error) is trouble
    assert trouble_of(OperationalError("UPDATE", {}, error)) is trouble


def test_a_database_that_cannot_be_opened_for_want_of_descriptors_says_so(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(sqlite3.OperationalError) as caught:
            sqlite3.connect(tmp_path / "a.db")
        assert trouble_of(caught.value) is Trouble.DESCRIPTORS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_thread_that_cannot_be_started_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    for name in ("_start_new_thread", "_start_joinable_thread"):
        monkeypatch.setattr(threading, name, refuse, raising=False)

    with pytest.raises(RuntimeError) as caught:
        threading.Thread(target=os.getpid).start()

    assert trouble_of(caught.value) is Trouble.THREADS


def test_a_codec_without_memory_is_the_machines() -> None:
    with pytest.raises(MemoryError) as caught, translated(zstandard.ZstdError):
        raise zstandard.ZstdError("zstd compress error: Allocation error : not enough memory")

    assert trouble_of(caught.value) is Trouble.MEMORY


@pytest.mark.parametrize(
    "error",
    [
        AttemptFailed("storage_failed", "The stored upload could not be read."),
        CodecError("no"),
        OSError(errno.EFBIG, "File too large"),
        stored(errno.EEXIST),
        FileMissing("s-x"),
        StorageLost("gone", "/srv"),
        RuntimeError("something else"),
        ZeroDivisionError(),
    ],
    ids=repr,
)
def test_everything_else_concerns_what_was_being_done(error: Exception) -> None:
    assert trouble_of(error) is None


def test_no_room_needs_no_cause() -> None:
    assert trouble_of(StorageFull("full")) is Trouble.ROOM


def test_each_trouble_has_its_words_for_operators_and_in_every_language() -> None:
    assert set(TROUBLES) == set(Trouble)
    for language in LANGUAGES:
        said = {key for key in words(language).catalogue if key.startswith("waiting.")}
        assert said == {*(f"waiting.{trouble}" for trouble in Trouble), "waiting.other"}
