"""Workers that hang are replaced: stopped, stuck in a read, or out of what a process needs."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import ask, job_at, running, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess, is_alive
from tests.service.payloads import text

SLOW = text(4_000_000)
SLOW_OPTIONS = "format=xz&level=small"
LONG_SECONDS = 120.0
"""For a worker to be found out and replaced, and for its job to be done, on a machine that others use too."""


def is_locked(service: ServiceProcess) -> bool:
    """Whether somebody holds the database's lock for writing."""
    path = service.data_dir / "vacpack.db"
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def stop(service: ServiceProcess, *pids: int, in_transaction: bool) -> None:
    """Stop these processes, inside a write transaction of theirs or outside of one, as is asked."""

    def try_it() -> bool:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        # Others write now and then: only who is stopped holds the lock for long.
        is_held = all(is_locked(service) for _ in range(200))
        if is_held != in_transaction:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        return is_held == in_transaction

    until(try_it, seconds=LONG_SECONDS, what="a stop")


def replaced(service: ServiceProcess, pid: int) -> int:
    """Wait until another worker is there than the one that was; return its process id."""

    def other() -> int | None:
        assert service.process.poll() is None
        found = service.worker_pid()
        return found if found != pid else None

    return until(other, seconds=LONG_SECONDS, what="another worker")


def events(service: ServiceProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in service.events() if line.get("event") == event]


def losses(service: ServiceProcess) -> list[int]:
    return [row[0] for row in service.rows("SELECT losses FROM jobs ORDER BY seq")]


def metric(service: ServiceProcess, name: str) -> str:
    answer = ask(f"{service.url}/metrics", Authorization=f"Bearer {service.admin_token()}")
    return next(line.split()[-1] for line in answer.body.decode().splitlines() if line.startswith(name))


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_stopped_worker_is_replaced_and_its_job_is_done(start_service: StartService, in_transaction: bool) -> None:
    """Inside a transaction it also kept everybody from writing, and nothing but its end lets go of that."""
    service = start_service(hang_seconds=4, heartbeat_seconds=0.01)
    job = upload(service.url, SLOW, options=SLOW_OPTIONS)
    running(service.url, job["id"])
    pid = service.worker_pid()

    stop(service, pid, in_transaction=in_transaction)

    replaced(service, pid)
    assert not is_alive(pid)
    done = succeeded(service.url, job["id"], seconds=LONG_SECONDS)
    assert done["attempt"] == 1, "an attempt that its worker did not survive is not counted"
    assert losses(service) == [1]
    [told] = events(service, "a worker hangs and is replaced")
    assert (told["pid"], told["hung"]) == (pid, "the whole process")
    assert told["for_seconds"] >= 4
    assert metric(service, 'vacpack_workers_replaced_total{reason="hung"}') == "1.0"
    until(lambda: ask(f"{service.url}/readyz").status == 200, what="a worker that is ready")
    assert upload(service.url, b"taken again")["status"] == "queued"


@pytest.fixture
def separate(start_service: StartService) -> Iterator[Callable[..., tuple[ServiceProcess, ServiceProcess]]]:
    """A service without a worker, and a worker without HTTP that is launched by the test."""
    workers = []

    def begin(**settings: Any) -> tuple[ServiceProcess, ServiceProcess]:
        service = start_service(embedded_worker="false", **settings)
        worker = ServiceProcess(service.folder / "worker", shutdown_grace_seconds=1, **settings)
        worker.data_dir = service.data_dir
        workers.append(worker)
        return service, worker

    yield begin
    for worker in workers:
        worker.kill()


