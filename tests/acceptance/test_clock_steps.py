"""The wall clock of a running service steps: nothing is lost, and nobody waits for it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, running, succeeded, upload
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected, head, read_answer
from tests.acceptance.service_process import VACPACK, ServiceProcess, environment
from tests.parts import missing
from tests.service.payloads import noise, text

HOUR = 3600
DAY = 24 * HOUR


class SteppedService(ServiceProcess):
    """A service whose wall clock is as far ahead of the machine's as a file says; its boot clock is the machine's."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._step_file = folder / "step"
        super().__init__(folder, **settings)
        folder.mkdir()
        self.step(0)
        # A file is read again each second: reading it for each look at the clock took ten times as long.
        self.settings |= {
            "FAKETIME_TIMESTAMP_FILE": str(self._step_file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "LD_PRELOAD": preloaded(),
        }

    def step(self, seconds: float) -> None:
        """Have its wall clock be so far ahead from now on, in all its processes at once."""
        part = self._step_file.with_suffix(".new")
        part.write_text(f"{seconds:+}")
        part.rename(self._step_file)

    def is_ahead(self, seconds: float) -> None:
        """Wait until its metrics say that its wall clock is so far ahead of the time that has certainly passed."""
        until(lambda: abs(self._ahead_seconds() - seconds) < 5, what=f"a clock that is {seconds:g} s ahead")

    def _ahead_seconds(self) -> float:
        lines = ask(f"{self.url}/metrics", Authorization=f"Bearer {self.admin_token()}").body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("vacpack_clock_step_seconds "))

    def sweep(self, *options: str) -> dict[str, int]:
        """Run `vacpack sweep` beside it; return what that did."""
        line = [VACPACK, "sweep", *options, "--data-dir", str(self.data_dir)]
        told = environment(self.settings)
        done = subprocess.run(line, env=told, cwd=self.folder, capture_output=True, text=True, check=True)
        counts = (line.split(": ") for line in done.stdout.splitlines())
        return {name: int(count) for name, count in counts}


def preloaded() -> str:
    """Return the library that steps clocks; without faketime these tests are not possible."""
    if shutil.which("faketime") is None:
        missing("faketime is not installed")
    shown = subprocess.run(["faketime", "-f", "+0s", "env"], capture_output=True, text=True, check=True).stdout
    return next(line.removeprefix("LD_PRELOAD=") for line in shown.splitlines() if line.startswith("LD_PRELOAD="))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SteppedService]:
    service = SteppedService(tmp_path / "service")
    try:
        service.start()
        yield service
    finally:
        service.kill()


def test_a_clock_that_steps_a_month_ahead_expires_nothing(service: SteppedService) -> None:
    data = text(100_000)
    job = upload(service.url, data)
    succeeded(service.url, job["id"])
    named = service.named()

    service.step(30 * DAY)
    counts = service.sweep()

    assert (counts["expired_files"], counts["pruned"], counts["pruned_audit_events"], counts["orphans"]) == (0, 0, 0, 0)
    service.is_ahead(30 * DAY)
    assert ask(f"{service.url}/jobs/{job['id']}/original").body == data
    service.step(0)
    service.sweep()
    service.is_ahead(0)
    assert ask(f"{service.url}/jobs/{job['id']}/original").body == data
    assert service.stored() == named


def test_a_step_that_the_operator_confirms_still_takes_nothing_that_was_promised(service: SteppedService) -> None:
    job = upload(service.url, b"kept a week")
    before = succeeded(service.url, job["id"])
    service.step(30 * DAY)

    assert service.sweep("--trust-clock")["expired_files"] == 0

    service.is_ahead(0)
    after = ask(f"{service.url}/jobs/{job['id']}").json
    assert ask(f"{service.url}/jobs/{job['id']}/result").status == 200
    assert after["expires_at"] > before["expires_at"]
    assert succeeded(service.url, upload(service.url, b"after it")["id"])["created_at"] > before["expires_at"]


def test_a_file_of_a_form_that_still_arrives_is_not_swept_when_the_clock_steps(service: SteppedService) -> None:
    whole, rest = noise(200_000), noise(300_000)
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'
    body = start % b"a.bin" + whole + b"\r\n" + start % b"b.bin" + rest + b"\r\n--x--\r\n"
    sent = len(body) - 1000
    with connected(service) as connection:
        lines = ("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}")
        connection.sendall(head("POST /uploads?format=zip", *lines) + body[:sent])
        until(lambda: [name for name in service.stored() if not name.endswith(".part")], what="the first file")

        service.step(2 * HOUR)
        counts = service.sweep()
        connection.sendall(body[sent:])
        answer = read_answer(connection)

    assert (counts["orphans"], counts["dead_parts"]) == (0, 0)
    assert answer.status == 202
    succeeded(service.url, answer.json["id"])


def test_jobs_do_not_wait_for_a_clock_that_steps_back(service: SteppedService) -> None:
    first = upload(service.url, b"before")
    service.step(-HOUR)
    service.is_ahead(-HOUR)
    service.sweep()

    second = upload(service.url, b"after")

    assert succeeded(service.url, first["id"])
    after = succeeded(service.url, second["id"])
    assert after["created_at"] <= after["started_at"] <= after["finished_at"]
    assert after["created_at"] >= first["created_at"]


def test_a_running_job_stays_with_its_worker_when_the_clock_steps(service: SteppedService) -> None:
    job = upload(service.url, text(20_000_000), options="format=xz&level=small")
    running(service.url, job["id"])

    service.step(2 * HOUR)
    service.is_ahead(2 * HOUR)
    counts = service.sweep()
    service.step(-2 * HOUR)

    assert (counts["rescued"], service.sweep("--trust-clock")["rescued"]) == (0, 0)
    assert succeeded(service.url, job["id"], seconds=90)["attempt"] == 1


def test_a_service_that_starts_again_under_a_stepped_clock_goes_on(service: SteppedService) -> None:
    data = text(100_000)
    job = upload(service.url, data)
    succeeded(service.url, job["id"])
    service.stop()

    service.step(30 * DAY)
    service.start()

    assert ask(f"{service.url}/jobs/{job['id']}/original").body == data
    assert [event["event"] for event in service.events() if event.get("level") == "warning"]
    assert succeeded(service.url, upload(service.url, b"later")["id"])
