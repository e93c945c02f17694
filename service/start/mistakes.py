"""What goes wrong at a start as one line: which thing it is, what is wrong with it, and the way out.

What is told here is what an operator can mend. Everything else is a fault of the program, and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import sqlite3

from sqlalchemy.exc import DBAPIError

from migrations import CannotMigrate, NewerDatabase
from service.settings import Settings
from service.start.cannot_start import CannotStart
from service.start.places import RESTORE, database_file, files_folder
from storage.errors import StorageError

_OF_SQLITE = {
    sqlite3.SQLITE_NOTADB: f"is no database; {RESTORE}",
    sqlite3.SQLITE_CORRUPT: f"is damaged; {RESTORE}",
    sqlite3.SQLITE_FULL: "cannot be written: no room is left on its disk; free some, or choose another place",
    sqlite3.SQLITE_IOERR: "cannot be read or written: its disk reports errors, or is full",
    sqlite3.SQLITE_BUSY: "stayed locked by another program; end that one, then start again",
    sqlite3.SQLITE_LOCKED: "stayed locked by another program; end that one, then start again",
    sqlite3.SQLITE_READONLY: "cannot be written; look at its mode, its owner and its mount",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; look at its folder's mode, owner and mount",
    sqlite3.SQLITE_PERM: "cannot be opened; look at its mode and its owner",
    sqlite3.SQLITE_NOLFS: "is too large for this system",
    sqlite3.SQLITE_PROTOCOL: "cannot be locked; it must lie on a local disk",
}
"""What SQLite says of the file itself, by primary result code."""

_OF_THE_SYSTEM = {
    errno.ENOSPC: "no room is left on its disk; free some, or choose another place",
    errno.EDQUOT: "the quota is used up; free some room, or choose another place",
    errno.EROFS: "it lies on a disk that is mounted read-only",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this system",
}


def as_line(error: Exception, settings: Settings) -> str | None:
    """Return what to tell the operator of an error at a start; None where the program itself is at fault."""
    match error:
        case NewerDatabase():
            return (
                f"the database {database_file(settings)} is of a newer vacpack (its schema is {error.revision});"
                " run that one, or bring back a backup from before"
            )
        case CannotStart() | CannotMigrate():
            return str(error)
        case DBAPIError() if isinstance(error.orig, sqlite3.Error):
            return _of_sqlite(error.orig, settings)
        case sqlite3.Error():
            return _of_sqlite(error, settings)
        case StorageError() if isinstance(error.__cause__, OSError):
            return f"the folder of the stored files, {files_folder(settings)}, cannot be used: {error}"
        case OSError():
            return _of_the_system(error, settings)
    return None


def _of_sqlite(error: sqlite3.Error, settings: Settings) -> str | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or (told := _OF_SQLITE.get(code & 0xFF)) is None:
        return None
    return f"the database {database_file(settings)} {told}"


def _of_the_system(error: OSError, settings: Settings) -> str:
    where = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(settings.data_dir)
    told = _OF_THE_SYSTEM.get(error.errno or 0, error.strerror or str(error))
    return f"{where} cannot be used: {told}"
