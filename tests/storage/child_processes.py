"""Real processes that share one database. Forked from a clean server, so that starting one costs milliseconds."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier, Event
from typing import Any

from sqlalchemy import Connection, func, select

from migrations import migrate
from storage.database import Database
from storage.errors import StaleAttempt
from storage.jobs import job_attempts
from storage.jobs.job_attempts import ClaimedJob, Progress
from storage.models import jobs
from tests.storage.job_builder import result_of

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.storage.child_processes", "alembic.command", "sqlalchemy.dialects.sqlite"])

LEASE_MILLISECONDS = 400


def start(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    process = PROCESSES.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def wait_for(processes: Sequence[ForkServerProcess], *, seconds: float = 60) -> list[int | None]:
    """Wait until all have ended; return their exit codes, 1 where an exception ended one."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    return [process.exitcode for process in processes]


def count_up(url: str, times: int) -> None:
    """Read a number, then write what comes after it, in one transaction each."""
    database = Database(url)
    for _ in range(times):
        with database.transaction(is_durable=False) as connection:
            number = connection.exec_driver_sql("SELECT number FROM counter").scalar_one()
            connection.exec_driver_sql("UPDATE counter SET number = ?", (number + 1,))
    database.close()


def migrate_together(url: str, barrier: Barrier) -> None:
    barrier.wait(30)
    migrate(url)


def migrate_when_ready(url: str, ready: Event) -> None:
    ready.set()
    migrate(url)


def work(url: str, worker_id: str) -> None:
    """Claim and finish in two threads until every job has succeeded.

    Every twentieth first attempt sleeps past its lease, until another attempt has begun, perhaps in the same worker.
    """
    database = Database(url)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(_work, database, worker_id) for _ in range(2)]:
            done.result()
    database.close()


def _work(database: Database, worker_id: str) -> None:
    while True:
        with database.transaction(is_durable=False) as connection:
            job = job_attempts.claim(connection, worker_id, lease_milliseconds=LEASE_MILLISECONDS, is_idle=True)
        if job is not None:
            _attempt(database, job)
        elif _all_succeeded(database):
            break
        else:
            time.sleep(0.02)


def _all_succeeded(database: Database) -> bool:
    with database.read() as connection:
        return not connection.execute(select(func.count()).where(jobs.c.status != "succeeded")).scalar_one()


def _attempt(database: Database, job: ClaimedJob) -> None:
    try:
        with database.transaction(is_durable=False) as connection:
            job_attempts.heartbeat(
                connection, job, Progress("compressing", 1, None), lease_milliseconds=LEASE_MILLISECONDS
            )
        time.sleep(random.uniform(0, 0.02))
        if job.epoch == 1 and job.seq % 20 == 0:
            _sleep_past_the_lease(database, job)
        with database.transaction(is_durable=False) as connection:
            job_attempts.finish(connection, job, result_of(job), ["cd" * 32])
            _note(connection, "accepted", job)
    except StaleAttempt:
        with database.transaction(is_durable=False) as connection:
            _note(connection, "refused", job)


def _note(connection: Connection, table: str, job: ClaimedJob) -> None:
    connection.exec_driver_sql(f"INSERT INTO {table} VALUES (?, ?)", (job.id, job.epoch))


def _sleep_past_the_lease(database: Database, job: ClaimedJob) -> None:
    deadline = time.monotonic() + 10
    latest = select(jobs.c.seq).where(jobs.c.id == job.id, jobs.c.epoch == job.epoch)
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.execute(latest).one_or_none() is None:
                return
        time.sleep(0.005)
