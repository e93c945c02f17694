"""vacpack's database behind its back: filled as years of use would, kept changing, and timed for claims."""

import base64
import hashlib
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from storage.database import Database, sqlite_url
from storage.ids import Key
from storage.jobs.job_attempts import claim
from storage.jobs.job_table import NewJob, NewSource, insert_job

DAY_MILLISECONDS = 86_400_000
DIGEST = "0" * 64
WORKER_ID = "w" * 26
LEASE_MILLISECONDS = 600_000
COMMIT_SECONDS = 0.002


def job_id(number: int, series: int = 0) -> str:
    """Return an id of the form that real ones have, always the same one for the same numbers."""
    digest = hashlib.blake2b(f"{series}/{number}".encode(), digest_size=16).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


def _finished_job(now: int) -> dict[str, Any]:
    return {
        "manage_key_digest": DIGEST,
        "status": "succeeded",
        "version": 5,
        "name": "log.txt",
        "format": "auto",
        "level": "balanced",
        "ttl_milliseconds": 365 * DAY_MILLISECONDS,
        "source_size_bytes": 4096,
        "source_sha256": DIGEST,
        "source_media_type": "text/plain",
        "source_files": 1,
        "epoch": 1,
        "attempts": 1,
        "max_attempts": 3,
        "bytes_done": 4096,
        "result_name": "log.txt.zst",
        "result_format": "zstd",
        "result_media_type": "application/zstd",
        "result_coding": "zstd",
        "result_size_bytes": 1024,
        "result_sha256": DIGEST,
        "run_at": now,
        "created_at": now,
        "started_at": now,
        "finished_at": now,
        "expires_at": now + 365 * DAY_MILLISECONDS,
    }


def _insert_many(
    connection: sqlite3.Connection, table: str, count: int, computed: dict[str, str], same: dict[str, Any]
) -> None:
    """Insert rows 1 to `count` in one statement: through `executemany` a million of them take minutes."""
    columns = ", ".join([*computed, *same])
    values = ", ".join([*computed.values(), *(f":{name}" for name in same)])
    numbers = "WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < :count)"
    statement = f"INSERT INTO {table} ({columns}) {numbers} SELECT {values} FROM n"
    connection.execute(statement, {"count": count, **same})


def fill(database_path: Path, count: int) -> None:
    """Insert so many finished jobs, each with its source and its attempt, into an empty migrated database."""
    now = int(time.time() * 1000)
    connection = sqlite3.connect(database_path)
    connection.create_function("job_id", 1, job_id, deterministic=True)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -1000000")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    # An index is built in a fraction of the time once its rows are there and can be sorted.
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    definitions = dict(indexes.fetchall())
    for name in definitions:
        connection.execute(f"DROP INDEX {name}")
    ids = {"seq": "number", "id": "job_id(number)", "result_key": "'result-' || number"}
    _insert_many(connection, "jobs", count, ids, _finished_job(now))
    source = {"position": 0, "name": "log.txt", "size_bytes": 4096, "sha256": DIGEST}
    _insert_many(connection, "sources", count, {"job_seq": "number"}, source)
    attempt = {"epoch": 1, "worker_id": WORKER_ID, "started_at": now, "ended_at": now, "outcome": "succeeded"}
    _insert_many(connection, "attempts", count, {"job_seq": "number"}, attempt)
    for definition in definitions.values():
        connection.execute(definition)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@contextmanager
def commits(database_path: Path) -> Iterator[None]:
    """Commit something every few milliseconds, as a busy service does: what was read before must be read anew.

    vacpack answers repeated polls from memory while nobody has committed; under this every poll asks the table.
    """
    is_over = threading.Event()

    def commit() -> None:
        connection = sqlite3.connect(database_path, timeout=10, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        number = 0
        while not is_over.wait(COMMIT_SECONDS):
            number += 1
            connection.execute(f"PRAGMA user_version = {number}")
        connection.close()

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def changes(database_path: Path) -> tuple[str, Callable[[], str]]:
    """Claim the next job; return its id, and a function that commits progress of it and returns its event's id."""
    database = Database(sqlite_url(database_path))
    with database.transaction() as connection:
        claimed = claim(connection, WORKER_ID, lease_milliseconds=LEASE_MILLISECONDS, is_idle=True)
    database.close()
    assert claimed is not None
    statement = "UPDATE jobs SET version = version + 1 WHERE id = ? RETURNING version"

    def change() -> str:
        with closing(sqlite3.connect(database_path, timeout=10, isolation_level=None)) as connection:
            [(version,)] = connection.execute(statement, (claimed.id,)).fetchall()
        return str(version)

    return claimed.id, change


def claim_milliseconds(database_path: Path, *, count: int, series: int) -> float:
    """Queue `count` jobs, claim them one by one in durable transactions; return the median time of a claim."""
    database = Database(sqlite_url(database_path))
    with database.transaction() as connection:
        for number in range(count):
            new_id = job_id(number, series)
            source = NewSource(Key(f"source-{new_id}"), "log.txt", 4096, None, "text/plain")
            insert_job(connection, NewJob(new_id, DIGEST, "log.txt", "auto", "balanced", 1000, 3, (source,)))
    times = []
    for _ in range(count):
        started = time.perf_counter()
        with database.transaction() as connection:
            claimed = claim(connection, WORKER_ID, lease_milliseconds=LEASE_MILLISECONDS, is_idle=True)
        times.append(1000 * (time.perf_counter() - started))
        assert claimed is not None
    database.close()
    return statistics.median(times)
