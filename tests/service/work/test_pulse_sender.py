"""What a child tells of itself, and when it ends itself."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy.exc import OperationalError

from service.machine import loop as loop_module
from service.machine.loop import Loop
from service.work.attempt import Attempt
from service.work.pause import Pause
from service.work.pulse import Doing, Pulse
from service.work.pulse_sender import PulseSender
from service.work.worker import Worker
from storage.errors import StorageFull, StorageLost
from storage.jobs.job_attempts import ClaimedJob
from storage.lifecycle import Phase
from storage.trouble import Trouble
from tests.service.work.bench import WORKER, Bench, until


def sqlite_error(code: int) -> OperationalError:
    error = sqlite3.OperationalError("an error")
    error.sqlite_errorcode = code
    return OperationalError("UPDATE", {}, error)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("service.work.pulse_sender.PULSE_SECONDS", 0.01)


def gives_up(
    pipe: tuple[int, int], bench: Bench, error: Exception, *, is_essential: bool = True, failures: int = 200
) -> bool:
    """Say whether a sender gives up on a duty that fails so often."""
    given_up = threading.Event()
    tries: list[int] = []

    def duty() -> None:
        tries.append(1)
        raise error

    sender = PulseSender(pipe[1], patience_seconds=0.05, give_up=given_up.set)
    loop = Loop("a duty", duty, pause_seconds=0.001)
    worker = idle(bench)
    if is_essential:
        worker.loops = (loop,)
    sender.watch(worker, [] if is_essential else [loop])
    sender.start()
    loop.start()
    until(lambda: given_up.is_set() or len(tries) >= failures)
    sender.stop()
    loop.stop()
    return given_up.is_set()


def idle(bench: Bench) -> Worker:
    return Worker(WORKER, bench.database, bench.settings, lambda job, attempt: None)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.EMFILE, "too many open files"),
        RuntimeError("can't start new thread"),
        ValueError("a fault of the program"),
        sqlite_error(sqlite3.SQLITE_NOMEM),
        sqlite_error(sqlite3.SQLITE_CORRUPT),
        sqlite_error(sqlite3.SQLITE_IOERR_SHMMAP),
    ],
    ids=repr,
)
def test_a_duty_that_keeps_failing_ends_the_process(
    pipe: tuple[int, int], bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert gives_up(pipe, bench, error, failures=10**9)
    assert "this worker ends: a duty keeps failing" in caplog.messages


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (MemoryError(), True),
        (OSError(errno.EMFILE, "too many open files"), True),
        (RuntimeError("can't start new thread"), True),
        (PermissionError(errno.EPERM, "one file"), False),
        (OSError(errno.EIO, "one file"), False),
        (OSError(errno.ENOSPC, "no space left on device"), False),
    ],
    ids=repr,
)
def test_a_sweep_ends_the_process_for_what_a_new_one_has_again_only(
    pipe: tuple[int, int], bench: Bench, error: Exception, ends: bool
) -> None:
    assert gives_up(pipe, bench, error, is_essential=False, failures=10**9 if ends else 200) == ends


@pytest.mark.parametrize(
    "error",
    [
        sqlite_error(sqlite3.SQLITE_FULL),
        sqlite_error(sqlite3.SQLITE_BUSY),
        sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT),
        sqlite_error(sqlite3.SQLITE_READONLY),
        sqlite_error(sqlite3.SQLITE_IOERR_FSYNC),
        OSError(errno.ENOSPC, "no space left on device"),
        StorageFull("no room"),
        StorageLost("the database was removed", "/somewhere"),
    ],
    ids=repr,
)
def test_trouble_of_the_machine_is_waited_for(pipe: tuple[int, int], bench: Bench, error: Exception) -> None:
    assert not gives_up(pipe, bench, error)


def test_a_duty_that_fails_now_and_then_is_no_reason(pipe: tuple[int, int], bench: Bench) -> None:
    given_up = threading.Event()
    tries: list[int] = []

    def duty() -> None:
        tries.append(1)
        if len(tries) % 2:
            raise MemoryError

    sender = PulseSender(pipe[1], patience_seconds=0.05, give_up=given_up.set)
    loop = Loop("a duty", duty, pause_seconds=0.001)
    sender.watch(idle(bench), [loop])
    sender.start()
    loop.start()
    until(lambda: len(tries) > 100)
    sender.stop()
    loop.stop()

    assert not given_up.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_duty_whose_thread_has_ended_ends_the_process(pipe: tuple[int, int], bench: Bench) -> None:
    given_up = threading.Event()

    def duty() -> None:
        raise SystemExit

    sender = PulseSender(pipe[1], patience_seconds=1000, give_up=given_up.set)
    loop = Loop("a duty", duty, pause_seconds=0.001)
    sender.watch(idle(bench), [loop])
    sender.start()
    loop.start()
    until(given_up.is_set)
    sender.stop()


def test_a_supervisor_that_reads_nothing_holds_nobody_up(pipe: tuple[int, int], bench: Bench) -> None:
    sender = PulseSender(pipe[1], patience_seconds=1000, give_up=lambda: None)
    for _ in range(10_000):
        sender.say("x" * 100)

    assert os.read(pipe[0], 101) == b"x" * 100 + b"\n"


def test_a_pulse_tells_of_the_start_and_then_of_each_attempt(pipe: tuple[int, int], bench: Bench) -> None:
    sender = PulseSender(pipe[1], patience_seconds=1000, give_up=lambda: None)
    sender.start()
    first = Pulse.from_line(os.read(pipe[0], 10_000).split(b"\n")[0])
    assert first is not None
    assert first.doing == {"the start": Doing(0)}

    begun, may_end = threading.Event(), threading.Event()

    def process(job: ClaimedJob, attempt: Attempt) -> None:
        attempt.enter(Phase.COMPRESSING)
        attempt.advance(10)
        attempt.enter(Phase.STORING)
        attempt.allow(2.5)
        begun.set()
        may_end.wait()

    worker = Worker(WORKER, bench.database, bench.settings, process)
    job_id = bench.submit(b"a")
    worker.start()
    try:
        assert begun.wait(20)
        until(lambda: worker.doing().get(f"storing job {job_id}") == Doing(4, 2.5))
    finally:
        may_end.set()
        worker.drain(1)
        sender.stop()
    assert f"storing job {job_id}" not in worker.doing()


@pytest.mark.parametrize(
    ("trouble", "ends"), [(Trouble.MEMORY, True), (Trouble.THREADS, True), (Trouble.ROOM, False), (Trouble.DISK, False)]
)
def test_a_pause_that_only_a_new_process_can_end_ends_this_one(
    pipe: tuple[int, int], bench: Bench, trouble: Trouble, ends: bool
) -> None:
    now, looks = 100.0, 0
    given_up = threading.Event()
    pause = Pause(clock=lambda: now)
    pause.begin(trouble)
    worker = Worker(WORKER, bench.database, bench.settings, lambda job, attempt: None, pause=pause)
    waits = worker.waits_in_vain_for

    def looked() -> tuple[Trouble, float] | None:
        nonlocal looks
        looks += 1
        return waits()

    worker.waits_in_vain_for = looked  # type: ignore[method-assign]  # Counts the looks.
    sender = PulseSender(pipe[1], patience_seconds=120, give_up=given_up.set)
    sender.watch(worker, [])
    sender.start()
    until(lambda: looks > 3)
    assert not given_up.is_set()

    now += 121
    looks = 0
    until(lambda: given_up.is_set() or looks > 50)
    sender.stop()

    assert given_up.is_set() == ends


def test_a_pause_counts_from_the_first_trouble_until_a_job_succeeds() -> None:
    now = 100.0
    pause = Pause(clock=lambda: now)
    pause.begin(Trouble.MEMORY)
    now += 50
    assert pause.is_over()
    assert pause.vain_seconds == 0
    pause.begin(Trouble.MEMORY)
    assert pause.vain_seconds == 50

    now += 50
    assert pause.is_over()
    pause.end()
    pause.begin(Trouble.MEMORY)

    assert pause.vain_seconds == 0
