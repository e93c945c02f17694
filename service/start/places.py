"""Where things are kept, looked at before the first use, so that an operator's mistake is told at once and by its name.

Left to be found by their use, the same mistakes were 155 lines of traceback after 13 s, or a worker that never starts.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from sqlalchemy import make_url

from service.settings import Settings
from service.start.cannot_start import CannotStart
from storage.files.file_system import FileSystem, sync_folder

RESTORE = "bring it back from a backup, or move it away to begin anew"

_SQLITE = b"SQLite format 3\0"
"""What its files begin with; one that is new is empty."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One file or folder, and what it is for."""

    path: Path
    what: str
    is_folder: bool = False
    is_written: bool = True
    is_own: bool = False
    """Whether it must belong to whoever runs this."""


def files_folder(settings: Settings) -> Path:
    """Return the folder of the stored files; a name that is no UTF-8 stays what it is."""
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(settings.files_url).path)))


def database_file(settings: Settings) -> Path:
    """Return the database's file."""
    return Path(str(make_url(settings.database_url).database)).absolute()


def has_database(settings: Settings) -> bool:
    """Return whether anything was ever committed there: SQLite takes an empty file for a database yet to be made."""
    path = database_file(settings)
    # A log beside it may hold all there is.
    files = (path, path.with_name(f"{path.name}-wal"))
    return path.exists() and any(file.stat().st_size for file in files if file.exists())


def make_data_folder(settings: Settings) -> None:
    """Make the data folder and missing parents, mode 0700; what is stored is only as durable as the names above it.

    Raises:
        CannotStart: it cannot be made, or is something else.
    """
    folder = settings.data_dir
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in missing:
            sync_folder(FileSystem(), path.parent)
    except OSError as error:
        raise CannotStart(f"the data folder {folder} cannot be used: {error.strerror}") from error


def check_places(settings: Settings) -> None:
    """Find out whether everything that is kept can be used as it must be; makes nothing.

    Raises:
        CannotStart: something is of the wrong kind, or may not be read or written.
    """
    folder, database = settings.data_dir, database_file(settings)
    _check(_Place(folder, "the data folder", is_folder=True, is_own=True))
    for name in ("locks", "service.lock", "admin-token", "manage-secret"):
        is_secret = name in ("admin-token", "manage-secret")
        _check(_Place(folder / name, f"{name} in the data folder,", name == "locks", is_written=not is_secret))
    _check(_Place(files_folder(settings), "the folder of the stored files,", is_folder=True, is_own=True))
    _check(_Place(database.parent, "the database's folder", is_folder=True, is_own=True))
    for suffix in ("", "-wal", "-shm"):
        _check(_Place(database.with_name(database.name + suffix), "the database"))
    _check_is_database(database)


def check_database_is_there(settings: Settings) -> None:
    """Find out whether there is a database that can be read; of the data folder nothing else is asked.

    Raises:
        CannotStart: there is none, or it may not be read.
    """
    path = database_file(settings)
    if not _exists(_Place(path, "the database")):
        raise CannotStart(f"there is no database at {path}; `vacpack serve` and `vacpack migrate` make one")
    _check(_Place(path, "the database", is_written=False))
    _check_is_database(path)


def _check_is_database(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb") as file:
        begin = file.read(len(_SQLITE))
    # SQLite itself takes a file of a few bytes for a new one, and writes over it.
    if begin not in (b"", _SQLITE):
        raise CannotStart(f"the database {path} is no database; {RESTORE}")


def _check(place: _Place) -> None:
    if not _exists(place):
        return
    if place.is_folder and not place.path.is_dir():
        raise CannotStart(f"{place.what} {place.path} is not a folder; move it away, or choose another place")
    if not place.is_folder and not place.path.is_file():
        raise CannotStart(f"{place.what} {place.path} is {_kind(place.path)}, not a file; move it away")
    wanted = os.R_OK | (os.W_OK if place.is_written else 0) | (os.X_OK if place.is_folder else 0)
    if not os.access(place.path, wanted):
        raise CannotStart(_not_allowed(place))
    if place.is_folder:
        _check_is_private(place)


def _check_is_private(place: _Place) -> None:
    """Whoever may change the names in a folder of ours decides what is read and written there."""
    status = place.path.stat()
    if status.st_mode & stat.S_IWOTH:
        raise CannotStart(f"{place.what} {place.path} can be written by every user of this machine: chmod o-w")
    if place.is_own and status.st_uid != os.geteuid():
        raise CannotStart(
            f"{place.what} {place.path} belongs to user {status.st_uid}, and this is user {os.geteuid()}: run as its"
            " owner, or give it to this user"
        )


def _exists(place: _Place) -> bool:
    try:
        place.path.stat()
    except FileNotFoundError:
        if place.path.is_symlink():
            raise CannotStart(f"{place.what} {place.path} is a link that leads nowhere; mend or remove it") from None
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CannotStart(f"{place.what} {place.path} cannot be used: {reason}") from error
    return True


def _kind(path: Path) -> str:
    mode = path.stat().st_mode
    return "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"


def _not_allowed(place: _Place) -> str:
    if place.is_written and os.statvfs(place.path).f_flag & os.ST_RDONLY:
        return f"{place.what} {place.path} cannot be written: it lies on a disk that is mounted read-only"
    what = "written" if place.is_written and os.access(place.path, os.R_OK) else "read"
    owner = place.path.stat().st_uid
    who = f"it belongs to user {owner}, and this is user {os.geteuid()}" if owner != os.geteuid() else "see its mode"
    return f"{place.what} {place.path} cannot be {what}: Permission denied; {who}"
