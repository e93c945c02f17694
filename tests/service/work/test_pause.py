"""When a worker tries no job, and when it tries again."""

from __future__ import annotations

import errno
import logging
import sqlite3
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from service.codecs.codec import Format
from service.work import worker as worker_module
from service.work.pause import LONGEST_SECONDS, Pause
from service.work.processor import Processor, RetryPauses
from service.work.worker import Worker
from storage.errors import StorageFailed, StorageFull
from storage.jobs.worker_table import paused
from storage.trouble import Trouble
from tests.service.payloads import text
from tests.service.work.bench import WORKER, Bench, until
from tests.service.work.faulty import FakeCodec, FaultyStore, raising
from tests.storage.job_builder import attempts_of


class Machine:
    """A clock, room and trouble as a test sets them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.free_bytes = 0
        self.trouble: Trouble | None = None
        self.probes = 0
        self.pause = Pause(self.probe, lambda: self.free_bytes, clock=lambda: self.now)

    def probe(self) -> Trouble | None:
        self.probes += 1
        return self.trouble


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_without_trouble_nothing_is_asked(machine: Machine) -> None:
    assert machine.pause.is_over()
    assert machine.probes == 0


def test_it_lasts_until_the_machine_is_found_well(machine: Machine) -> None:
    machine.trouble = Trouble.INODES
    assert machine.pause.begin(Trouble.ROOM) == 1.0

    machine.now = 0.9
    assert not machine.pause.is_over()
    assert machine.probes == 0
    machine.now = 1.0
    assert not machine.pause.is_over()
    assert machine.pause.trouble is Trouble.INODES
    machine.trouble, machine.now = None, 2.0
    assert machine.pause.is_over()
    assert machine.pause.trouble is None


def test_each_time_that_jobs_meet_trouble_again_it_lasts_longer_up_to_a_minute(machine: Machine) -> None:
    lengths = []
    for _ in range(9):
        lengths.append(machine.pause.begin(Trouble.MEMORY))
        machine.now += lengths[-1] - 0.01
        assert not machine.pause.is_over()
        machine.now += 0.01
        assert machine.pause.is_over()

    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    machine.pause.end()
    assert machine.pause.begin(Trouble.MEMORY) == 1


def test_jobs_that_were_tried_together_prolong_nothing(machine: Machine) -> None:
    assert [machine.pause.begin(Trouble.ROOM) for _ in range(8)] == [1.0] * 8


def test_room_that_comes_back_ends_it_early_but_not_what_the_attempts_gave_back(machine: Machine) -> None:
    for _ in range(7):
        machine.pause.begin(Trouble.DISK)
        machine.now += LONGEST_SECONDS
        assert machine.pause.is_over()
    machine.free_bytes = 1000
    machine.pause.begin(Trouble.ROOM)
    machine.free_bytes = 3000
    machine.pause.begin(Trouble.ROOM)

    assert not machine.pause.is_over()
    machine.free_bytes = 3001
    assert machine.pause.is_over()


def test_beginning_and_end_are_told_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine.trouble = Trouble.ROOM
    for _ in range(5):
        machine.pause.begin(Trouble.ROOM)
        machine.now += 2
        machine.pause.is_over()
    machine.trouble, machine.now = None, 60
    machine.pause.is_over()

    assert caplog.messages == ["no job is claimed for now: no room is left on the disk", "jobs are claimed again"]
    assert caplog.records[1].seconds == 60  # type: ignore[attr-defined]  # an extra


TROUBLES: list[tuple[Exception, Trouble]] = [
    (StorageFull("writing: No space left on device"), Trouble.ROOM),
    (OSError(errno.EIO, "Input/output error"), Trouble.DISK),
    (OSError(errno.EMFILE, "Too many open files"), Trouble.DESCRIPTORS),
    (OSError(errno.EROFS, "Read-only file system"), Trouble.READ_ONLY),
    (MemoryError(), Trouble.MEMORY),
    (RuntimeError("can't start new thread"), Trouble.THREADS),
]


@pytest.mark.parametrize(("error", "trouble"), TROUBLES, ids=[trouble for _, trouble in TROUBLES])
def test_a_job_that_meets_trouble_of_the_machine_is_given_back_uncounted(
    bench: Bench, machine: Machine, error: Exception, trouble: Trouble
) -> None:
    job_id = bench.submit(text(60_000), max_attempts=1)
    job, attempt = bench.claim()
    tools = bench.processor(FaultyStore(bench.files_dir, raising(error)))._tools

    Processor(bench.database, tools, RetryPauses(0, 0), pause=machine.pause).process(job, attempt)

    row = bench.row(job_id)
    assert (row["status"], row["attempts"], row["error_code"]) == ("queued", 0, None)
    assert [(a["outcome"], a["error_code"]) for a in attempts_of(bench.database, job_id)] == [("paused", trouble)]
    assert machine.pause.trouble is trouble
    assert bench.parts() == []
    assert all(key.startswith("s-") for key in bench.stored_keys())


class UnreadableFile:
    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> UnreadableFile:
        return self

    def __exit__(self, *_: object) -> None: ...

    def seek(self, _: int) -> None: ...

    def read(self, _: int) -> bytes:
        raise OSError(self.number, "said the system")


class UnreadableStore(FaultyStore):
    def __init__(self, bench: Bench, number: int) -> None:
        super().__init__(bench.files_dir, lambda content: content)
        self.number = number

    def open(self, key: Any) -> Any:
        return UnreadableFile(self.number)


@pytest.mark.parametrize("target", ["auto", "gzip", "zip"])
def test_an_upload_that_the_disk_does_not_give_back_counts_as_its_try(bench: Bench, target: str) -> None:
    bench.submit(text(60_000), format=target)

    row = bench.run(UnreadableStore(bench, errno.EIO))

    assert (row["status"], row["attempts"], row["error_code"]) == ("queued", 1, "storage_failed")


def test_but_not_where_no_file_can_be_read(bench: Bench) -> None:
    bench.submit(text(60_000))

    row = bench.run(UnreadableStore(bench, errno.ENOMEM))

    assert (row["status"], row["attempts"]) == ("queued", 0)


def test_a_file_that_may_not_be_opened_counts_where_its_folder_can_be_used(bench: Bench) -> None:
    class Closed(FaultyStore):
        def open(self, key: Any) -> Any:
            raise StorageFailed("opening") from OSError(errno.EACCES, "Permission denied")

    bench.submit(text(60_000))

    row = bench.run(Closed(bench.files_dir, lambda content: content))

    assert (row["attempts"], row["error_code"]) == (1, "storage_failed")


def test_while_it_lasts_nothing_is_claimed_and_the_table_says_why(bench: Bench, machine: Machine) -> None:
    machine.trouble = Trouble.ROOM
    processor = Processor(bench.database, bench.processor()._tools, RetryPauses(0, 0), pause=machine.pause)
    broken = Processor(
        bench.database,
        bench.processor(codecs={Format.ZSTD: FakeCodec(raising(StorageFull("full")))})._tools,
        RetryPauses(0, 0),
        pause=machine.pause,
    )
    settings = bench.with_settings(poll_seconds=0.05).settings
    worker = Worker(
        WORKER,
        bench.database,
        settings,
        lambda job, attempt: (broken if machine.trouble else processor).process(job, attempt),
        pause=machine.pause,
        end_by=processor.end_by,
    )
    jobs = [bench.submit(text(60_000)) for _ in range(8)]
    worker.start()
    try:
        until(lambda: waiting(bench) == {"room": 1})
        until(lambda: is_asked_again(machine))
        tried = {bench.row(job)["epoch"] for job in jobs}
        assert sum(bench.row(job)["epoch"] for job in jobs) <= settings.worker_jobs
        assert tried <= {0, 1}
        machine.trouble = None

        def all_succeed() -> bool:
            machine.now += 1
            return all(bench.status(job) == "succeeded" for job in jobs)

        until(all_succeed)
        until(lambda: waiting(bench) == {})
    finally:
        worker.drain(0)


def failing_once(error: Exception) -> Any:
    """Return a stand-in for a method that raises once and then calls it."""
    errors = [error]

    def stand_in(real: Any) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            if errors:
                raise errors.pop()
            return real(*arguments, **named)

        return called

    return stand_in


def full() -> OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return OperationalError("UPDATE jobs", {}, error)


def test_a_claim_that_finds_no_room_begins_a_pause_and_costs_no_job_its_try(
    bench: Bench, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "claim", failing_once(full())(worker_module.claim))
    processor = Processor(bench.database, bench.processor()._tools, RetryPauses(0, 0), pause=machine.pause)
    settings = bench.with_settings(poll_seconds=0.05).settings
    worker = Worker(WORKER, bench.database, settings, processor.process, pause=machine.pause)
    job_id = bench.submit(text(60_000))
    worker.start()
    try:
        until(lambda: waiting(bench) == {"room": 1})
        assert bench.row(job_id)["epoch"] == 0
        machine.now = 100
        until(lambda: bench.status(job_id) == "succeeded")
    finally:
        worker.drain(0)


def test_a_job_for_which_no_thread_can_be_started_is_given_back(bench: Bench, machine: Machine) -> None:
    processor = Processor(bench.database, bench.processor()._tools, RetryPauses(0, 0), pause=machine.pause)
    settings = bench.with_settings(poll_seconds=0.05).settings
    worker = Worker(WORKER, bench.database, settings, processor.process, pause=machine.pause, end_by=processor.end_by)
    refused = failing_once(RuntimeError("can't start new thread"))
    worker._pool.submit = refused(worker._pool.submit)  # type: ignore[method-assign]  # a fault
    job_id = bench.submit(text(60_000))
    worker.start()
    try:
        until(lambda: waiting(bench) == {"threads": 1})
        assert bench.row(job_id)["attempts"] == 0
        machine.now = 100
        until(lambda: bench.status(job_id) == "succeeded")
    finally:
        worker.drain(0)


def is_asked_again(machine: Machine) -> bool:
    machine.now += 1
    return machine.probes > 3


def waiting(bench: Bench) -> dict[str, int]:
    with bench.database.read() as connection:
        return paused(connection)
