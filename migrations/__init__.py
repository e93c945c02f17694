"""The schema's history, run by alembic: ``migrate(url)`` brings a database to the newest.

Imports the models to compare with, and the settings for alembic's own command; never anything else of ``service``.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

if TYPE_CHECKING:
    from alembic.config import Config


def configuration(url: str) -> Config:
    """Return alembic's configuration for this database, wherever the package is installed."""
    from alembic.config import Config

    root = str(files("migrations"))
    config = Config()
    config.set_main_option("script_location", root.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    # env.py reads the attribute: an option would need every % in a password doubled.
    config.attributes["url"] = url
    return config


class CannotMigrate(Exception):
    """There is no way to the revision that was asked for; the text says why."""


class NewerDatabase(CannotMigrate):
    """The database has a schema that this program does not know: a newer program made it."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"the schema {revision} is not known")
        self.revision = revision


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade (or, to an older revision by name, downgrade) the schema. Safe to run again.

    A database that is the newest already is left alone, without loading alembic: that is a third of a second at each
    start of a service.

    Raises:
        CannotMigrate: there is no such revision on the way; NewerDatabase: its schema is none of those known here.
        sqlite3.Error: there is something that is no database, or cannot be read.
    """
    if is_newest(url) and revision == "head":
        return
    from alembic import command
    from alembic.util import CommandError

    move = command.upgrade if revision == "head" else command.downgrade
    try:
        move(configuration(url), revision)
    except CommandError as error:
        raise CannotMigrate(str(error)) from error


def is_newest(url: str) -> bool:
    """Return whether there is such a database, with the newest schema. Changes nothing; raises as ``migrate``."""
    revision = _revision_of(url)
    if revision is not None and revision not in _known():
        raise NewerDatabase(revision)
    return revision == newest()


def newest() -> str:
    """Return the newest revision: the files are named by theirs, so that the last by name is it."""
    return max(_known())


def _known() -> set[str]:
    names = [entry.name for entry in (files("migrations") / "versions").iterdir()]
    return {name.removesuffix(".py").replace("-", "_") for name in names if name[0].isdigit()}


def _revision_of(url: str) -> str | None:
    """Return what revision a SQLite database has; None for every other, and for one without a schema."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or not Path(address.database or "").is_file():
        return None
    with closing(sqlite3.connect(str(address.database))) as connection:
        try:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except sqlite3.Error as error:
            # No schema yet, or locked by another that migrates just now, for which the migration itself waits.
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            return None
    return str(rows[0][0]) if len(rows) == 1 else None
