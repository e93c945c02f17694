"""Leases that are over are taken up by who supervises, and by nobody who was in trouble itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from service.work.lease_upkeep import HEALTHY_SECONDS, LONGEST_GAP_SECONDS, LeaseUpkeep
from service.work.life_lock import LifeLocks
from service.work.sweep import Sweeper
from storage.database import Database
from tests.service.work.bench import WORKER, Bench
from tests.storage import job_builder


class Scene:
    """An upkeep with a clock of its own, beside a job whose lease is over."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.now = 1000.0
        self.wakes = 0
        self.is_broken = False
        self.job_id = bench.submit(b"a")
        job_builder.claim(bench.database, WORKER, lease=-1)
        sweeper = Sweeper(bench.database, bench.store, LifeLocks(Path(bench.settings.locks_dir)), bench.settings)
        rescue_dead = sweeper.rescue_dead

        def maybe() -> int:
            if self.is_broken:
                raise OperationalError("BEGIN IMMEDIATE", {}, Exception("database is locked"))
            return rescue_dead()

        monkeypatch.setattr(sweeper, "rescue_dead", maybe)
        self.upkeep = LeaseUpkeep(sweeper, self._wake, clock=lambda: self.now)

    def _wake(self) -> None:
        self.wakes += 1

    def pass_by(self, seconds: float) -> str:
        """Do a round a second for so long; return the job's status."""
        for _ in range(round(seconds)):
            self.now += 1
            try:
                self.upkeep.round()
            except OperationalError:
                assert self.is_broken
        return self.bench.status(self.job_id)


@pytest.fixture
def scene(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(bench, monkeypatch)


def test_a_lease_that_is_over_is_taken_up_after_a_time_of_health_and_who_waits_is_woken(scene: Scene) -> None:
    assert scene.pass_by(HEALTHY_SECONDS - 1) == "running"
    assert scene.wakes == 0

    assert scene.pass_by(1) == "queued"
    assert scene.wakes == 1
    assert scene.bench.row(scene.job_id)["error_code"] == "worker_stalled"


def test_after_trouble_with_the_database_every_worker_may_renew_its_leases_first(scene: Scene) -> None:
    scene.is_broken = True
    assert scene.pass_by(60) == "running"
    scene.is_broken = False

    assert scene.pass_by(HEALTHY_SECONDS - 1) == "running"
    assert scene.pass_by(1) == "queued"


def test_after_a_sleep_of_the_machine_too(scene: Scene) -> None:
    assert scene.pass_by(HEALTHY_SECONDS - 2) == "running"
    scene.now += LONGEST_GAP_SECONDS + 3600

    assert scene.pass_by(HEALTHY_SECONDS) == "running"
    assert scene.pass_by(1) == "queued"


def test_whoever_had_to_wait_for_the_lock_lets_others_have_it_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scene.pass_by(HEALTHY_SECONDS - 1) == "running"
    give = type(scene.bench.database).free

    def late(database: Database, change: Callable[[Connection], Any], **how: Any) -> Any:
        """The lock is given at last: another program held it, and every heartbeat waits for it too."""

        def held(connection: Connection) -> Any:
            scene.now += LONGEST_GAP_SECONDS + 1
            return change(connection)

        return give(database, held, **how)

    with monkeypatch.context() as locked:
        locked.setattr(type(scene.bench.database), "free", late)
        assert scene.pass_by(1) == "running"

    assert scene.pass_by(HEALTHY_SECONDS) == "running"
    assert scene.pass_by(1) == "queued"


def test_every_round_asks_for_the_lock_so_that_its_time_of_health_is_one(scene: Scene, bench: Bench) -> None:
    assert scene.pass_by(1) == "running"
    others = sqlite3.connect(bench.database.url.database or "", isolation_level=None)
    others.execute("BEGIN IMMEDIATE")
    bench.database.end_by(0)

    with pytest.raises(OperationalError, match="locked"):
        scene.upkeep.round()
    others.close()
