"""One ``vacpack`` process of a test: started, stopped, killed, started again; its log, its table and its files."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from storage.files.local_quarantine import FOLDER
from tests.acceptance.patience import until

VACPACK = str(Path(sys.executable).with_name("vacpack"))

DEFAULTS = {"VACPACK_LOG_FORMAT": "json", "VACPACK_WORKER_NICENESS": "0"}
"""A raised niceness is for users' machines: on a busy one these tests would wait for it."""


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings, and none that a developer's shell may hold."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VACPACK_")}
    return inherited | settings


class ServiceProcess:
    """A service over one data folder. ``settings`` are environment variables without their prefix, in any case."""

    def __init__(self, folder: Path, under: tuple[str, ...] = (), /, **settings: object) -> None:
        """``under`` is a command that runs the service in its own place, as a tracer does."""
        self.folder = folder
        self.command = VACPACK
        self._under = under
        self.data_dir = folder / "data"
        self.settings = DEFAULTS | {f"VACPACK_{name.upper()}": str(value) for name, value in settings.items()}
        self.url = ""
        self._log_path = folder / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ServiceProcess:
        """Start it on a free port, and wait until it serves."""
        self.launch("serve", "--port", "0")
        self.url = until(self._served_at, what="serving")
        return self

    def launch(self, *arguments: str) -> None:
        """Start ``vacpack`` with these arguments and this data folder. A new session: signals reach it alone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._began_at = self._log_path.stat().st_size if self._log_path.exists() else 0
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._under, self.command, *arguments, "--data-dir", str(self.data_dir)],
                cwd=self.folder,
                env=environment(self.settings),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process last started."""
        assert self._process is not None
        return self._process

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host.strip("[]"), int(port)

    def _served_at(self) -> str | None:
        assert self.process.poll() is None, f"it ended at its start:\n{self.log()}"
        return next((event["url"] for event in self.events() if event.get("event") == "serving"), None)

    def log(self) -> str:
        """Return what the process last started has logged."""
        with self._log_path.open("rb") as log:
            log.seek(self._began_at)
            return log.read().decode()

    def events(self) -> list[dict[str, Any]]:
        """Return its log's whole lines."""
        lines = self.log().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def worker_pid(self) -> int:
        """Return the process id of its worker, once there is one."""
        return until(self._worker_pid, what="a worker")

    def _worker_pid(self) -> int | None:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        workers = [int(pid) for pid in found if b"service.wiring.worker" in command_line(int(pid))]
        return workers[0] if workers else None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        self.process.send_signal(number)

    def wait(self, *, seconds: float = 30) -> int:
        """Return its exit code; minus the number of the signal that ended it."""
        return self.process.wait(seconds)

    def stop(self, *, seconds: float = 30) -> int:
        """Tell it to stop, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds=seconds)

    def kill(self) -> None:
        """End it as a power cut would, its worker too; fine if it has ended."""
        if self._process is not None and self._process.poll() is None:
            worker = self._worker_pid()
            self.signal(signal.SIGKILL)
            if worker is not None:
                end(worker)
            self.wait()

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return what a query reads from its table."""
        with closing(sqlite3.connect(f"file:{self.data_dir / 'vacpack.db'}?mode=ro", uri=True, timeout=10)) as table:
            table.row_factory = sqlite3.Row
            return table.execute(query, values).fetchall()

    def statuses(self) -> dict[str, str]:
        """Return the status of each job."""
        return {row["id"]: row["status"] for row in self.rows("SELECT id, status FROM jobs")}

    def stored(self) -> set[str]:
        """Return the names of the files in the store, parts too; not what was set aside."""
        return {path.name for path in (self.data_dir / "files").iterdir() if path.name.startswith(("s-", "r-"))}

    def set_aside(self) -> set[str]:
        """Return the names of the files in the quarantine."""
        return {path.name for path in (self.data_dir / "files").glob(f"{FOLDER}/*")}

    def named(self) -> set[str]:
        """Return the keys that rows name."""
        query = "SELECT key FROM sources WHERE key IS NOT NULL UNION SELECT result_key FROM jobs WHERE result_key != ''"
        return {row[0] for row in self.rows(query)}

    def holds_nothing(self) -> bool:
        """Whether there is neither a file nor a job."""
        return not self.stored() and not self.statuses()

    def admin_token(self) -> str:
        """Return the token it made for itself."""
        return (self.data_dir / "admin-token").read_text().strip()


def command_line(pid: int) -> bytes:
    """Return the arguments of a process; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def end(pid: int) -> None:
    """Kill one process; fine if it has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
