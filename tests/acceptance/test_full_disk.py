"""A full disk is a pause and not a failure; and what makes room needs none. Real small disks, real processes."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.asking import Answer, ask, job_at, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import VACPACK, ServiceProcess, environment
from tests.acceptance.small_disk import MakeDisk, SmallDisk, make_disk, mounting

__all__ = ["make_disk"]

pytestmark = mounting

MIB = 1024**2


def noise(size_bytes: int, seed: int = 0) -> bytes:
    """Return bytes that nothing makes smaller: results need as much room."""
    return random.Random(seed).randbytes(size_bytes)


@pytest.fixture
def disk(make_disk: MakeDisk) -> SmallDisk:
    return make_disk("size=64m")


@pytest.fixture
def service(disk: SmallDisk, tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service whose data lie on the small disk; its log does not, and misses no line."""
    process = ServiceProcess(tmp_path / "service", min_free_bytes=0, sweep_seconds=0.5)
    process.data_dir = disk.path / "data"
    yield process
    process.kill()


def managed(service: ServiceProcess, job: dict[str, str], method: str, path: str = "") -> Answer:
    key = {"Authorization": f"Bearer {job['manage_key']}"}
    return ask(f"{service.url}/jobs/{job['id']}{path}", method, **key)


def with_a_reserve(service: ServiceProcess) -> ServiceProcess:
    reserve = service.data_dir / "vacpack.db-reserve"
    until(lambda: reserve.exists() and reserve.stat().st_blocks * 512 >= MIB, what="a reserve")
    return service


def ready(service: ServiceProcess) -> Answer:
    return ask(f"{service.url}/readyz")


def test_eight_jobs_wait_while_the_disk_is_full_and_succeed_after_it(service: ServiceProcess, disk: SmallDisk) -> None:
    service.settings["VACPACK_EMBEDDED_WORKER"] = "false"
    service.start()
    # More than what is left and the reserve together: no result finds room by chance.
    jobs = [upload(service.url, noise(3 * MIB, seed), options="format=zstd")["id"] for seed in range(8)]
    assert service.stop() == 0
    service.settings["VACPACK_EMBEDDED_WORKER"] = "true"
    disk.fill(leave_bytes=MIB)
    service.start()

    until(lambda: job_at(service.url, jobs[-1])["waiting_for"] == "room", what="waiting for room")

    def is_all_queued() -> bool:
        disk.fill()
        documents = [job_at(service.url, job) for job in jobs]
        assert {document["attempt"] for document in documents} <= {0, 1}
        return {(document["status"], document["attempt"]) for document in documents} == {("queued", 0)}

    # Two were begun, and one of them may be at its end.
    until(is_all_queued, what="all of them waiting")
    line = ask(f"{service.url}/jobs/{jobs[-1]}", Accept="text/plain").body.decode()
    page = ask(f"{service.url}/jobs/{jobs[-1]}", Accept="text/html", Accept_Language="zh-CN").body.decode()
    token = {"Authorization": f"Bearer {service.admin_token()}"}
    metrics = ask(f"{service.url}/metrics", **token).body.decode()
    answer = until(lambda: (found := ready(service)).status == 503 and found, what="not being ready")
    disk.empty()

    assert line.endswith(", waiting for room on the server\n")
    assert "等待服务器腾出空间" in page
    assert 'vacpack_workers_paused{waiting_for="room"} 1.0' in metrics
    assert answer.json["reasons"]["files"] == "room"
    assert "no room is left on the disk (room)" in answer.json["detail"]
    for job in jobs:
        assert succeeded(service.url, job)["waiting_for"] is None
    attempts = service.rows("SELECT outcome, error_code FROM attempts WHERE outcome != 'succeeded'")
    assert {tuple(row) for row in attempts} == {("paused", "room")}
    told = [event["event"] for event in service.events() if event["logger"] == "vacpack.work"]
    assert told.count("no job is claimed for now: no room is left on the disk") == told.count("jobs are claimed again")


