"""Many workers at one table, some killed, some too late: every job is finished once."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess

from sqlalchemy import func, select

from storage.database import Database
from storage.errors import JobConflict, StaleAttempt
from storage.ids import random_id
from storage.jobs import job_attempts, job_rescue, job_table
from storage.models import attempts, jobs
from tests.storage.child_processes import start, wait_for, work
from tests.storage.job_builder import HOUR, act, change_row, claim, everything, finish, new_job, now, row_of, running

JOBS, WORKERS, KILLS = 300, 4, 20


def queue(database: Database, count: int) -> None:
    with database.transaction() as connection:
        for _ in range(count):
            job_table.insert_job(connection, new_job(max_attempts=50))


def succeeded(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).where(jobs.c.status == "succeeded")).scalar_one()


def hire(database: Database) -> tuple[str, ForkServerProcess]:
    worker_id = random_id()
    return worker_id, start(work, database.url.render_as_string(), worker_id)


def kill_one(database: Database, living: dict[str, ForkServerProcess]) -> int | None:
    """Kill a worker; now and then say so, else leave its jobs to their leases. Return its exit code."""
    worker_id = random.choice(list(living))
    process = living.pop(worker_id)
    process.kill()
    [code] = wait_for([process])
    if random.random() < 0.5:
        act(
            database,
            lambda connection: job_rescue.rescue_worker(connection, worker_id, is_blamed=True, max_losses=99),
        )
    return code


def run_to_the_end(database: Database) -> list[int | None]:
    """Keep so many workers at it until all jobs have succeeded, killing some; return all exit codes.

    One job is held back until the last kill, so that no worker goes home before.
    """
    held_back = everything(database)["jobs"][-1]["id"]
    change_row(database, held_back, run_at=now(database) + HOUR)
    living = dict(hire(database) for _ in range(WORKERS))
    codes: list[int | None] = []
    deadline = time.monotonic() + 60
    while (done := succeeded(database)) < JOBS:
        assert time.monotonic() < deadline, f"{done} of {JOBS} after a minute"
        act(database, job_rescue.rescue_lapsed)
        if len(codes) < KILLS and done > len(codes) * JOBS // (KILLS + 1):
            codes.append(kill_one(database, living))
            living.update([hire(database)])
            if len(codes) == KILLS:
                change_row(database, held_back, run_at=0)
        time.sleep(0.02)
    return codes + wait_for(list(living.values()))


def test_every_job_succeeds_once_whoever_is_killed_and_whoever_comes_late(database: Database) -> None:
    queue(database, JOBS)
    with database.transaction() as connection:
        for table in ("accepted", "refused"):
            connection.exec_driver_sql(f"CREATE TABLE {table} (job_id TEXT, epoch INTEGER)")
    codes = run_to_the_end(database)

    # An exception in a worker, "database is locked" among them, would have been a 1.
    assert Counter(codes) == {-9: KILLS, 0: WORKERS}
    with database.read() as connection:
        accepted = connection.exec_driver_sql("SELECT job_id, epoch FROM accepted ORDER BY job_id").all()
        refused = connection.exec_driver_sql("SELECT job_id, epoch FROM refused").all()
        ended = connection.execute(select(jobs).order_by(jobs.c.id)).mappings().all()
        outcomes = connection.execute(select(attempts.c.job_seq, attempts.c.epoch, attempts.c.outcome)).all()
    assert [tuple(row) for row in accepted] == [(row["id"], row["epoch"]) for row in ended]
    assert [row["result_key"] for row in ended] == [f"r-{row['id']}.{row['epoch']}" for row in ended]
    assert {row["status"] for row in ended} == {"succeeded"}
    assert refused
    assert not {tuple(row) for row in refused} & {tuple(row) for row in accepted}
    assert Counter(seq for seq, _, outcome in outcomes if outcome == "succeeded") == dict.fromkeys(
        (row["seq"] for row in ended), 1
    )
    assert None not in {outcome for _, _, outcome in outcomes}


def test_threads_never_claim_the_same_job(database: Database) -> None:
    queue(database, 200)

    def claim_all(worker_id: str) -> list[int]:
        return [job.seq for job in iter(lambda: claim(database, worker_id), None)]

    with ThreadPoolExecutor(WORKERS) as pool:
        hands = list(pool.map(claim_all, "abcd"))

    assert sorted(seq for hand in hands for seq in hand) == [row["seq"] for row in everything(database)["jobs"]]
    assert all(row["epoch"] == 1 for row in everything(database)["jobs"])


def test_of_a_finish_and_a_cancel_at_once_exactly_one_wins(database: Database) -> None:
    ends: Counter[str] = Counter()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            job = running(database)
            calls = [
                pool.submit(finish, database, job),
                pool.submit(act, database, lambda connection, job_id=job.id: job_table.cancel(connection, job_id)),
            ]
            lost = [type(error) for call in calls if (error := call.exception())]
            status = row_of(database, job.id)["status"]
            assert lost == [JobConflict if status == "succeeded" else StaleAttempt]
            ends[status] += 1
            if status == "running":
                act(database, lambda connection, job=job: job_attempts.confirm_cancel(connection, job))

    assert ends.keys() <= {"succeeded", "running"}
