"""Each duty of the sweep, over a real database and real files."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from service.work.life_lock import LifeLocks
from service.work.sweep import SweepCounts, Sweeper
from service.work.sweep_loops import SweepLoops
from storage import audit_table
from storage.audit_table import Action, Actor, NewEvent
from storage.errors import StorageFailed, StorageLost
from storage.files.local_files import LocalFiles
from storage.files.local_quarantine import LocalQuarantine
from storage.ids import Key, new_source_key, random_id, result_key
from storage.jobs import job_views, worker_table
from tests.service.payloads import text
from tests.service.work.bench import PATIENCE_SECONDS, Bench, until
from tests.storage import job_builder
from tests.storage.job_builder import HOUR, act, attempts_of, change_row


@pytest.fixture
def locks(bench: Bench) -> LifeLocks:
    return LifeLocks(Path(bench.settings.locks_dir))


@pytest.fixture
def sweeper(bench: Bench, locks: LifeLocks) -> Sweeper:
    return Sweeper(bench.database, bench.store, locks, bench.settings, receives_alone=True)


def keep_under(bench: Bench, key: Key) -> None:
    part = bench.store.create(key)
    part.write([b"left behind"])
    part.commit()


def enter(bench: Bench, worker_id: str) -> None:
    act(bench.database, lambda c: worker_table.register(c, worker_id, host="here", pid=1, capacity=2))


def workers(bench: Bench) -> int:
    return act(bench.database, lambda c: job_views.live_workers(c, within_milliseconds=10**15))


def test_jobs_of_a_worker_that_died_with_its_supervisor_are_queued_again_and_nobody_is_blamed(
    bench: Bench, locks: LifeLocks, sweeper: Sweeper
) -> None:
    dead, alive = random_id(), random_id()
    os.close(locks.take(dead).fd)
    living = locks.take(alive)
    for worker_id in (dead, alive):
        enter(bench, worker_id)
    lost = bench.submit(text(1000))
    job = job_builder.claim(bench.database, dead)
    assert job is not None
    keep_under(bench, result_key(job.id, job.epoch))
    held = bench.submit(text(1000))
    job_builder.claim(bench.database, alive)

    assert sweeper.rescue_dead() == 1

    row = bench.row(lost)
    assert (row["status"], row["attempts"], row["losses"], row["is_isolated"]) == ("queued", 0, 0, False)
    assert [attempt["outcome"] for attempt in attempts_of(bench.database, lost)] == ["interrupted"]
    assert bench.status(held) == "running"
    assert all(key.startswith("s-") for key in bench.stored_keys())
    assert workers(bench) == 1
    assert sweeper.rescue_dead() == 0
    living.end()


def test_a_job_whose_lease_is_over_is_queued_again(bench: Bench, sweeper: Sweeper) -> None:
    job_id = bench.submit(text(1000))
    job_builder.claim(bench.database, lease=-1)

    assert sweeper.rescue_lapsed() == 1

    assert (bench.status(job_id), bench.row(job_id)["error_code"]) == ("queued", "worker_stalled")


def test_expired_jobs_lose_their_files_and_pruned_ones_their_rows(bench: Bench, sweeper: Sweeper) -> None:
    kept = bench.submit(text(1000), ttl_milliseconds=HOUR)
    bench.run()
    gone = bench.submit(text(1000), ttl_milliseconds=0)
    bench.run()

    assert sweeper.rows() == SweepCounts(expired_files=1)

    assert bench.status(gone) == "expired"
    assert bench.stored_keys() == {bench.row(kept)["result_key"]}
    change_row(bench.database, gone, expires_at=1)
    assert sweeper.rows() == SweepCounts(pruned=1)
    assert job_builder.find_row(bench.database, gone) is None
    assert sweeper.rows() == SweepCounts()


def test_expiry_goes_on_over_several_batches(bench: Bench, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.work.sweep.BATCH", 2)
    for _ in range(5):
        bench.submit(b"x", ttl_milliseconds=0)
        bench.run()

    assert sweeper.expire() == 5
    assert bench.stored_keys() == set()


def test_workers_that_were_silent_for_an_hour_are_forgotten(bench: Bench, sweeper: Sweeper) -> None:
    enter(bench, random_id())
    assert sweeper.forget_silent_workers() == 0

    act(bench.database, lambda c: c.exec_driver_sql("UPDATE workers SET heartbeat_at = 0"))

    assert sweeper.forget_silent_workers() == 1
    assert workers(bench) == 0


def test_files_that_no_row_names_are_removed_and_all_others_kept(bench: Bench, sweeper: Sweeper) -> None:
    queued = bench.submit(text(1000))
    running = bench.submit(text(1000))
    change_row(bench.database, queued, run_at=2**50)
    job, _ = bench.claim()
    assert job.id == running
    named = bench.stored_keys() | {result_key(job.id, job.epoch)}
    keep_under(bench, result_key(job.id, job.epoch))
    keep_under(bench, result_key(job.id, job.epoch + 1))
    keep_under(bench, result_key(queued, 1))
    keep_under(bench, result_key(random_id(), 1))
    fresh = new_source_key()
    keep_under(bench, fresh)

    assert sweeper.files(source_grace_seconds=60) == SweepCounts(orphans=3)
    assert bench.stored_keys() == named | {fresh}

    assert sweeper.files(source_grace_seconds=0) == SweepCounts(orphans=1)
    assert bench.stored_keys() == named


def test_a_source_is_an_orphan_once_its_grace_is_over(bench: Bench, sweeper: Sweeper) -> None:
    key = bench.keep(b"abandoned")
    path = bench.files_dir / key
    os.utime(path, (path.stat().st_mtime - 61,) * 2)

    assert sweeper.remove_orphans(source_grace_seconds=60) == 1


def test_a_source_that_is_held_is_no_orphan_whatever_its_age(bench: Bench, sweeper: Sweeper) -> None:
    key = bench.keep(b"the first of a form")
    os.utime(bench.files_dir / key, (1, 1))
    elsewhere = LocalFiles(bench.files_dir)
    elsewhere.hold(key)

    assert sweeper.remove_orphans(source_grace_seconds=60) == 0

    elsewhere.release([key])
    assert sweeper.remove_orphans(source_grace_seconds=60) == 1


@pytest.mark.parametrize("ahead_seconds", [7200, -7200])
def test_a_step_of_the_wall_clock_makes_no_source_an_orphan(
    bench: Bench, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch, ahead_seconds: float
) -> None:
    before = bench.keep(b"stored before the step")
    wall = time.time() + ahead_seconds
    monkeypatch.setattr("service.work.sweep.time.time", lambda: wall)
    after = bench.keep(b"stored after it")
    os.utime(bench.files_dir / after, (wall, wall))

    assert sweeper.remove_orphans(source_grace_seconds=600) == 0
    assert bench.stored_keys() == {before, after}


def test_many_orphans_are_looked_up_in_batches(bench: Bench, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.work.sweep.BATCH", 2)
    for _ in range(5):
        bench.keep(b"x")

    assert sweeper.remove_orphans(source_grace_seconds=0) == 5


def test_parts_of_dead_writers_are_removed(bench: Bench, sweeper: Sweeper) -> None:
    alive = bench.store.create(new_source_key())
    (bench.files_dir / f"{new_source_key()}.part").write_bytes(b"half")

    assert sweeper.files(source_grace_seconds=60) == SweepCounts(dead_parts=1)

    alive.commit()


def test_audit_events_are_pruned_by_age_in_batches(
    bench: Bench, locks: LifeLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.work.sweep.BATCH", 2)
    settings = replace(bench.settings, audit_retention_milliseconds=HOUR)
    event = NewEvent(Action.JOBS_LISTED, Actor.ADMIN)
    for age in (3 * HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR, HOUR // 2):
        act(bench.database, lambda c, age=age: audit_table.add(c, event, age_milliseconds=age))  # type: ignore[misc]

    assert Sweeper(bench.database, bench.store, locks, settings).rows() == SweepCounts(pruned_audit_events=4)
    assert [row["id"] for row in job_builder.everything(bench.database)["audit_events"]] == [5]


def test_a_worker_whose_files_cannot_be_removed_is_looked_at_again(
    bench: Bench, locks: LifeLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = random_id()
    os.close(locks.take(dead).fd)
    job_id = bench.submit(text(1000))
    job_builder.claim(bench.database, dead)
    sweeper = Sweeper(bench.database, bench.store, locks, bench.settings)
    with monkeypatch.context() as broken:

        def refuse(_: object, __: object) -> None:
            raise StorageFailed("deleting")

        broken.setattr(LocalQuarantine, "take", refuse)
        with pytest.raises(StorageFailed):
            sweeper.rescue_dead()
    assert bench.status(job_id) == "queued"

    assert sweeper.rescue_dead() == 0
    assert locks.dead() == []


def test_a_worker_sweeps_as_long_as_it_lives_and_is_woken_for_what_was_rescued(
    bench: Bench, locks: LifeLocks, sweeper: Sweeper
) -> None:
    keep_under(bench, result_key(random_id(), 1))
    expiring = bench.submit(b"x", ttl_milliseconds=0)
    bench.run()
    dead = random_id()
    lost = bench.submit(text(1000))
    job_builder.claim(bench.database, dead)
    woken = threading.Event()
    loops = SweepLoops(sweeper, bench.settings, woken.set)

    loops.start()
    os.close(locks.take(dead).fd)
    until(lambda: bench.status(expiring) == "expired" and len(bench.stored_keys()) == 1)
    assert woken.wait(PATIENCE_SECONDS)

    loops.stop()
    assert bench.status(lost) == "queued"


def put_aside(bench: Bench, content: bytes = b"left behind") -> Key:
    key = bench.keep(content)
    bench.store.quarantine.take([key])
    return key


def aside(bench: Bench) -> set[str]:
    return {file.key for file in bench.store.quarantine.files()}


def test_orphans_and_what_dead_workers_left_are_set_aside_and_not_deleted(
    bench: Bench, locks: LifeLocks, sweeper: Sweeper
) -> None:
    dead = random_id()
    os.close(locks.take(dead).fd)
    bench.submit(text(1000))
    job = job_builder.claim(bench.database, dead)
    assert job is not None
    output, orphan = result_key(job.id, job.epoch), bench.keep(b"nobody's")
    keep_under(bench, output)

    sweeper.rescue_dead()
    sweeper.files(source_grace_seconds=0)

    assert aside(bench) == {output, orphan}


def test_what_a_row_names_after_all_is_put_back(bench: Bench, sweeper: Sweeper) -> None:
    job_id = bench.submit(text(1000))
    (source,) = bench.stored_keys()
    bench.store.quarantine.take([Key(source)])
    stray = put_aside(bench)

    assert sweeper.files(source_grace_seconds=60) == SweepCounts(put_back=1)

    assert (bench.stored_keys(), aside(bench)) == ({source}, {stray})
    assert bench.run()["status"] == "succeeded"
    assert bench.status(job_id) == "succeeded"


def test_a_grace_of_zero_is_for_the_one_that_could_receive(bench: Bench, locks: LifeLocks) -> None:
    bench.keep(b"arriving elsewhere")

    with pytest.raises(ValueError, match="receiving"):
        Sweeper(bench.database, bench.store, locks, bench.settings).files(source_grace_seconds=0)

    assert len(bench.stored_keys()) == 1


def test_what_was_set_aside_makes_way_when_less_is_free_than_is_kept_free(bench: Bench, locks: LifeLocks) -> None:
    put_aside(bench)
    free_bytes = bench.store.space().free_bytes
    roomy, cramped = replace(bench.settings, min_free_bytes=0), replace(bench.settings, min_free_bytes=2 * free_bytes)

    assert Sweeper(bench.database, bench.store, locks, roomy).make_room() == 0
    assert aside(bench)
    assert Sweeper(bench.database, bench.store, locks, cramped).make_room() == len(b"left behind")
    assert not aside(bench)


@pytest.mark.parametrize("pulled", ["files", "database"])
def test_a_sweep_over_what_was_pulled_away_touches_nothing(
    bench: Bench, sweeper: Sweeper, database_path: Path, pulled: str
) -> None:
    orphan = bench.keep(b"nobody's")
    put_aside(bench)
    if pulled == "database":
        database_path.rename(database_path.with_name("elsewhere"))
    else:
        (bench.files_dir / "owner").write_text("5\n")

    with pytest.raises(StorageLost):
        sweeper.remove_orphans(source_grace_seconds=0)
    if pulled == "files":
        with pytest.raises(StorageLost):
            sweeper.files(source_grace_seconds=0)

    assert bench.stored_keys() == {orphan}
    assert len(aside(bench)) == 1
