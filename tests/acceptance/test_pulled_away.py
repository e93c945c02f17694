"""What the service stores in is removed, renamed or replaced while it runs: nothing more is promised, nothing is lost.

Real processes, because the kernel keeps what they have open alive after its name is gone.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import ask, job_at, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess

LARGE = b"large enough to be stored before its row" * 5000


def moved(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}-elsewhere"))


def put_back(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.with_name(f"{path.name}-elsewhere").rename(path)


def replaced_by_an_empty_one(path: Path) -> None:
    moved(path)
    path.mkdir() if path.with_name(f"{path.name}-elsewhere").is_dir() else path.touch()


def replaced_by_a_copy(path: Path) -> None:
    moved(path)
    elsewhere = path.with_name(f"{path.name}-elsewhere")
    shutil.copytree(elsewhere, path) if elsewhere.is_dir() else shutil.copy(elsewhere, path)


@dataclass(frozen=True)
class Pull:
    """One way of pulling something away: what, how, which check says so, and in which words."""

    name: str
    change: Callable[[Path], None]
    check: str
    words: str


PULLS = [
    Pull("vacpack.db", moved, "database", "The database file has been removed or renamed"),
    Pull("vacpack.db", replaced_by_an_empty_one, "database", "The database file has been replaced"),
    Pull("vacpack.db", replaced_by_a_copy, "database", "The database file has been replaced"),
    Pull("vacpack.db-wal", moved, "database", "The log of the database (-wal) has been removed"),
    Pull("vacpack.db-shm", moved, "database", "The shared memory of the database (-shm) has been removed"),
    Pull("files", moved, "files", "The folder of the files has been removed or renamed"),
    Pull("files", replaced_by_an_empty_one, "files", "The folder of the files has been replaced"),
    Pull("files", replaced_by_a_copy, "files", "The folder of the files has been replaced"),
    Pull("files/owner", moved, "files", "The mark 'owner' in the folder of the files has been removed"),
    Pull(".", moved, "data_folder", "The data folder has been removed or renamed"),
]


def refused(service: ServiceProcess, data: bytes, *, method: str = "PUT", path: str = "/uploads/f.bin") -> Any:
    answer = ask(f"{service.url}{path}", method, data)
    assert (answer.status, answer.json["code"]) == (503, "storage_lost"), answer.body
    assert answer.headers["Retry-After"]
    assert str(service.data_dir) not in answer.body.decode()
    return answer.json


@pytest.mark.parametrize("pull", PULLS, ids=[f"{pull.name} {pull.change.__name__}" for pull in PULLS])
def test_nothing_is_promised_until_it_is_put_back(start_service: StartService, pull: Pull) -> None:
    service = start_service()
    before = upload(service.url, b"before" * 100)
    succeeded(service.url, before["id"])
    path = service.data_dir / pull.name if pull.name != "." else service.data_dir

    pull.change(path)

    for data in (b"small", LARGE):
        refused(service, data)
    ready = ask(f"{service.url}/readyz")
    assert (ready.status, ready.json["code"], ready.json["checks"][pull.check]) == (503, "not_healthy", False)
    assert pull.words in ready.json["detail"]
    assert str(service.data_dir) not in ready.json["detail"]
    assert job_at(service.url, before["id"])["status"] == "succeeded"
    told = until(
        lambda: [event for event in service.events() if "has been pulled away" in event.get("event", "")], what="a word"
    )
    assert str(path) in told[0]["event"]

    put_back(path)

    after = upload(service.url, LARGE)
    succeeded(service.url, after["id"])
    assert ask(f"{service.url}/jobs/{before['id']}/original").body == b"before" * 100
    assert ask(f"{service.url}/jobs/{after['id']}/original").body == LARGE
    until(lambda: ask(f"{service.url}/readyz").status == 200, what="being ready again")
    assert service.stop() == 0
    service.start()
    for job in (before, after):
        assert job_at(service.url, job["id"])["status"] == "succeeded"


def test_a_copy_of_the_database_is_taken_after_a_restart_and_not_before(start_service: StartService) -> None:
    service = start_service()
    jobs = [upload(service.url, b"acknowledged %d" % number) for number in range(3)]
    for job in jobs:
        succeeded(service.url, job["id"])
    database = service.data_dir / "vacpack.db"
    copy = shutil.copy(database, database.with_suffix(".copy"))
    jobs.append(succeeded(service.url, upload(service.url, b"acknowledged 3")["id"]))
    database.unlink()
    Path(copy).rename(database)

    refused(service, b"small")
    told = "or restart the service to go on with this one"
    assert told in ask(f"{service.url}/readyz").json["detail"]
    until(lambda: told in service.log(), what="a word")

    service.stop()
    service.start()

    for number, job in enumerate(jobs):
        assert ask(f"{service.url}/jobs/{job['id']}/original").body == b"acknowledged %d" % number
    succeeded(service.url, upload(service.url, LARGE)["id"])


def test_an_upload_that_is_under_way_is_not_promised(start_service: StartService) -> None:
    service = start_service()
    files = service.data_dir / "files"

    def body() -> Any:
        yield LARGE * 10
        until(lambda: list(files.glob("*.part")), what="a part")
        moved(files)
        yield LARGE

    answer = ask(f"{service.url}/uploads/f.bin", "PUT", body())

    assert (answer.status, answer.json["code"]) == (503, "storage_lost")
    put_back(files)
    assert service.statuses() == {}
    assert [name for name in service.stored() if not name.endswith(".part")] == []


def test_jobs_wait_for_their_files_and_downloads_are_not_said_to_be_gone(start_service: StartService) -> None:
    service = start_service()
    done = succeeded(service.url, upload(service.url, LARGE)["id"])
    os.kill(service.worker_pid(), signal.SIGSTOP)
    waiting = upload(service.url, LARGE)
    moved(service.data_dir / "files")
    os.kill(service.worker_pid(), signal.SIGCONT)

    until(lambda: "claiming waits" in service.log(), what="a worker that waits")
    for form in ("result", "original"):
        answer = ask(f"{service.url}/jobs/{done['id']}/{form}")
        assert (answer.status, answer.json["code"]) == (503, "storage_lost")
    assert job_at(service.url, waiting["id"])["status"] in ("queued", "running")

    put_back(service.data_dir / "files")
    assert ask(f"{service.url}/jobs/{done['id']}/result").status == 200, "nothing was noted as damaged"
    job = succeeded(service.url, waiting["id"])
    assert ask(f"{service.url}/jobs/{job['id']}/original").body == LARGE


@pytest.mark.parametrize("what", ["locks", "service.lock", "files/serving", "files/quarantine"])
def test_what_can_be_made_again_is_made_again(start_service: StartService, what: str) -> None:
    service = start_service()
    path = service.data_dir / what
    worker = service.worker_pid()
    until(lambda: ask(f"{service.url}/readyz").status == 200, what="being ready")
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    succeeded(service.url, upload(service.url, LARGE)["id"])

    if what != "files/quarantine":
        until(lambda: path.exists() and (path.is_file() or list(path.glob("*.lock"))), what=what)
    assert service.worker_pid() == worker
    # Nobody else takes the place meanwhile, nor the living worker for a dead one.
    second = ServiceProcess(service.folder)
    second.launch("serve", "--port", "0")
    assert second.wait() == 1
    assert "another vacpack serves" in second.log()
    assert ask(f"{service.url}/readyz").status == 200
    assert "worker ended" not in service.log()


def test_what_was_acknowledged_is_saved_from_a_log_that_was_removed(start_service: StartService) -> None:
    service = start_service()
    jobs = [upload(service.url, b"acknowledged %d" % number) for number in range(3)]
    for job in jobs:
        succeeded(service.url, job["id"])
    (service.data_dir / "vacpack.db-wal").unlink()

    refused(service, b"small")
    until(lambda: "has been saved from the removed log" in service.log(), what="saving it")
    service.kill()
    service.start()

    for number, job in enumerate(jobs):
        assert ask(f"{service.url}/jobs/{job['id']}/original").body == b"acknowledged %d" % number
