"""Every operation in every situation does what ``TRANSITIONS`` says, and nothing else ever happens."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, select

from storage.database import Database, sqlite_url
from storage.errors import StorageError
from storage.jobs import job_attempts, job_rescue, job_table
from storage.jobs.job_attempts import ClaimedJob, Progress
from storage.lifecycle import ENDINGS, RETRYABLE, TRANSITIONS, JobStatus
from storage.models import jobs
from storage.trouble import Trouble
from tests.storage.job_builder import (
    HOUR,
    WORKER,
    act,
    bring_to,
    change_row,
    counted,
    everything,
    new_job,
    result_of,
    row_of,
)

Q, R, X = JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.EXPIRED
S, F, C = JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED
MAX_LOSSES = 3


def asked_to_stop(database: Database, job_id: str) -> None:
    act(database, lambda connection: job_table.cancel(connection, job_id))


def lapsed(database: Database, job_id: str) -> None:
    change_row(database, job_id, lease_expires_at=0)


def on_last_attempt(database: Database, job_id: str) -> None:
    change_row(database, job_id, max_attempts=1)


def on_last_loss(database: Database, job_id: str) -> None:
    change_row(database, job_id, losses=MAX_LOSSES - 1)


def over(database: Database, job_id: str) -> None:
    change_row(database, job_id, expires_at=0)


Change = Callable[[Database, str], None]
SITUATIONS: dict[str, tuple[JobStatus, tuple[Change, ...]]] = {
    "queued": (Q, ()),
    "running": (R, ()),
    "running, to be cancelled": (R, (asked_to_stop,)),
    "running for the last time": (R, (on_last_attempt,)),
    "running, with its last worker": (R, (on_last_loss,)),
    "running, with its last worker, to be cancelled": (R, (on_last_loss, asked_to_stop)),
    "running, lapsed": (R, (lapsed,)),
    "running, lapsed, to be cancelled": (R, (lapsed, asked_to_stop)),
    "running for the last time, lapsed": (R, (lapsed, on_last_attempt)),
    "succeeded": (S, ()),
    "succeeded, over": (S, (over,)),
    "failed": (F, ()),
    "failed, over": (F, (over,)),
    "cancelled": (C, ()),
    "cancelled, over": (C, (over,)),
    "expired": (X, ()),
    "expired, over": (X, (over,)),
}

Operation = Callable[[Connection, ClaimedJob], object]
PROGRESS = Progress("compressing", 10, None)


def _fail(*, is_fatal: bool) -> Operation:
    return lambda connection, job: job_attempts.fail(
        connection, job, code="broken", detail="It broke.", is_fatal=is_fatal, pause_milliseconds=0
    )


def _rescue(*, is_blamed: bool) -> Operation:
    return lambda connection, job: job_rescue.rescue_worker(
        connection, job.worker_id, is_blamed=is_blamed, max_losses=MAX_LOSSES
    )


OPERATIONS: dict[str, Operation] = {
    "insert": lambda connection, job: job_table.insert_job(connection, new_job()),
    "claim": lambda connection, job: job_attempts.claim(connection, "other", lease_milliseconds=1, is_idle=True),
    "heartbeat": lambda connection, job: job_attempts.heartbeat(connection, job, PROGRESS, lease_milliseconds=1),
    "finish": lambda connection, job: job_attempts.finish(connection, job, result_of(job), ["cd" * 32]),
    "fail": _fail(is_fatal=False),
    "fail, fatal": _fail(is_fatal=True),
    "confirm_cancel": lambda connection, job: job_attempts.confirm_cancel(connection, job),
    "release": lambda connection, job: job_attempts.release(connection, job),
    "pause": lambda connection, job: job_attempts.pause(connection, job, Trouble.ROOM, pause_milliseconds=0),
    "rescue, blamed": _rescue(is_blamed=True),
    "rescue, unblamed": _rescue(is_blamed=False),
    "rescue, lapsed": lambda connection, job: job_rescue.rescue_lapsed(connection),
    "cancel": lambda connection, job: job_table.cancel(connection, job.id),
    "retry": lambda connection, job: job_table.retry(connection, job.id, attempts_more=3),
    "expire": lambda connection, job: job_table.expire(connection, grave_milliseconds=HOUR, limit=9),
    "prune": lambda connection, job: job_table.prune(connection, limit=9),
    "delete": lambda connection, job: job_table.delete_job(connection, job.id),
}

# What happens; whatever is not said here must be refused or leave everything as it was.
RUNNING = [name for name, (status, _) in SITUATIONS.items() if status is R]
TO_BE_CANCELLED = [name for name in RUNNING if "cancelled" in name]
LAPSED = [name for name in RUNNING if "lapsed" in name]
LAST = [name for name in RUNNING if "last time" in name]
LAST_WORKER = [name for name in RUNNING if "last worker" in name]
OVER = [name for name in SITUATIONS if name.endswith(", over") and not name.startswith("expired")]


def _leaves(situations: list[str], otherwise: JobStatus, failing: list[str]) -> dict[str, JobStatus | None]:
    targets = dict.fromkeys(situations, otherwise) | {name: F for name in failing if name in situations}
    return targets | {name: C for name in TO_BE_CANCELLED if name in situations}


EXPECTED: dict[str, dict[str, JobStatus | None]] = {
    "insert": {},
    "claim": {"queued": R},
    "heartbeat": dict.fromkeys(RUNNING, R),
    "finish": {name: S for name in RUNNING if name not in TO_BE_CANCELLED},
    "fail": _leaves(RUNNING, Q, LAST),
    "fail, fatal": _leaves(RUNNING, F, RUNNING),
    "confirm_cancel": dict.fromkeys(TO_BE_CANCELLED, C),
    "release": _leaves(RUNNING, Q, []),
    "pause": _leaves(RUNNING, Q, []),
    "rescue, blamed": _leaves(RUNNING, Q, LAST_WORKER),
    "rescue, unblamed": _leaves(RUNNING, Q, []),
    "rescue, lapsed": _leaves(LAPSED, Q, LAST),
    "cancel": {"queued": C} | {name: R for name in RUNNING if name not in TO_BE_CANCELLED},
    "retry": dict.fromkeys(["failed", "failed, over", "cancelled", "cancelled, over"], Q),
    "expire": dict.fromkeys(OVER, X),
    "prune": {"expired, over": None},
    "delete": dict.fromkeys(SITUATIONS, None),
}
LISTED = {(step.source, step.target, step.name) for step in TRANSITIONS}


def holder_of(row: dict[str, Any]) -> ClaimedJob:
    """Return what the row's last worker would hold, whether or not its attempt is over."""
    return ClaimedJob(
        seq=row["seq"],
        id=row["id"],
        epoch=row["epoch"],
        worker_id=row["lease_owner"] or WORKER,
        attempt=row["attempts"],
        name=row["name"],
        format=row["format"],
        level=row["level"],
        size_bytes=row["source_size_bytes"],
        is_isolated=row["is_isolated"],
        sources=(),
    )


