"""The database and the files, as the settings say."""

from __future__ import annotations

from pathlib import Path

from service.settings import Settings
from service.start.cannot_start import CannotStart
from service.start.places import files_folder, make_data_folder
from service.work.life_lock import LifeLocks
from service.work.scan_process import split_command, why_not_runnable
from service.work.sweep import Sweeper
from service.work.work_settings import work_settings
from storage.database import Database
from storage.files.file_owner import FileOwner
from storage.files.local_files import LocalFiles


def open_database(settings: Settings) -> Database:
    """Return the database, with its folder made."""
    make_data_folder(settings)
    return Database(settings.database_url)


def open_store(settings: Settings, owner: FileOwner | None = None) -> LocalFiles:
    """Return the file store; without ``owner`` it sweeps nothing."""
    check = owner.check if owner else None
    return LocalFiles(files_folder(settings), check=check, quarantine_seconds=settings.quarantine_seconds)


def make_sweeper(settings: Settings, database: Database, store: LocalFiles, *, receives_alone: bool = False) -> Sweeper:
    """Return what tidies up; ``receives_alone``: no other process takes uploads into these files."""
    settings_of_work = work_settings(settings)
    locks = LifeLocks(Path(settings_of_work.locks_dir))
    return Sweeper(database, store, locks, settings_of_work, receives_alone=receives_alone)


def check_scanner(settings: Settings) -> None:
    """Raise CannotStart where uploads are to be scanned by what cannot be run: no job would ever succeed."""
    command = split_command(settings.scan_command)
    if command and (reason := why_not_runnable(command)) is not None:
        raise CannotStart(f"VACPACK_SCAN_COMMAND cannot be run: {command[0]!r}: {reason}")
