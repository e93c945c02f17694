"""Whose files a folder holds, asked by whoever deletes: the database and the folder carry one number.

A sweep removes what no row names. Over the files of another database, or under a new one, that would be everything. So
nobody uses a folder of files without a ``FileOwner``: it finds the database's number in the folder's mark, holds the
mark for as long as it is used, and tells at any time whether it is still there (docs/adr/0013-whose-files.md).
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path

from storage.database import Database
from storage.errors import FilesRefused, FilesServed, StorageLost
from storage.files.file_system import FileSystem, make_folder, storage_errors, sync_folder
from storage.held_path import LockFile, fate, identity, is_at
from storage.jobs.job_views import names_files
from storage.shared_use import SharedUse, UsedOtherwise

MARKER = "owner"
"""The mark, in the folder of the files; no key looks like it, nor like the next."""
SERVING = "serving"
"""The lock of the one service that receives uploads into the folder."""
ADOPT = "adopt"
"""What an operator writes into the mark for the next that starts to take the folder over as it is."""


class FileOwner:
    """The right of this process to the files in a folder, for one database; held until ``close`` or its end."""

    def __init__(self, database: Database, folder: Path, *, is_serving: bool = False, may_adopt: bool = True) -> None:
        """Take the right; make the folder and its mark if neither is there and no row can miss it.

        ``is_serving`` is for the one service that receives uploads; ``may_adopt=False`` for a child, whose parent has
        settled whose the files are.

        Raises:
            FilesRefused: the files are another database's, or in use by a copy of this one, or nobody knows whose they
                are; FilesServed: another service receives uploads into them.
            StorageFull, StorageFailed: the folder or its mark cannot be written.
        """
        self.is_serving = is_serving
        self._folder = folder
        with storage_errors("taking the files"), ExitStack() as held:
            if may_adopt:
                _adopt_if_unmarked(database, folder)
            number = _number_of(database)
            if (mark := _mark_of(folder)) != str(number):
                raise _missing(database, folder) if mark is None else _foreign(database, folder)
            self._use = held.enter_context(closing(_use_of_files(database, folder, number)))
            held.enter_context(closing(_use_of_database(database, folder)))
            self._serving = held.enter_context(closing(_serving_lock(folder))) if is_serving else None
            self._folder_identity = identity(folder.stat())
            self._held = held.pop_all()

    def check(self) -> None:
        """Return if the files are still where they were, and this database's: before anything is promised or deleted.

        Raises:
            StorageLost: folder or mark were removed, replaced, unmounted or changed; or another service has taken the
                folder over.
        """
        if not self._use.is_unchanged():
            raise self._lost()
        if self._serving is not None:
            self._serving.keep()

    def close(self) -> None:
        """Give the right up."""
        self._held.close()

    def _lost(self) -> StorageLost:
        """Return what has happened, as far as can be seen."""
        folder, what = self._folder, "the folder of the files"
        if is_at(folder, self._folder_identity):
            folder, what = folder / MARKER, f"the mark {MARKER!r} in the folder of the files"
        return StorageLost(f"{what} {fate(folder)}", str(folder))


def is_marked(folder: Path) -> bool:
    """Return whether the files in a folder, if there is one, are some database's."""
    return _mark_of(folder) not in (None, ADOPT)


def _adopt_if_unmarked(database: Database, folder: Path) -> None:
    """Make the folder this database's, durably, if it is nobody's and no row says that it ought to hold something."""
    if is_marked(folder):
        return
    is_asked_for = _mark_of(folder) == ADOPT
    if not is_asked_for and _is_missed(database):
        raise _missing(database, folder)
    make_folder(FileSystem(), folder)
    with _alone_in(folder, is_asked_for=is_asked_for):
        if not is_marked(folder):
            _write(folder / MARKER, _number_for(database))


def _is_missed(database: Database) -> bool:
    with database.read() as connection:
        return names_files(connection)


@contextmanager
def _alone_in(folder: Path, *, is_asked_for: bool) -> Iterator[None]:
    """Hold the folder itself while its mark is written: of two that start at once one waits, and finds the mark.

    A mark to be written anew must be held by nobody.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with closing(LockFile(folder / MARKER, MARKER)) if is_asked_for else nullcontext():
            yield
    except BlockingIOError as error:
        raise FilesRefused(f"the files in {folder} are in use just now; stop what uses them first") from error
    finally:
        os.close(fd)


def _use_of_files(database: Database, folder: Path, number: int) -> SharedUse:
    """Return the hold of the files that keeps a copy of the database off them: it has the number too."""
    partner = identity(_file_of(database).stat())
    try:
        return SharedUse(folder / MARKER, partner, head=f"{number}\n".encode())
    except UsedOtherwise as error:
        detail = f"the files in {folder} are in use with another copy of {database.url} just now"
        raise FilesRefused(f"{detail}; stop what uses them first") from error


def _use_of_database(database: Database, folder: Path) -> SharedUse:
    """Return the hold of the database that keeps others from using it with a copy of the files, or an empty folder."""
    file = _file_of(database)
    try:
        return SharedUse(file.with_name(f"{file.name}-files"), identity(folder.stat()), make=True)
    except UsedOtherwise as error:
        detail = f"{database.url} is in use with the files in another folder than {folder} just now"
        raise FilesRefused(f"{detail}; stop what uses it first") from error


def _file_of(database: Database) -> Path:
    return Path(str(database.url.database)).resolve()


def _serving_lock(folder: Path) -> LockFile:
    try:
        return LockFile(folder / SERVING, "the lock of the service in the folder of the files")
    except BlockingIOError as error:
        raise FilesServed(f"another vacpack serves the files in {folder}") from error


def _missing(database: Database, folder: Path) -> FilesRefused:
    return FilesRefused(
        f"{folder} does not hold the files that jobs in {database.url} name: it has no file {MARKER!r}. Is its disk "
        f"not mounted? To go on with the folder as it is, make it and put the word {ADOPT} into {folder / MARKER}"
    )


def _foreign(database: Database, folder: Path) -> FilesRefused:
    return FilesRefused(
        f"the files in {folder} belong to another database than {database.url}. Where that one is gone, put the word "
        f"{ADOPT} into {folder / MARKER} to go on; files that no job names are then set aside"
    )


def _mark_of(folder: Path) -> str | None:
    """Return the mark's first line; None where there is no mark."""
    try:
        lines = (folder / MARKER).read_text(errors="replace").split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return lines[0].strip()


def is_owner(database: Database, folder: Path) -> bool:
    """Return whether the folder is there and its files are this database's. Changes nothing."""
    with suppress(OSError):
        return _mark_of(folder) == str(_number_of(database))
    return False


def _number_of(database: Database) -> int:
    """Return the database's number, 0 if it has none. It stands in the header, so a copy of the database has it too."""
    with database.read() as connection:
        number: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        return number


def _number_for(database: Database) -> int:
    """Return the database's number, drawn if it has none."""
    with database.transaction() as connection:
        number: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if not number:
            number = 1 + secrets.randbelow(2**31 - 2)
            connection.exec_driver_sql(f"PRAGMA user_version = {number}")
        return number


def _write(marker: Path, number: int) -> None:
    part = marker.with_suffix(".new")
    with part.open("w") as file:
        file.write(f"{number}\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(marker)
    sync_folder(FileSystem(), marker.parent)
