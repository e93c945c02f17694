"""Whose files a folder holds: the database and the folder carry one number, so that no sweep meets foreign files.

A sweep removes what no row names. Over the files of another database, or under a new one, that would be everything.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from storage.database import Database
from storage.file_system import FileSystem, sync_folder

MARKER = "owner"
"""In the folder of the files; no key looks like it."""


def owns(database: Database, folder: Path) -> bool:
    """Return whether the files are this database's; a folder without a marker becomes so, durably.

    The number stands in the database's header (``user_version``), so a copy of the database owns the files too.
    """
    number = _number_of(database)
    marker = folder / MARKER
    if not marker.exists():
        _write(marker, number)
    return marker.read_text().strip() == str(number)


def is_owner(database: Database, folder: Path) -> bool:
    """Return whether the folder is there and its files are this database's. Changes nothing."""
    try:
        marked = (folder / MARKER).read_text().strip()
    except OSError:
        return False
    with database.read() as connection:
        return marked == str(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _number_of(database: Database) -> int:
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
