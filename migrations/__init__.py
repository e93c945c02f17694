"""The schema's history, run by alembic: ``migrate(url)`` brings a database to the newest."""

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


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade (or, to an older revision by name, downgrade) the schema. Safe to run again.

    A database that is the newest already is left alone, without loading alembic: that is a third of a second at each
    start of a service.
    """
    if revision == "head" and is_newest(url):
        return
    from alembic import command

    if revision == "head":
        command.upgrade(configuration(url), revision)
    else:
        command.downgrade(configuration(url), revision)


def is_newest(url: str) -> bool:
    """Return whether there is such a database, with the newest schema. Changes nothing."""
    return _revision_of(url) == newest()


def newest() -> str:
    """Return the newest revision: the files are named by theirs, so that the last by name is it."""
    names = [entry.name for entry in (files("migrations") / "versions").iterdir()]
    return max(name for name in names if name[0].isdigit()).removesuffix(".py").replace("-", "_")


def _revision_of(url: str) -> str | None:
    """Return what revision a SQLite database has; None for every other, and for one without a schema."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or not Path(address.database or "").is_file():
        return None
    with closing(sqlite3.connect(str(address.database))) as connection:
        try:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except sqlite3.Error:
            # No schema yet, or nothing that can be read: the migration itself finds out and says so.
            return None
    return str(rows[0][0]) if len(rows) == 1 else None