def test_what_makes_room_needs_none(service: ServiceProcess, disk: SmallDisk) -> None:
    service.settings["VACPACK_EMBEDDED_WORKER"] = "false"
    with_a_reserve(service.start())
    deleted, cancelled = (upload(service.url, noise(MIB, seed)) for seed in range(2))
    disk.fill()

    refused = ask(f"{service.url}/uploads/f", "PUT", b"small")
    answers = [managed(service, cancelled, "POST", "/cancel"), managed(service, deleted, "DELETE")]

    assert (refused.status, refused.json["code"]) == (507, "storage_full")
    assert [answer.status for answer in answers] == [200, 204]
    assert service.statuses() == {cancelled["id"]: "cancelled"}
    assert {row["action"] for row in service.rows("SELECT action FROM audit_events")} >= {
        "job.deleted",
        "job.cancelled",
    }


def test_on_a_full_disk_hundreds_of_jobs_can_be_deleted(service: ServiceProcess, disk: SmallDisk) -> None:
    service.settings["VACPACK_EMBEDDED_WORKER"] = "false"
    with_a_reserve(service.start())
    jobs = [upload(service.url, b"small") for _ in range(300)]
    disk.fill()

    for job in jobs:
        assert managed(service, job, "DELETE").status == 204
        disk.fill()

    assert service.holds_nothing()


def test_on_a_full_disk_jobs_expire_and_the_worker_stays_alive(service: ServiceProcess, disk: SmallDisk) -> None:
    with_a_reserve(service.start())
    job = upload(service.url, noise(MIB), options="expires=3s")
    succeeded(service.url, job["id"])
    disk.fill()

    until(lambda: ask(f"{service.url}/jobs/{job['id']}").status == 410, what="expiry")
    until(lambda: not service.stored(), what="removing its files")

    assert ready(service).json["checks"]["worker"]
    disk.empty()
    until(lambda: ready(service).status == 200, what="being ready again")


@pytest.mark.parametrize("ends", ["stopped", "killed"])
def test_vacpack_sweep_and_the_next_start_need_no_room(service: ServiceProcess, disk: SmallDisk, ends: str) -> None:
    with_a_reserve(service.start())
    job = upload(service.url, noise(MIB), options="expires=1s")
    succeeded(service.url, job["id"])
    service.stop() if ends == "stopped" else service.kill()
    disk.fill()

    def swept() -> bool:
        command = [VACPACK, "sweep", "--data-dir", str(service.data_dir)]
        outcome = subprocess.run(command, env=environment(service.settings), capture_output=True, check=False)
        assert (outcome.returncode, b"Traceback" in outcome.stderr) == (0, False), outcome.stderr
        disk.fill()
        return b"expired_files: 1\n" in outcome.stdout

    until(swept, what="expiry")

    assert ask(f"{service.start().url}/jobs/{job['id']}").status == 410


def test_a_disk_that_holds_no_more_files_is_named(make_disk: MakeDisk, start_service: StartService) -> None:
    disk = make_disk("size=32m,nr_inodes=40")
    service = start_service(files_url=f"file://{disk.path}/files", min_free_bytes=0)
    for number in range(40):
        try:
            (disk.path / str(number)).touch()
        except OSError:
            break

    answer = ready(service)
    job = upload(service.url, b"x") if answer.status == 200 else None

    assert job is None
    assert (answer.status, answer.json["reasons"]) == (503, {"files": "inodes"})
    (disk.path / "0").unlink()
    (disk.path / "1").unlink()
    until(lambda: ready(service).status == 200, what="being ready again")


def test_a_disk_that_turns_read_only_is_named_and_jobs_wait(make_disk: MakeDisk, start_service: StartService) -> None:
    disk = make_disk("size=32m")
    service = start_service(files_url=f"file://{disk.path}", min_free_bytes=0)
    until(lambda: ready(service).status == 200, what="being ready")

    disk.remount("ro")

    answer = until(lambda: (found := ready(service)).status == 503 and found, what="not being ready")
    assert answer.json["reasons"] == {"files": "read_only"}
    disk.undo()
    until(lambda: ready(service).status == 200, what="being ready again")
    succeeded(service.url, upload(service.url, noise(MIB))["id"])
