"""What goes wrong at a start as one line: which thing it is, what is wrong with it, and the way out.

What is told here is what an operator can mend. Everything else is a fault of the program, and keeps its traceback.
"""

from __future__ import annotations

import errno
import os

from migrations import CannotMigrate, NewerDatabase
from service.settings import Settings
from service.start.cannot_start import CannotStart
from service.start.places import RESTORE, database_file, files_folder
from storage.database_errors import DatabaseFault, fault_of
from storage.errors import StorageError

_OF_THE_DATABASE = {
    DatabaseFault.NO_DATABASE: f"is no database; {RESTORE}",
    DatabaseFault.DAMAGED: f"is damaged; {RESTORE}",
    DatabaseFault.FULL: "cannot be written: no room is left on its disk; free some, or choose another place",
    DatabaseFault.DISK: "cannot be read or written: its disk reports errors, or is full",
    DatabaseFault.LOCKED: "stayed locked by another program; end that one, then start again",
    DatabaseFault.READ_ONLY: "cannot be written; look at its mode, its owner and its mount",
    DatabaseFault.NOT_OPENED: "cannot be opened; look at its folder's mode, owner and mount",
    DatabaseFault.NOT_PERMITTED: "cannot be opened; look at its mode and its owner",
    DatabaseFault.TOO_LARGE: "is too large for this system",
    DatabaseFault.NOT_LOCKABLE: "cannot be locked; it must lie on a local disk",
}
"""What is wrong with the file itself."""

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
        case _ if (fault := fault_of(error)) is not None:
            return f"the database {database_file(settings)} {_OF_THE_DATABASE[fault]}"
        case StorageError() if isinstance(error.__cause__, OSError):
            return f"the folder of the stored files, {files_folder(settings)}, cannot be used: {error}"
        case OSError():
            return _of_the_system(error, settings)
    return None


def _of_the_system(error: OSError, settings: Settings) -> str:
    where = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(settings.data_dir)
    told = _OF_THE_SYSTEM.get(error.errno or 0, error.strerror or str(error))
    return f"{where} cannot be used: {told}"
