"""Reads without a pool and without a transaction, for what is asked thousands of times a second by one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from storage.database import Database

Values = Sequence[Any]


class PlainReader:
    """One connection in autocommit, of the thread that makes it. Its errors are those of every other read.

    Raises:
        DBAPIError: the database cannot be opened, or read.
    """

    def __init__(self, database: Database) -> None:
        try:
            self._connection = database.reader()
        except sqlite3.Error as error:
            raise DBAPIError("open", None, error) from error

    def one(self, statement: str, values: Values = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        try:
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise DBAPIError(statement, None, error) from error
        return row

    def all(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise DBAPIError(statement, None, error) from error

    def version(self) -> int:
        """Return a number that changes with every commit of others: 3 µs."""
        row = self.one("PRAGMA data_version")
        assert row is not None
        version: int = row[0]
        return version

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
