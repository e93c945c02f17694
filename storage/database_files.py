"""The files of a SQLite database as one process has them open, and whether they are still those that others open."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from storage.held_path import HeldPath


class DatabaseFiles:
    """A SQLite database's files as one process has them open: the database, its log, and their shared memory."""

    def __init__(self, database: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        """``connect`` opens one more connection."""
        self._connect = connect
        self._anchor: sqlite3.Connection | None = None
        database = database.absolute()
        self._names = {
            database: "the database file",
            Path(f"{database}-wal"): "the log of the database (-wal)",
            Path(f"{database}-shm"): "the shared memory of the database (-shm)",
        }
        self._held: tuple[HeldPath, ...] = ()
        self._lock = Lock()

    def hold(self) -> None:
        """Take hold of the files once a connection has opened them.

        SQLite keeps all three for as long as there is a connection: so one stays that a pool cannot drop.
        """
        with self._lock:
            if not self._held:
                self._anchor = self._connect()
                self._anchor.execute("PRAGMA schema_version").fetchone()
                self._held = tuple(HeldPath(path, name) for path, name in self._names.items() if path.exists())

    def check(self) -> None:
        """As ``Database.check``."""
        for held in self._held:
            held.check()

    def is_log_lost(self) -> bool:
        """Return whether the log alone is gone: the database is there, and nobody has begun another log."""
        database, *others = self._held or (None,)
        is_held = any(held.path.name.endswith("-wal") for held in others)
        return database is not None and database.is_there() and is_held and not Path(f"{database.path}-wal").exists()

    def close(self) -> None:
        """Let go of them."""
        with self._lock:
            held, self._held = self._held, ()
        for path in held:
            path.close()
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None
