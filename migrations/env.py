"""Runs the migrations on one connection.

On SQLite foreign keys are off meanwhile and checked at the end: batch mode rebuilds a table by dropping the old one,
which with foreign keys on emptied its child tables. Everything happens in one transaction, so that a process killed
half way leaves the old schema, and of two that start together one waits.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, event, make_url

from service.settings import load_settings
from storage.database import BUSY_TIMEOUT_MILLISECONDS, write_ahead
from storage.models import metadata


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")
    write_ahead(connection)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _run() -> None:
    url = make_url(context.config.attributes.get("url") or load_settings().database_url)
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
        with context.begin_transaction():
            context.run_migrations()
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise RuntimeError(f"a migration left rows without their parent: {broken[:5]}")
        connection.commit()
    engine.dispose()


_run()
