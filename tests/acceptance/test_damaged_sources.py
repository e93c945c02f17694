"""A waiting upload is not trusted: what becomes of it on the disk between its 202 and its claim is never a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, ended, sha256, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.curl import curl
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import noise, text

LARGE, SMALL = text(3_000_000), text(3_000)


def flip(place: float) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 4
        path.write_bytes(content)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "first": flip(0.0),
    "middle": flip(0.5),
    "last": flip(1.0),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "gone": Path.unlink,
}


@pytest.fixture
def separate(start_service: StartService) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    """A service without a worker, and a worker that is not started yet."""
    service = start_service(embedded_worker="false", retry_pause_seconds=0.1)
    worker = ServiceProcess(service.folder / "worker", retry_pause_seconds=0.1)
    worker.data_dir = service.data_dir
    yield service, worker
    worker.kill()


def uploaded(service: ServiceProcess, send: Callable[[], str]) -> tuple[str, list[Path]]:
    """Return a job's id and the files it came to."""
    before = service.stored()
    job_id = send()
    return job_id, [service.data_dir / "files" / key for key in sorted(service.stored() - before)]


def test_no_damage_becomes_a_result_at_any_door(
    separate: tuple[ServiceProcess, ServiceProcess], tmp_path: Path
) -> None:
    service, worker = separate
    (tmp_path / "small.log").write_bytes(SMALL)
    (tmp_path / "large.log").write_bytes(LARGE)

    def form(*names: str) -> str:
        parts = [argument for name in names for argument in ("-F", f"file=@{name}")]
        answer = curl(*parts, f"{service.url}/uploads", "-H", "Accept: application/json", folder=tmp_path)
        identifier: str = answer.json["id"]
        return identifier

    doors: dict[str, Callable[[], str]] = {
        "raw": lambda: str(upload(service.url, LARGE)["id"]),
        "raw small": lambda: str(upload(service.url, SMALL)["id"]),
        "as is": lambda: str(upload(service.url, noise(100_000))["id"]),
        "with a digest": lambda: str(upload(service.url, LARGE, Want_Repr_Digest="sha-256=1")["id"]),
        "form": lambda: form("large.log"),
        "form small": lambda: form("small.log"),
        "archive": lambda: form("small.log", "large.log"),
    }
    spoilt = {}
    for door, send in doors.items():
        for name, damage in DAMAGES.items():
            job_id, files = uploaded(service, send)
            damage(files[-1])
            spoilt[job_id] = door, name
    good, _ = uploaded(service, doors["raw"])

    worker.launch("work")

    assert ended(service.url, good)["source"]["sha256"] == sha256(LARGE)
    for job_id, (door, name) in spoilt.items():
        job = ended(service.url, job_id)
        code = "source_missing" if name == "gone" else "source_damaged"
        assert (job["status"], job["error"]["code"]) == ("failed", code), (door, name, job)
    assert not [key for key in service.stored() if key.startswith("r-") and key[2:].split(".")[0] in spoilt]


def test_a_waiting_upload_that_is_damaged_is_not_given_whole(
    separate: tuple[ServiceProcess, ServiceProcess], tmp_path: Path
) -> None:
    service, _ = separate
    job_id, [path] = uploaded(service, lambda: str(upload(service.url, LARGE)["id"]))
    assert ask(f"{service.url}/jobs/{job_id}/original").body == LARGE
    flip(0.2)(path)

    answer = curl(f"{service.url}/jobs/{job_id}/original", folder=tmp_path)

    assert answer.code == 18, "curl knows that it is not whole"
    assert len(answer.body) < len(LARGE)
