"""Transactions: how they begin, how durable they are, and who sees what when."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, bindparam, event, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

from storage.database import BUSY_STEP_MILLISECONDS, Database, Prepared, is_undone, sqlite_url, write_ahead
from storage.errors import JobNotFound, StorageFailed, StorageLost
from tests.storage.child_processes import count_up, start, wait_for

FULL, NORMAL = 2, 1
notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("body", String, unique=True))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Database]:
    """A database with one table of notes."""
    (tmp_path / "plain.db").touch()
    database = Database(sqlite_url(tmp_path / "plain.db"))
    notes.metadata.create_all(database.engine)
    yield database
    database.close()


def pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def bodies(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(notes.c.body).order_by(notes.c.id)).scalars())


@pytest.mark.parametrize("is_prepared", [False, True])
def test_the_text_of_an_error_holds_no_values(plain: Database, *, is_prepared: bool) -> None:
    statement = insert(notes).values(body=bindparam("text"))
    prepared = Prepared(statement)
    secret = {"text": "ann@mail.example"}

    def add(connection: Connection) -> None:
        if is_prepared:
            prepared.run(connection, secret)
        else:
            connection.execute(statement, secret)

    with plain.transaction() as connection:
        add(connection)
    with pytest.raises(IntegrityError) as error, plain.transaction() as connection:
        add(connection)

    assert "INSERT" in str(error.value)
    assert "ann@mail.example" not in str(error.value) + repr(error.value)


def write(connection: Connection, body: str) -> None:
    connection.execute(insert(notes).values(body=body))


def write_and_raise(database: Database, error: type[BaseException]) -> None:
    with database.transaction() as connection:
        write(connection, "lost")
        raise error


def write_twice(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, "twice")
        write(connection, "twice")


@pytest.fixture
def statements(plain: Database) -> list[str]:
    """Every statement sent from now on."""
    sent: list[str] = []
    event.listen(plain.engine, "before_cursor_execute", lambda *call: sent.append(call[2]))
    return sent


def test_a_transaction_takes_the_write_lock_at_its_beginning(plain: Database, statements: list[str]) -> None:
    with plain.transaction():
        pass
    assert "BEGIN IMMEDIATE" in statements
    statements.clear()
    with plain.read():
        pass
    assert statements == ["BEGIN"]


def test_four_processes_that_read_and_then_write_are_never_locked_out(plain: Database) -> None:
    with plain.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE counter (number INTEGER)")
        connection.exec_driver_sql("INSERT INTO counter VALUES (0)")
    url = plain.url.render_as_string()

    assert wait_for([start(count_up, url, 100) for _ in range(4)]) == [0, 0, 0, 0]
    with plain.read() as connection:
        assert connection.exec_driver_sql("SELECT number FROM counter").scalar_one() == 400


def test_what_is_promised_is_synced_and_heartbeats_are_not(plain: Database) -> None:
    seen = []
    for is_durable in (True, False, False, True, False, True):
        with plain.transaction(is_durable=is_durable) as connection:
            seen.append(pragma(connection, "synchronous"))

    assert seen == [FULL, NORMAL, NORMAL, FULL, NORMAL, FULL]
    assert plain.engine.pool.status().startswith("Pool size: 8  Connections in pool: 1")


def test_connections_that_take_turns_each_have_what_was_asked_for(plain: Database) -> None:
    with plain.read(), plain.read(), plain.transaction(is_durable=False) as third:
        assert pragma(third, "synchronous") == NORMAL
    for is_durable in (True, False, True):
        with plain.read(), plain.transaction(is_durable=is_durable) as second:
            assert pragma(second, "synchronous") == (FULL if is_durable else NORMAL)


def test_connections_write_ahead_and_hold_foreign_keys(plain: Database) -> None:
    with plain.transaction() as connection:
        assert [pragma(connection, name) for name in ("journal_mode", "foreign_keys", "busy_timeout")] == [
            "wal",
            1,
            # A writer waits in steps, together as long as a reader.
            BUSY_STEP_MILLISECONDS,
        ]


def test_a_transaction_commits_at_its_end(plain: Database) -> None:
    with plain.transaction() as connection:
        write(connection, "kept")
        assert bodies(plain) == []

    assert bodies(plain) == ["kept"]


def test_a_transaction_rolls_back_on_any_exception(plain: Database) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write_and_raise(plain, error)
    with pytest.raises(IntegrityError):
        write_twice(plain)

    assert bodies(plain) == []
    with plain.transaction() as connection:
        write(connection, "after")
    assert bodies(plain) == ["after"]


def test_returning_rows_need_not_be_read_before_the_commit(plain: Database) -> None:
    with plain.transaction() as connection:
        many = insert(notes).values([{"body": str(number)} for number in range(500)]).returning(notes.c.id)
        assert connection.execute(many).first() is not None
    with plain.transaction() as connection:
        connection.execute(insert(notes).values(body="last").returning(notes.c.id))

    assert len(bodies(plain)) == 501


def test_a_reading_transaction_is_one_view(plain: Database) -> None:
    with plain.read() as connection:
        assert connection.execute(select(notes)).all() == []
        with plain.transaction() as other:
            write(other, "later")
        assert connection.execute(select(notes)).all() == []

    assert bodies(plain) == ["later"]


def test_a_locked_database_is_an_error_and_nothing_worse(plain: Database) -> None:
    other = Database(plain.url.render_as_string())
    _be_impatient(other.engine)
    with plain.transaction(), pytest.raises(OperationalError, match="locked"), other.transaction():
        pass
    with other.transaction() as connection:
        write(connection, "afterwards")
    other.close()

    assert bodies(plain) == ["afterwards"]


def _be_impatient(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _(connection: sqlite3.Connection, _entry: object) -> None:
        connection.execute("PRAGMA busy_timeout = 20")


@pytest.fixture
def two_on_a_new_file(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Two connections to a file that is not in WAL mode; the first holds the file, the other is impatient."""
    path = tmp_path / "new.db"
    holder, other = (sqlite3.connect(path, isolation_level=None, check_same_thread=False) for _ in range(2))
    holder.execute("CREATE TABLE notes (body TEXT)")
    holder.execute("BEGIN EXCLUSIVE")
    other.execute("PRAGMA busy_timeout = 1")
    yield holder, other
    holder.close()
    other.close()


