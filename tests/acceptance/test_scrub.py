"""``vacpack scrub`` in a shell, beside a service that goes on: what it finds, notes and prints, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import ask, job_at, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import VACPACK, ServiceProcess, environment
from tests.acceptance.test_cli import vacpack
from tests.service.payloads import noise, text

CONTENT = text(400_000)


def done(service: ServiceProcess, content: bytes = CONTENT, **options: Any) -> tuple[str, Path]:
    """Upload, and return the job's id and where its result lies once it has succeeded."""
    job_id = upload(service.url, content, **options)["id"]
    succeeded(service.url, job_id)
    [row] = service.rows("SELECT result_key FROM jobs WHERE id = ?", job_id)
    return job_id, service.data_dir / "files" / row["result_key"]


def scrub(service: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return vacpack(service.folder, "scrub", "--data-dir", str(service.data_dir), *arguments)


def test_damage_is_found_shown_and_forgotten_when_it_is_repaired(start_service: StartService) -> None:
    service = start_service()
    jobs = {name: done(service) for name in ("whole", "flipped", "truncated", "missing")}
    jobs["kept"] = done(service, noise(50_000))
    clean = scrub(service)
    assert (clean.returncode, clean.stderr) == (0, "")
    assert clean.stdout.startswith("5 whole, 0 damaged, 0 repaired, ")

    contents = {name: path.read_bytes() for name, (_, path) in jobs.items()}
    for name in ("flipped", "kept"):
        jobs[name][1].write_bytes(contents[name][:-1] + bytes([contents[name][-1] ^ 1]))
    os.truncate(jobs["truncated"][1], 10)
    jobs["missing"][1].unlink()
    damaged = {name: job_id for name, (job_id, _) in jobs.items() if name != "whole"}
    known = ask(f"{service.url}/jobs/{damaged['flipped']}")
    waiting: list[Any] = []

    def wait() -> None:
        url = f"{service.url}/jobs/{damaged['flipped']}?wait=25"
        waiting.append(ask(url, If_None_Match=str(known.headers["ETag"])))

    waiter = threading.Thread(target=wait)
    waiter.start()
    found = scrub(service)

    assert found.returncode == 3
    lines = found.stdout.splitlines()
    assert {line.split()[0] for line in lines[:-1]} == set(damaged.values())
    assert lines[-1].startswith("1 whole, 4 damaged, 0 repaired, ")
    waiter.join(30)
    assert waiting[0].json["result"]["damaged_at"] is not None, "who waits for a change is told"
    for job_id in damaged.values():
        for form in ("result", "result?format=gzip", "original"):
            answer = ask(f"{service.url}/jobs/{job_id}/{form}")
            assert (answer.status, answer.json["code"]) == (410, "result_damaged")
    assert ask(f"{service.url}/jobs/{jobs['whole'][0]}/original").body == CONTENT
    token = f"Bearer {service.admin_token()}"
    assert b"vacpack_results_damaged 4.0" in ask(f"{service.url}/metrics", Authorization=token).body

    for name in damaged:
        jobs[name][1].write_bytes(contents[name])
    repaired = scrub(service)

    assert repaired.returncode == 0
    assert repaired.stdout.splitlines()[-1].startswith("5 whole, 0 damaged, 4 repaired, ")
    assert ask(f"{service.url}/jobs/{damaged['flipped']}/original").body == CONTENT
    assert job_at(service.url, damaged["missing"])["result"]["damaged_at"] is None
    assert b"vacpack_results_damaged 0.0" in ask(f"{service.url}/metrics", Authorization=token).body
    for action in ("result.damaged", "result.repaired"):
        events = ask(f"{service.url}/audit?action={action}", Authorization=token).json["events"]
        assert {event["job"] for event in events} == set(damaged.values())
        assert {event["actor"] for event in events} == {"system"}


def test_waiting_uploads_are_read_where_that_is_asked_for(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")
    job_id = upload(service.url, CONTENT)["id"]
    [key] = service.stored()
    path = service.data_dir / "files" / key
    path.write_bytes(b"?" + CONTENT[1:])

    assert scrub(service).returncode == 0
    found = scrub(service, "--sources")

    assert found.returncode == 3
    assert found.stdout.splitlines()[0] == f"{job_id}  upload damaged: other bytes than were stored"


def test_it_goes_no_faster_than_told_and_ctrl_c_ends_it_with_what_it_saw(start_service: StartService) -> None:
    service = start_service()
    done(service, noise(20 * 2**20))
    command = [VACPACK, "scrub", "--data-dir", str(service.data_dir), "--max-mib-per-second", "1"]
    process = subprocess.Popen(
        command, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: any("r-" in line or "s-" in line for line in open_files(process.pid)), what="reading")

    job_id, _ = done(service)
    process.send_signal(signal.SIGINT)
    told, complaint = process.communicate(timeout=10)

    assert (process.returncode, complaint) == (130, "")
    assert told == "interrupted: 0 whole, 0 damaged, 0 repaired, 0 bytes read\n"
    assert job_at(service.url, job_id)["result"]["damaged_at"] is None


def open_files(pid: int) -> list[str]:
    """Return the names of the stored files that a process holds open."""
    names = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = descriptor.readlink()
        except FileNotFoundError:
            continue
        if target.parent.name == "files":
            names.append(target.name)
    return names


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--data-dir", "nowhere"), 1, "error: there is no database at"),
        (("--max-mib-per-second", "0"), 2, "--max-mib-per-second"),
        (("--max-mib-per-second", "nan"), 2, "--max-mib-per-second"),
        (("--everything",), 2, "No such option"),
    ],
)
def test_a_mistake_is_told_at_once_and_makes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    ended = vacpack(tmp_path, "scrub", *arguments)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_not_mounted_is_no_damage(start_service: StartService) -> None:
    service = start_service()
    job_id, _ = done(service)
    files = service.data_dir / "files"
    aside = files.rename(files.with_name("aside"))
    for is_empty_folder in (False, True):
        if is_empty_folder:
            files.mkdir()
        ended = scrub(service)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == f"error: the files of this database are not in {files}; is their disk mounted?\n"
        assert files.exists() == is_empty_folder, "it makes nothing"
    files.rmdir()
    aside.rename(files)

    assert job_at(service.url, job_id)["result"]["damaged_at"] is None
    assert scrub(service).returncode == 0


def test_it_runs_where_no_service_does(start_service: StartService) -> None:
    service = start_service()
    job_id, path = done(service)
    service.stop()
    path.unlink()

    assert scrub(service).stdout.splitlines()[0] == f"{job_id}  missing"

    service.start()
    assert job_at(service.url, job_id)["links"]["result"] is None
