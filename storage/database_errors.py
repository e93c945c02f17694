"""What an error of the database says of the machine: the only place that reads SQLite's result codes for it."""

from __future__ import annotations

import errno
import os
import sqlite3

from sqlalchemy.exc import DBAPIError

from storage.trouble import Trouble

# Python has names for these, but not in every version: https://www.sqlite.org/rescode.html
_IOERR_SHMSIZE = sqlite3.SQLITE_IOERR | 19 << 8
_IOERR_NOMEM = sqlite3.SQLITE_IOERR | 12 << 8
_IOERR_SHMMAP = sqlite3.SQLITE_IOERR | 21 << 8

_BY_EXTENDED_CODE = {
    # The shared memory of the log is a file, which could not be made longer.
    _IOERR_SHMSIZE: Trouble.ROOM,
    _IOERR_NOMEM: Trouble.MEMORY,
    # The log's index could not be mapped: this process has no address space left.
    _IOERR_SHMMAP: Trouble.MEMORY,
}
_BY_PRIMARY_CODE = {
    sqlite3.SQLITE_FULL: Trouble.ROOM,
    sqlite3.SQLITE_IOERR: Trouble.DISK,
    sqlite3.SQLITE_NOMEM: Trouble.MEMORY,
    sqlite3.SQLITE_BUSY: Trouble.LOCKED,
    sqlite3.SQLITE_LOCKED: Trouble.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Trouble.LOCKED,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.NOT_WRITABLE,
}


def trouble_of_database(error: BaseException) -> Trouble | None:
    """Return which trouble of the machine an error of the database means; None for every other error."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_CANTOPEN:
        return _why_not_opened()
    return _BY_EXTENDED_CODE.get(code) or _BY_PRIMARY_CODE.get(primary)


def is_full(error: BaseException) -> bool:
    """Return whether the database found no room."""
    return trouble_of_database(error) is Trouble.ROOM


def _why_not_opened() -> Trouble:
    """Return why a file could not be opened, which SQLite does not tell: whether any can be."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return Trouble.DESCRIPTORS if error.errno in (errno.EMFILE, errno.ENFILE) else Trouble.DISK
    return Trouble.DISK
