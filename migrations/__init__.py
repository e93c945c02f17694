"""The schema's history, run by alembic: ``migrate(url)`` brings a database to the newest."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config


def configuration(url: str) -> Config:
    """Return alembic's configuration for this database, wherever the package is installed."""
    root = str(files("migrations"))
    config = Config()
    config.set_main_option("script_location", root.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    # env.py reads the attribute: an option would need every % in a password doubled.
    config.attributes["url"] = url
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade (or, to an older revision by name, downgrade) the schema. Safe to run again."""
    if revision == "head":
        command.upgrade(configuration(url), revision)
    else:
        command.downgrade(configuration(url), revision)