def _row(connection: Connection, job_id: str) -> dict[str, Any] | None:
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
    return None if row is None else dict(row)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_operation_does_what_the_table_says_and_is_refused_elsewhere(database: Database, situation: str) -> None:
    status, changes = SITUATIONS[situation]
    job_id = bring_to(database, status)
    for change in changes:
        change(database, job_id)
    before = row_of(database, job_id)
    holder = holder_of(before)
    for name, operation in OPERATIONS.items():
        with database.engine.connect() as connection, connection.begin() as transaction:
            try:
                operation(connection, holder)
            except StorageError:
                assert situation not in EXPECTED[name], f"{name} was refused when {situation}"
            after = _row(connection, job_id)
            transaction.rollback()
        if situation not in EXPECTED[name]:
            assert after == before, f"{name} changed a job that was {situation}"
            continue
        target = EXPECTED[name][situation]
        assert (after and after["status"]) == target, f"{name} when {situation}"
        assert after is None or after["version"] == before["version"] + 1, f"{name} when {situation}"


def test_the_transitions_listed_are_exactly_those_that_happen() -> None:
    happens = {
        (SITUATIONS[situation][0], target, name.split(",")[0])
        for name, targets in EXPECTED.items()
        for situation, target in targets.items()
        if name != "delete" and target is not SITUATIONS[situation][0]
    }

    assert happens | {(None, Q, "insert")} == LISTED


def test_every_status_says_whether_it_is_final() -> None:
    said = {status: status.is_final for status in JobStatus}

    assert said == {Q: False, R: False, S: True, F: True, C: True, X: True}


def test_a_job_ends_in_every_final_status_that_still_has_files() -> None:
    assert set(ENDINGS) == {status for status in JobStatus if status.is_final and status is not X}
    assert set(RETRYABLE) == {F, C}


def test_every_status_is_entered_and_left() -> None:
    assert {step.target for step in TRANSITIONS} == {step.source for step in TRANSITIONS} == {None, *JobStatus}


