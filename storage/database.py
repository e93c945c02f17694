"""The engine and ``transaction()``: the only place that commits. SQLite in WAL mode.

Writers take ``BEGIN IMMEDIATE``: with a plain ``BEGIN`` 513 of 1,600 read-then-write transactions failed at once, in
spite of a busy timeout of 10 s, because SQLite cannot upgrade a stale read; with ``IMMEDIATE`` none did. Where
something is promised, ``synchronous`` is FULL (WAL with NORMAL may lose the last commits at a power loss); heartbeats
take NORMAL.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import BigInteger, ClauseElement, Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from storage.clock import boot_milliseconds
from storage.database_errors import is_full, trouble_of_database
from storage.database_files import DatabaseFiles
from storage.errors import StorageError, StorageLost
from storage.reserve import Reserve
from storage.trouble import Trouble

T = TypeVar("T")

BUSY_TIMEOUT_MILLISECONDS = 10_000

BUSY_STEP_MILLISECONDS = 250
"""A wait inside SQLite cannot be cut short: writers wait so long at a time, to notice that the process must end."""

WAL_BYTES = 4 * 1024 * 1024
"""Size at which the write-ahead log is moved into the database, and to which its file is cut then; SQLite's default."""


class Now(FunctionElement[int]):
    """The service's clock (``storage.clock``), in milliseconds since 1970; no process's own clock decides anything."""

    type = BigInteger()
    inherit_cache = True


class Proven(FunctionElement[int]):
    """The time that has certainly come, never later than ``Now``: all that is removed by time is removed by this."""

    type = BigInteger()
    inherit_cache = True


PROVEN_OFFSET_SQL = "SELECT offset_milliseconds - doubt_milliseconds FROM clock"
"""What the boot clock lacks to be ``Proven``."""


@compiles(Now, "sqlite")
def _now_in_sqlite(element: Now, compiler: SQLCompiler, **_: Any) -> str:
    return "((SELECT offset_milliseconds FROM clock) + boot_milliseconds())"


@compiles(Proven, "sqlite")
def _proven_in_sqlite(element: Proven, compiler: SQLCompiler, **_: Any) -> str:
    return f"(({PROVEN_OFFSET_SQL}) + boot_milliseconds())"


def add_clock(connection: sqlite3.Connection) -> None:
    """Have the connection know the boot clock. Said to be deterministic: one statement asks it once."""
    connection.create_function("boot_milliseconds", 0, boot_milliseconds, deterministic=True)


def write_ahead(connection: sqlite3.Connection, *, timeout_milliseconds: int = BUSY_TIMEOUT_MILLISECONDS) -> None:
    """Switch the file to write-ahead logging, which it then keeps; the log is moved by ``checkpointer`` alone.

    Tried again while others hold the file: the busy timeout does not cover this switch, and of two processes that
    opened a new file at once one failed.

    Raises:
        sqlite3.OperationalError: the file stayed locked, or cannot be written.
    """
    deadline = time.monotonic() + timeout_milliseconds / 1000
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if trouble_of_database(error) is not Trouble.LOCKED or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


