"""The worker process: ``python -m service.wiring.worker WORKER_ID``, started and watched by ``embedded_worker``."""

from __future__ import annotations

from pathlib import Path

from service.work.child import main
from service.work.work_settings import WorkSettings
from storage.database import Database
from storage.files.file_owner import FileOwner
from storage.files.local_files import LocalFiles


def open_files(settings: WorkSettings, database: Database) -> LocalFiles:
    """Return the file store.

    Raises:
        StorageError, DBAPIError: what the parent took hold of has been pulled away since.
    """
    folder = Path(settings.files_dir)
    owner = FileOwner(database, folder, may_adopt=False)
    return LocalFiles(folder, check=owner.check, quarantine_seconds=settings.quarantine_seconds)


if __name__ == "__main__":
    main(open_files)
