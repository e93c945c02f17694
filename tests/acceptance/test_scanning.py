"""A service that scans what arrives, with real scripts: its worker is killed, stopped and told to give up meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, ended, job_at, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import VACPACK, ServiceProcess, environment
from tests.service.work.scanners import CLEAN, LOOKING, MARKER, is_alive, pid_in, script

STUCK = """if [ -e "$HERE/go" ]; then exec cat > /dev/null; fi
sleep 600 & echo $! > "$HERE/child"
echo $$ > "$HERE/scanner"
exec sleep 600"""
"""Never ends until it is told to, with a child that holds its pipes."""


def scanner_pids(folder: Path) -> tuple[int, int]:
    """Return the ids of the stuck scanner and its child, once both run."""
    paths = folder / "scanner", folder / "child"
    until(lambda: all(map(pid_in, paths)), what="the scanner")
    scanner, child = (pid_in(path) or 0 for path in paths)
    return scanner, child


def running_scanner(folder: Path) -> tuple[int, int]:
    """Return the ids of the one that runs: where the machine is very busy another attempt may have begun."""

    def alive() -> tuple[int, int] | None:
        pids = scanner_pids(folder)
        return None if are_gone(pids) else pids

    return until(alive, what="a scanner that runs")


def are_gone(pids: tuple[int, int]) -> bool:
    return not any(map(is_alive, pids))


@pytest.fixture
def scanning(start_service: StartService, tmp_path: Path) -> Callable[..., ServiceProcess]:
    """Return a function that starts a service with such a scanner."""

    def start(body: str, **settings: object) -> ServiceProcess:
        return start_service(scan_command=str(script(tmp_path, body)), retry_pause_seconds=0, **settings)

    return start


def test_clean_uploads_are_compressed_and_malicious_ones_are_gone(scanning: Callable[..., ServiceProcess]) -> None:
    service = scanning(LOOKING)
    bad, good = upload(service.url, b"x" * 300_000 + MARKER), upload(service.url, b"x" * 300_000)

    assert succeeded(service.url, good["id"])["links"]["original"]
    assert ended(service.url, bad["id"])["error"]["code"] == "malicious"
    assert ask(f"{service.url}/jobs/{good['id']}/original").body == b"x" * 300_000
    answer = ask(f"{service.url}/jobs/{bad['id']}/original")
    assert (answer.status, answer.json["code"]) == (410, "malicious")
    until(lambda: service.stored() == service.named(), what="the malicious file gone")
    assert service.set_aside() == set()
    assert service.stop() == 0


def test_a_scanner_that_says_nothing_is_asked_again_and_then_given_up(scanning: Callable[..., ServiceProcess]) -> None:
    service = scanning("cat > /dev/null; exit 2", max_attempts=2)

    job = ended(service.url, upload(service.url, b"fine")["id"])

    assert (job["error"]["code"], job["attempt"]) == ("scan_failed", 2)


def test_a_killed_worker_leaves_no_scanner_and_the_next_one_scans_again(
    scanning: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    service = scanning(STUCK)
    job = upload(service.url, b"x" * 1_000_000)
    pids = scanner_pids(tmp_path)
    until(lambda: job_at(service.url, job["id"])["progress"]["phase"] == "scanning", what="the phase")

    (tmp_path / "go").touch()
    os.kill(service.worker_pid(), signal.SIGKILL)

    until(lambda: are_gone(pids), what="the end of the scanner")
    succeeded(service.url, job["id"])


def test_a_killed_service_leaves_no_scanner(scanning: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    service = scanning(STUCK)
    job = upload(service.url, b"x")
    until(lambda: job_at(service.url, job["id"])["progress"]["phase"] == "scanning", what="the phase")
    pids = running_scanner(tmp_path)

    service.process.kill()

    until(lambda: are_gone(pids), what="the end of the scanner")


def test_a_stop_gives_a_scan_back(scanning: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    service = scanning(STUCK, shutdown_grace_seconds=4)
    job = upload(service.url, b"x")
    pids = scanner_pids(tmp_path)

    assert service.stop() == 0

    assert are_gone(pids)
    assert service.statuses()[job["id"]] == "queued"


def test_a_cancel_ends_a_scan(scanning: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    service = scanning(STUCK)
    job = upload(service.url, b"x")
    pids = scanner_pids(tmp_path)

    ask(f"{service.url}/jobs/{job['id']}/cancel", "POST", Authorization=f"Bearer {job['manage_key']}")

    assert ended(service.url, job["id"])["status"] == "cancelled"
    until(lambda: are_gone(pids), what="the end of the scanner")


def test_a_scan_that_takes_longer_than_what_hangs_is_no_hang(
    scanning: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    service = scanning('cat > /dev/null; echo $$ > "$HERE/scanner"; sleep 9; exit 0', hang_seconds=5)
    worker = service.worker_pid()

    succeeded(service.url, upload(service.url, b"x" * 100_000)["id"])

    assert service.worker_pid() == worker


@pytest.mark.parametrize("command", ["serve", "work"])
@pytest.mark.parametrize(
    ("line", "told", "code"),
    [
        ("/no/such/scanner -", "error: VACPACK_SCAN_COMMAND cannot be run: '/no/such/scanner': there is no", 1),
        ("{plain}", "error: VACPACK_SCAN_COMMAND cannot be run: '{plain}': there is no such program, or it may not", 1),
        ("scan 'never closed", "error: VACPACK_SCAN_COMMAND: ", 2),
        ("''", "error: VACPACK_SCAN_COMMAND", 2),
    ],
)
def test_a_scanner_that_cannot_be_run_is_told_in_one_line(
    tmp_path: Path, command: str, line: str, told: str, code: int
) -> None:
    plain = script(tmp_path, CLEAN)
    plain.chmod(0o644)
    settings = {"VACPACK_SCAN_COMMAND": line.replace("{plain}", str(plain)), "VACPACK_PORT": "0"}
    arguments = [VACPACK, command, "--data-dir", str(tmp_path / "data")]

    ended = subprocess.run(arguments, env=environment(settings), capture_output=True, text=True, cwd=tmp_path)

    assert ended.returncode == code
    assert ended.stderr.startswith(told.replace("{plain}", str(plain)))
    assert len(ended.stderr.splitlines()) == 1
