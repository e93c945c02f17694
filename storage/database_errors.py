"""What an error of the database says of the machine: the only place that reads SQLite's result codes for it."""

from __future__ import annotations

import errno
import os
import sqlite3
from enum import StrEnum

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


class DatabaseFault(StrEnum):
    """What can be wrong with the database's file itself, as its operator can mend it."""

    NO_DATABASE = "no_database"
    DAMAGED = "damaged"
    FULL = "full"
    DISK = "disk"
    LOCKED = "locked"
    READ_ONLY = "read_only"
    NOT_OPENED = "not_opened"
    NOT_PERMITTED = "not_permitted"
    TOO_LARGE = "too_large"
    NOT_LOCKABLE = "not_lockable"


_FAULTS = {
    sqlite3.SQLITE_NOTADB: DatabaseFault.NO_DATABASE,
    sqlite3.SQLITE_CORRUPT: DatabaseFault.DAMAGED,
    sqlite3.SQLITE_FULL: DatabaseFault.FULL,
    sqlite3.SQLITE_IOERR: DatabaseFault.DISK,
    sqlite3.SQLITE_BUSY: DatabaseFault.LOCKED,
    sqlite3.SQLITE_LOCKED: DatabaseFault.LOCKED,
    sqlite3.SQLITE_READONLY: DatabaseFault.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: DatabaseFault.NOT_OPENED,
    sqlite3.SQLITE_PERM: DatabaseFault.NOT_PERMITTED,
    sqlite3.SQLITE_NOLFS: DatabaseFault.TOO_LARGE,
    sqlite3.SQLITE_PROTOCOL: DatabaseFault.NOT_LOCKABLE,
}
"""By primary result code."""


def fault_of(error: BaseException) -> DatabaseFault | None:
    """Return what an error says of the database's file; None for every other error."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return None if code is None else _FAULTS.get(code & 0xFF)


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
