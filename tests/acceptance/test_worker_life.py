"""The worker beside the service: restarted when it dies, gone when its parent is, and found without a wake."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, job_at, running, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import VACPACK, ServiceProcess, end, environment, is_alive
from tests.service.payloads import text

SLOW = text(4_000_000)
VERY_SLOW = text(24_000_000)  # Longer than the grace, on any machine.
"""Takes xz at its best level a few seconds."""
SLOW_OPTIONS = "format=xz&level=small"


def test_a_killed_worker_is_replaced_and_its_job_is_done(start_service: StartService) -> None:
    service = start_service()
    job = upload(service.url, SLOW, options=SLOW_OPTIONS)
    running(service.url, job["id"])
    worker = service.worker_pid()

    end(worker)

    done = succeeded(service.url, job["id"], seconds=60)
    assert service.worker_pid() != worker
    assert done["attempt"] == 1, "an attempt that its worker did not survive is not counted"
    [losses] = service.rows("SELECT losses FROM jobs")
    assert losses[0] <= 1
    assert ask(f"{service.url}/jobs/{job['id']}/original").body == SLOW
    until(lambda: service.stored() == service.named(), what="nothing but the result")


def test_status_and_uploads_go_on_without_a_worker(start_service: StartService) -> None:
    service = start_service()
    end(service.worker_pid())

    job = upload(service.url, b"meanwhile")

    assert job["status"] == "queued"
    assert succeeded(service.url, job["id"])["id"] == job["id"]


def test_a_worker_does_not_outlive_its_parent_and_its_job_is_taken_up_at_once(start_service: StartService) -> None:
    service = start_service(lease_seconds=600)
    job = upload(service.url, SLOW, options=SLOW_OPTIONS)
    running(service.url, job["id"])
    worker = service.worker_pid()

    service.signal(signal.SIGKILL)
    service.wait()
    until(lambda: not is_alive(worker), what="the end of the worker")

    service.start()
    # Long before its lease is over.
    until(lambda: job_at(service.url, job["id"])["status"] in ("running", "succeeded"), what="recovery")
    assert succeeded(service.url, job["id"], seconds=60)["attempt"] == 1
    assert [tuple(row) for row in service.rows("SELECT losses FROM jobs")] == [(0,)], "nobody is blamed"


@pytest.fixture
def separate(start_service: StartService) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    """A service without a worker, and a worker without HTTP that nobody wakes, over one data folder."""
    service = start_service(embedded_worker="false")
    worker = ServiceProcess(service.folder / "worker", shutdown_grace_seconds=1)
    worker.data_dir = service.data_dir
    worker.launch("work")
    try:
        until(lambda: service.rows("SELECT * FROM workers"), what="the worker")
        yield service, worker
    finally:
        worker.kill()


def test_a_job_that_nobody_wakes_for_starts_within_two_seconds(
    separate: tuple[ServiceProcess, ServiceProcess],
) -> None:
    service, worker = separate
    for _ in range(3):
        job = upload(service.url, text(100_000))
        began = time.monotonic()
        until(lambda: job_at(service.url, job["id"])["started_at"], seconds=2, what="its start")  # noqa: B023
        assert time.monotonic() - began < 2
        succeeded(service.url, job["id"])
    assert ask(f"{service.url}/readyz").json["checks"]["worker"] is True
    assert worker.stop() == 0


def test_a_worker_told_to_stop_gives_its_job_back(separate: tuple[ServiceProcess, ServiceProcess]) -> None:
    service, worker = separate
    job = upload(service.url, VERY_SLOW, options=SLOW_OPTIONS)
    running(service.url, job["id"])

    assert worker.stop(seconds=6) == 0

    assert job_at(service.url, job["id"])["status"] == "queued"
    assert [tuple(row) for row in service.rows("SELECT attempts, losses FROM jobs")] == [(0, 0)]
    assert service.rows("SELECT * FROM workers") == []


def test_a_service_without_any_worker_says_so(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")

    answer = ask(f"{service.url}/readyz")

    assert (answer.status, answer.json["code"]) == (503, "not_healthy")
    assert answer.json["checks"] == {"database": True, "files": True, "worker": False, "accepting": True}
    assert ask(f"{service.url}/livez").status == 200


def test_two_services_do_not_share_a_data_folder(service: ServiceProcess, tmp_path: Path) -> None:
    second = subprocess.run(
        [VACPACK, "serve", "--port", "0", "--data-dir", str(service.data_dir)],
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert second.returncode == 1
    assert second.stderr == f"error: another vacpack serves {service.data_dir}\n"
    assert ask(f"{service.url}/livez").status == 200


def test_a_port_that_is_taken_is_told_without_a_traceback(service: ServiceProcess, tmp_path: Path) -> None:
    second = subprocess.run(
        [VACPACK, "serve", "--port", str(service.address[1]), "--data-dir", str(tmp_path / "data")],
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert "Traceback" not in second.stderr