def test_write_ahead_waits_until_others_let_the_file_go(
    two_on_a_new_file: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    holder, other = two_on_a_new_file
    with ThreadPoolExecutor(1) as pool:
        switched = pool.submit(write_ahead, other)
        with pytest.raises(TimeoutError):
            switched.result(0.05)
        holder.execute("COMMIT")
        switched.result(10)

    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_write_ahead_gives_up_when_the_file_stays_locked(
    two_on_a_new_file: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(two_on_a_new_file[1], timeout_milliseconds=30)


def test_a_reader_cannot_write(plain: Database) -> None:
    reader = plain.reader()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("INSERT INTO notes(body) VALUES ('no')")
    reader.close()

    assert bodies(plain) == []


def test_a_reader_sees_the_commits_of_others_and_only_these_change_its_data_version(plain: Database) -> None:
    reader = plain.reader()

    def version() -> int:
        number: int = reader.execute("PRAGMA data_version").fetchone()[0]
        return number

    first = version()
    assert reader.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    bodies(plain)
    with pytest.raises(KeyError):
        write_and_raise(plain, KeyError)
    assert version() == first
    with plain.transaction() as connection:
        write(connection, "committed")
        assert version() == first
    assert version() != first
    assert reader.execute("SELECT body FROM notes").fetchall() == [("committed",)]
    reader.close()


def test_a_reader_may_be_used_and_closed_by_another_thread_than_its_maker(plain: Database) -> None:
    reader = plain.reader()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: reader.execute("SELECT 1").fetchone()).result() == (1,)
    reader.close()


@pytest.mark.parametrize("folder", ["a b", "a%20b", "a?b", "a#b", "日本"])
def test_any_path_can_hold_the_database(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "vacpack.db"
    path.parent.mkdir()
    path.touch()
    database = Database(sqlite_url(path))
    notes.metadata.create_all(database.engine)
    reader = database.reader()

    assert reader.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    reader.close()
    database.close()
    assert path.stat().st_size > 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be a file"):
        Database(url)


@pytest.fixture
def locked(plain: Database) -> Iterator[Database]:
    """A database that another connection does not let go."""
    with closing(sqlite3.connect(str(plain.url.database), isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield plain


def test_a_writer_waits_no_longer_than_its_process_may(locked: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.BUSY_TIMEOUT_MILLISECONDS", 600_000)

    def wait_in_vain() -> None:
        with locked.transaction():
            pytest.fail("the lock was had")

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(wait_in_vain)
        with pytest.raises(TimeoutError):
            written.result(2 * BUSY_STEP_MILLISECONDS / 1000)
        assert not locked.must_end

        locked.end_by(time.monotonic())

        with pytest.raises(OperationalError):
            written.result(60)
    assert locked.must_end


def test_only_an_error_of_the_commit_leaves_it_open_whether_it_was_made(plain: Database) -> None:
    with pytest.raises(IntegrityError) as of_a_statement:
        write_twice(plain)
    with plain.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE links (note INTEGER REFERENCES notes DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(IntegrityError) as of_the_commit, plain.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO links VALUES (99)")

    assert is_undone(of_a_statement.value)
    assert not is_undone(of_the_commit.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (JobNotFound("a"), True),
        (StorageFailed("full"), True),
        (StorageLost("gone", "/"), False),
        (MemoryError(), False),
    ],
)
def test_what_was_refused_before_the_commit_left_nothing(error: Exception, *, expected: bool) -> None:
    assert is_undone(error) is expected


def test_a_writer_that_waited_in_vain_can_be_tried_again(plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.BUSY_TIMEOUT_MILLISECONDS", 1)
    with closing(sqlite3.connect(str(plain.url.database), isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError), plain.transaction():
            pass
        holder.execute("ROLLBACK")

    with plain.transaction() as connection:
        write(connection, "kept")
    assert bodies(plain) == ["kept"]