class Prepared:
    """A statement compiled once and run on the driver's own cursor: for the few that run thousands of times a second.

    An insert of one job takes a third of the time that way.
    """

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
        self._text = str(compiled)
        self._names: tuple[str, ...] = tuple(getattr(compiled, "positiontup", None) or ())

    def run(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run it in the connection's transaction with these values by name; return all rows.

        Raises:
            sqlalchemy.exc.DBAPIError: as the connection itself would.
        """
        parameters = tuple([values[name] for name in self._names])
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._text, parameters)
            return list(cursor.fetchall())
        except sqlite3.Error as error:
            hidden = DBAPIError.instance(self._text, parameters, error, sqlite3.Error, hide_parameters=True)
            raise hidden from error
        finally:
            cursor.close()


def is_undone(error: BaseException) -> bool:
    """Return whether a transaction that raised this has certainly left nothing, now and after any crash.

    A statement that failed, or a refusal before the commit, was rolled back. After an error of the commit itself nobody
    knows: where the fsync of the log failed, its frames stand there whole, and whoever opens the database after a crash
    takes them for committed. Then no file may be deleted that the row would name, and the sweep decides later.
    """
    if isinstance(error, DBAPIError):
        return error.statement is not None
    return isinstance(error, StorageError) and not isinstance(error, StorageLost)


def sqlite_url(path: Path) -> str:
    """Return the URL of a database file."""
    return str(URL.create("sqlite", database=str(path)))


class Database:
    """One engine: transactions that write, and transactions that only read. Safe for threads, one per process.

    The file must be there: ``migrations`` makes it. Its files are held from the first connection on, since SQLite goes
    on happily with files that were removed or replaced, and what is committed there is lost with the process.

    Raises:
        ValueError: the URL names no file.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        if self.url.database in (None, "", ":memory:"):
            raise ValueError("the database must be a file, because several processes share it")
        self._ends_at = math.inf
        self.reserve = Reserve(Path(str(self.url.database)))
        self._files = DatabaseFiles(Path(str(self.url.database)), self.reader)
        self.engine = _engine(self.url, self._connect, self._files.hold, lambda: self._ends_at)

    def check(self) -> None:
        """Return if the database's files are still where they were when this process opened them.

        Raises:
            StorageLost: they are not: a commit would be lost, or damage what others write.
        """
        self._files.check()

    def bring_home(self) -> bool:
        """Copy what was committed into the database file if its log was removed under it; return whether all of it is.

        Only this process's open connections can still read that log, and only as long as nobody has begun another.
        """
        if not self._files.is_log_lost():
            return False
        with closing(self.engine.raw_connection()) as connection:
            busy, logged, copied = connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return not busy and logged == copied

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[Connection]:
        """Open one writing transaction; commit at the end, roll back on any exception.

        Keep it short and never wait for bytes or networks inside. ``is_durable=False`` may lose the commit at a power
        loss (never at a crash of the process): for heartbeats only.

        Raises:
            sqlalchemy.exc.OperationalError: the database stayed locked for the busy timeout, or cannot be written.
            StorageLost: as ``check``, before anything is begun; and after a durable commit, which may yet come back
                together with the files.
        """
        self.check()
        options = {"sqlite_begin": "BEGIN IMMEDIATE", "sqlite_synchronous": 2 if is_durable else 1}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection
        if is_durable:
            self.check()

    def free(self, change: Callable[[Connection], T], *, is_durable: bool = True) -> T:
        """Return what ``change`` returns, run in one transaction as above; on a full disk the reserve gives it room.

        For what makes room, and for what workers must record to give up what they hold. ``change`` is called again
        after a roll back.

        Raises:
            sqlalchemy.exc.OperationalError, StorageLost: as ``transaction``; of room only when the reserve is used up.
        """
        is_log_moved = False
        while True:
            try:
                with self.transaction(is_durable=is_durable) as connection:
                    return change(connection)
            except OperationalError as error:
                if not is_full(error):
                    raise
                # A log that has been moved is written over, and grows no more: that gives more than the reserve holds.
                if not is_log_moved and self.move_log():
                    is_log_moved = True
                elif not self.reserve.give():
                    raise

    def move_log(self) -> bool:
        """Move the write-ahead log into the database while nobody commits; return whether all of it was moved.

        What a reader still looks at stays. On a full disk the reserve gives the database room.

        Raises:
            sqlalchemy.exc.OperationalError, sqlite3.OperationalError, StorageLost: as ``transaction``.
        """
        while True:
            try:
                with self.transaction(is_durable=False), closing(self.reader()) as connection:
                    is_busy, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except (OperationalError, sqlite3.OperationalError) as error:
                if not is_full(error):
                    raise
                if not self.reserve.give():
                    return False
            else:
                return bool(not is_busy and frames == moved)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one reading transaction: a consistent view that blocks nobody."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def reader(self) -> sqlite3.Connection:
        """Return a new plain connection in autocommit for the hot reads of one thread; the caller closes it."""
        connection = self._connect()
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA query_only = ON")
        add_clock(connection)
        return connection

    def end_by(self, deadline: float) -> None:
        """Let no writer wait for a lock beyond this time, by ``time.monotonic``: the process must end."""
        self._ends_at = deadline

    @property
    def is_ending(self) -> bool:
        """Whether ``end_by`` has been called."""
        return self._ends_at < math.inf

    @property
    def must_end(self) -> bool:
        """Whether the time to end has come."""
        return time.monotonic() >= self._ends_at

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log's file."""
        log = Path(f"{self.url.database}-wal")
        return log.stat().st_size if log.exists() else 0

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()
        self._files.close()

    def _connect(self) -> sqlite3.Connection:
        """Open the file, never make it: in place of one that is gone it would be an empty one, and look well."""
        self.check()
        return sqlite3.connect(f"file:{quote(str(self.url.database))}?mode=rw", uri=True, check_same_thread=False)


def _engine(
    url: URL,
    connect: Callable[[], sqlite3.Connection],
    on_open: Callable[[], None],
    ends_at: Callable[[], float],
) -> Engine:
    # Values are addresses, URLs and names of files: none may reach a log in the text of an error.
    engine = create_engine(url, creator=connect, pool_size=8, max_overflow=24, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        # The driver must not begin transactions of its own: ours begin below, with the right kind of BEGIN.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")
        write_ahead(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        entry.info["synchronous"] = 2
        entry.info["busy_timeout"] = BUSY_TIMEOUT_MILLISECONDS
        add_clock(connection)
        on_open()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        begin = options.get("sqlite_begin", "BEGIN")
        patience = BUSY_TIMEOUT_MILLISECONDS if begin == "BEGIN" else BUSY_STEP_MILLISECONDS
        _set(connection, "synchronous", options.get("sqlite_synchronous", connection.info["synchronous"]))
        _set(connection, "busy_timeout", patience)
        _execute_patiently(connection, begin, ends_at)

    return engine


def _set(connection: Connection, name: str, value: Any) -> None:
    if connection.info[name] != value:
        connection.connection.cursor().execute(f"PRAGMA {name} = {value}")
        connection.info[name] = value


def _execute_patiently(connection: Connection, statement: str, ends_at: Callable[[], float]) -> None:
    """Execute it, waiting for the lock for the busy timeout in small steps, or until the process must end."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MILLISECONDS / 1000
    while True:
        try:
            connection.exec_driver_sql(statement)
        except OperationalError as error:
            if trouble_of_database(error) is not Trouble.LOCKED or time.monotonic() >= min(deadline, ends_at()):
                raise
        else:
            return