def test_a_file_that_cannot_be_read_to_its_end_hangs_its_own_job_only(
    separate: Callable[..., tuple[ServiceProcess, ServiceProcess]],
) -> None:
    """A disk that does not answer: here a pipe that nobody writes to, in the place of the upload."""
    service, worker = separate(hang_seconds=4, max_worker_losses=2)
    stuck, other = upload(service.url, SLOW), upload(service.url, b"quick " * 1000)
    [key] = [row[0] for row in service.rows("SELECT key FROM sources WHERE size_bytes = ?", len(SLOW))]
    source = service.data_dir / "files" / key
    source.unlink()
    os.mkfifo(source)

    worker.launch("work")

    assert succeeded(service.url, other["id"], seconds=LONG_SECONDS)
    until(lambda: job_at(service.url, stuck["id"])["status"] == "failed", seconds=LONG_SECONDS, what="its failure")
    assert job_at(service.url, stuck["id"])["error"]["code"] == "worker_lost"
    assert losses(service) == [2, 0]
    told = events(worker, "a worker hangs and is replaced")
    assert len(told) >= 2
    assert {line["hung"] for line in told} == {f"probing job {stuck['id']}"}


def test_the_service_takes_up_leases_that_are_over_though_no_worker_of_its_own_lives(
    separate: Callable[..., tuple[ServiceProcess, ServiceProcess]],
) -> None:
    """Supervisor and worker are both stopped, as a container can be: nobody there can judge or replace anything."""
    service, worker = separate(lease_seconds=3)
    worker.launch("work")
    job = upload(service.url, SLOW, options=SLOW_OPTIONS)
    running(service.url, job["id"])
    pids = worker.process.pid, worker.worker_pid()

    stop(service, *pids, in_transaction=False)
    until(lambda: job_at(service.url, job["id"])["status"] == "queued", what="its rescue")

    [told] = events(service, "leases that were over have been taken up")
    assert told["jobs"] == 1
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert succeeded(service.url, job["id"], seconds=LONG_SECONDS)["attempt"] == 2
    until(lambda: ask(f"{service.url}/readyz").status == 200, what="a worker that is ready")


def test_readyz_says_so_while_a_worker_and_its_lease_cannot_be_taken_up(
    separate: Callable[..., tuple[ServiceProcess, ServiceProcess]],
) -> None:
    service, worker = separate(lease_seconds=3)
    worker.launch("work")
    job = upload(service.url, SLOW, options=SLOW_OPTIONS)
    running(service.url, job["id"])
    pids = worker.process.pid, worker.worker_pid()

    stop(service, *pids, in_transaction=True)

    until(lambda: metric(service, "vacpack_leases_overdue") == "1.0", what="the end of its lease")
    answer = ask(f"{service.url}/readyz")
    assert (answer.status, answer.json["code"]) == (503, "not_healthy")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    until(lambda: ask(f"{service.url}/readyz").status == 200, seconds=LONG_SECONDS, what="readiness")


def test_a_worker_that_has_run_out_of_descriptors_ends_and_is_replaced(start_service: StartService) -> None:
    service = start_service(hang_seconds=3)
    pid = service.worker_pid()
    until(lambda: ask(f"{service.url}/readyz").status == 200, what="a worker that is ready")

    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))

    replaced(service, pid)
    [told] = events(service, "this worker ends: a duty keeps failing")
    assert told["for_seconds"] >= 3
    assert [line["by"] for line in events(service, "worker ended")] == ["exit 70"]
    assert metric(service, 'vacpack_workers_replaced_total{reason="gave_up"}') == "1.0"
    assert succeeded(service.url, upload(service.url, b"done again")["id"], seconds=LONG_SECONDS)


def test_a_worker_without_memory_never_keeps_a_job(start_service: StartService) -> None:
    service = start_service(hang_seconds=3, lease_seconds=5, retry_pause_seconds=1)
    pid = service.worker_pid()
    until(lambda: ask(f"{service.url}/readyz").status == 200, what="a worker that is ready")
    size_bytes = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size_bytes // 2, size_bytes // 2))

    jobs = [upload(service.url, SLOW, options=SLOW_OPTIONS) for _ in range(2)]

    def all_ended() -> bool:
        return all(job_at(service.url, job["id"])["status"] in ("succeeded", "failed") for job in jobs)

    until(all_ended, seconds=LONG_SECONDS, what="the end of both")
    until(lambda: ask(f"{service.url}/readyz").status == 200, seconds=LONG_SECONDS, what="readiness")
