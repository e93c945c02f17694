"""What a process takes hold of before it does anything: its data folder, its database, and the files they own.

Whoever cannot have them is told so in one line, before anything is made or removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from migrations import migrate
from service.machine.timekeeping import keep_time
from service.settings import Settings
from service.start.cannot_start import CannotStart
from service.start.places import check_places, database_file, files_folder, has_database, make_data_folder
from storage.database import Database
from storage.errors import FilesRefused, FilesServed, StorageError
from storage.files.file_owner import FileOwner, is_marked
from storage.held_path import HeldPath, LockFile
from storage.reserve import Reserve


class ForeignFiles(CannotStart):
    """The files belong to another database, or nobody can say that they belong to this one."""


class AlreadyServed(CannotStart):
    """Another service holds this data folder, or these files."""


def prepare(settings: Settings, revision: str = "head") -> None:
    """Make the data folder and bring the schema to a revision, the newest by default.

    Raises:
        ForeignFiles: there is no database, but files of one: a new one in its place would only be in the way.
        CannotStart: something that is kept cannot be used.
    """
    make_data_folder(settings)
    check_places(settings)
    folder = files_folder(settings)
    if not has_database(settings) and is_marked(folder):
        raise ForeignFiles(
            f"there is no database at {settings.database_url}, but the files in {folder} belong to one; put it back, "
            f"or move the files away to begin anew"
        )
    # On a full disk a service must start all the same: without it nobody can delete.
    Reserve(database_file(settings)).give_if_short()
    migrate(settings.database_url, revision)
    if revision == "head":
        # Before anything reads the time: after a restart of the machine the clock must be set anew.
        with closing(Database(settings.database_url)) as database:
            keep_time(database)


class DataFolder:
    """The data folder of one service, held so that no second one serves it, and known again."""

    def __init__(self, settings: Settings) -> None:
        """Make the folder if it is missing, and hold it; the kernel lets go when the process ends, however it ends.

        Raises:
            CannotStart: it cannot be written; AlreadyServed: another process holds it.
        """
        folder = settings.data_dir
        make_data_folder(settings)
        check_places(settings)
        try:
            self._lock = LockFile(folder / "service.lock", "the lock of the service in the data folder")
            self._folder = HeldPath(folder, "the data folder")
        except BlockingIOError as error:
            raise AlreadyServed(f"another vacpack serves {folder}") from error
        except OSError as error:
            raise CannotStart(f"the data folder {folder} cannot be written: {error.strerror}") from error

    def check(self) -> None:
        """Return if the folder is still there and still this service's alone; a lock that was removed is made again.

        Raises:
            StorageLost: it is not.
        """
        self._folder.check()
        self._lock.keep()

    def close(self) -> None:
        """Let go of it."""
        self._lock.close()
        self._folder.close()


@contextmanager
def served_alone(settings: Settings) -> Iterator[DataFolder]:
    """Hold the data folder for one service while the block runs.

    Raises:
        CannotStart: as ``DataFolder``.
    """
    with closing(DataFolder(settings)) as folder:
        yield folder


def own_files(settings: Settings, database: Database, *, is_serving: bool = False) -> FileOwner:
    """Return the right to the stored files, for one database, that whoever sweeps must have.

    Raises:
        CannotStart: they cannot be had; ForeignFiles, AlreadyServed: for a reason that a sweep would make worse.
    """
    folder = files_folder(settings)
    try:
        return FileOwner(database, folder, is_serving=is_serving)
    except FilesServed as error:
        raise AlreadyServed(str(error)) from error
    except FilesRefused as error:
        raise ForeignFiles(str(error)) from error
    except StorageError as error:
        raise CannotStart(f"the folder of the files {folder} cannot be used: {error}") from error