class Life(RuleBasedStateMachine):
    """Some jobs, some workers that never forget an attempt, and operations in any order."""

    template: Path
    folder: Path
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        path = self.folder / f"{next(self.numbers)}.db"
        shutil.copyfile(self.template, path)
        self.database = Database(sqlite_url(path))
        self.holders: list[ClaimedJob] = []
        self.ids: list[str] = []
        self.counted = 0

    def teardown(self) -> None:
        self.database.close()

    def step(self, name: str, change: Callable[[Connection], object]) -> object:
        """Do it, then hold every change of every row against the table."""
        before = everything(self.database)
        try:
            done = act(self.database, change)
        except StorageError:
            assert everything(self.database) == before
            return None
        was = {row["seq"]: row for row in before["jobs"]}
        new = {row["seq"]: row for row in everything(self.database)["jobs"]}
        for seq in was.keys() | new.keys():
            self.judge(name, was.get(seq), new.get(seq))
        return done

    def judge(self, name: str, was: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if was == new or name == "delete":
            return
        source, target = (row and JobStatus(row["status"]) for row in (was, new))
        if source is target:
            assert name in ("heartbeat", "cancel")
        else:
            assert (source, target, name) in LISTED
        if was and new:
            assert new["version"] == was["version"] + 1
            assert new["epoch"] == was["epoch"] + (name == "claim")
            assert new["created_at"] == was["created_at"]

    @rule(ttl=st.sampled_from([0, HOUR]), attempts=st.integers(1, 3))
    def insert(self, ttl: int, attempts: int) -> None:
        job = new_job(ttl_milliseconds=ttl, max_attempts=attempts)
        self.ids.append(job.id)
        self.step("insert", lambda connection: job_table.insert_job(connection, job))

    @rule(worker=st.sampled_from("ab"), is_idle=st.booleans(), lease=st.sampled_from([-1000, HOUR]))
    def claim(self, worker: str, is_idle: bool, lease: int) -> None:
        job = self.step(
            "claim",
            lambda connection: job_attempts.claim(connection, worker, lease_milliseconds=lease, is_idle=is_idle),
        )
        if isinstance(job, ClaimedJob):
            assert is_idle or not job.is_isolated
            self.holders.append(job)

    @rule(
        data=st.data(),
        name=st.sampled_from(["heartbeat", "finish", "fail", "fail, fatal", "confirm_cancel", "release", "pause"]),
        is_impostor=st.booleans(),
    )
    def work(self, data: st.DataObject, name: str, is_impostor: bool) -> None:
        if not self.holders:
            return
        job = data.draw(st.sampled_from(self.holders[-6:]))
        rows = [row for row in everything(self.database)["jobs"] if row["id"] == job.id]
        holds = [
            row["status"] == R and row["epoch"] == job.epoch and row["lease_owner"] == job.worker_id for row in rows
        ]
        caller = replace(job, worker_id="impostor") if is_impostor else job
        accepted = []
        self.step(name.split(",")[0], lambda connection: accepted.append(OPERATIONS[name](connection, caller)))
        assert not accepted or (holds == [True] and not is_impostor)

    @rule(worker=st.sampled_from("ab"), is_blamed=st.booleans())
    def rescue_worker(self, worker: str, is_blamed: bool) -> None:
        self.step(
            "rescue",
            lambda connection: job_rescue.rescue_worker(connection, worker, is_blamed=is_blamed, max_losses=2),
        )

    @rule()
    def rescue_lapsed(self) -> None:
        self.step("rescue", job_rescue.rescue_lapsed)

    @rule(data=st.data(), name=st.sampled_from(["cancel", "retry", "delete"]))
    def own(self, data: st.DataObject, name: str) -> None:
        if not self.ids:
            return
        job_id = data.draw(st.sampled_from(self.ids[-4:]))
        change: dict[str, Callable[[Connection], object]] = {
            "cancel": lambda connection: job_table.cancel(connection, job_id),
            "retry": lambda connection: job_table.retry(connection, job_id, attempts_more=2),
            "delete": lambda connection: job_table.delete_job(connection, job_id),
        }
        self.step(name, change[name])

    @rule(grave=st.sampled_from([0, HOUR]))
    def expire(self, grave: int) -> None:
        self.step("expire", lambda connection: job_table.expire(connection, grave_milliseconds=grave, limit=2))

    @rule()
    def prune(self) -> None:
        self.step("prune", lambda connection: job_table.prune(connection, limit=2))

    @invariant()
    def attempts_are_open_while_running_and_closed_with_an_outcome(self) -> None:
        rows = everything(self.database)
        for row in rows["jobs"]:
            made = [attempt for attempt in rows["attempts"] if attempt["job_seq"] == row["seq"]]
            assert [attempt["epoch"] for attempt in made] == list(range(1, row["epoch"] + 1))
            ends = [attempt["ended_at"] is not None and attempt["outcome"] is not None for attempt in made]
            assert ends == [True] * (len(made) - (row["status"] == R)) + [False] * (row["status"] == R)

    @invariant()
    def totals_only_grow(self) -> None:
        total = counted(self.database)
        assert total >= self.counted
        self.counted = total


@pytest.fixture
def life(migrated_file: Path, tmp_path: Path) -> type[Life]:
    Life.template, Life.folder = migrated_file, tmp_path
    return Life


def test_any_walk_through_the_operations_keeps_to_the_table(life: type[Life]) -> None:
    walks = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(life, settings=walks)
