"""Starts and ends the servers under measurement: vacpack and the peer, each as its users would run it.

Every measurement gets a fresh server in a fresh folder, so that no backlog of the one is worked off in the
time of the other. Folders are emptied of large files by truncation and deleted only when the whole run is
over, because ext4 creates files several times more slowly after many deletions.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks import process_tree

HOST = "127.0.0.1"
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 2.0
PROJECT = Path(__file__).resolve().parent.parent
LARGE_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Server:
    """A running server: its name in the tables, its port, its first process and its folder."""

    name: str
    port: int
    pid: int
    folder: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _command(name: str, port: int, folder: Path, tree: Path | None) -> tuple[list[str], str]:
    """Return the command line of a server and the path that is answered once it is ready."""
    if name == "sink":
        return [sys.executable, "-m", "benchmarks.sink", str(port)], "/"
    if name in ("peer", "lean peer"):
        application = f"benchmarks.{name.replace(' ', '_')}:create_app"
        line = ["-m", "uvicorn", "--factory", application, "--host", HOST, "--port", str(port)]
        line += ["--workers", "1", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        return [sys.executable, *line, "--log-level", "warning"], "/hello"
    script = Path(sys.executable).with_name("vacpack")
    is_installed = script.exists() and tree is None
    entry = [str(script)] if is_installed else [sys.executable, "-m", "service"]
    return [*entry, "serve", "--port", str(port), "--data-dir", str(folder)], "/livez"


def _environment(folder: Path, settings: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("VACPACK_", "PEER_"))}
    # The spool files of the peer belong on the disk under measurement, not on a /tmp that may be memory.
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    return inherited | {"TMPDIR": str(spool), "PEER_FOLDER": str(folder)} | settings


@contextmanager
def running(
    name: str, folder: Path, settings: dict[str, str] | None = None, *, tree: Path | None = None
) -> Iterator[Server]:
    """Run `vacpack`, `peer`, `lean peer` or `sink` with its data in `folder`, which is made; vacpack as in `tree`.

    At exit all its processes end, whatever they were about.

    Raises:
        RuntimeError: the server ended or did not answer within half a minute; the text has its last output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command, ready_path = _command(name, port, folder, tree)
    # vacpack reads .env of the folder it is started in, which must not change what is measured.
    start_folder = folder if name == "vacpack" else PROJECT
    environment = _environment(folder, settings or {}) | ({"PYTHONPATH": str(tree)} if tree else {})
    log_path = folder / "server.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command, cwd=start_folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _await_ready(process, port, ready_path, log_path)
        yield Server(name, port, process.pid, folder)
    finally:
        stop(process)


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status // 100 == 2
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _await_ready(process: subprocess.Popen[bytes], port: int, path: str, log_path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not _answers(port, path):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log_path.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{process.args!r} did not start:\n{tail}")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, then kill what is left of its tree: a backlog of jobs is not waited for."""
    tree = process_tree.members(process.pid)
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree[1:]:
        _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def truncate_large_files(folder: Path) -> None:
    """Give the space of a finished measurement back, and wait until the disk is quiet, without deleting anything."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size > LARGE_FILE_BYTES:
            os.truncate(path, 0)
    os.sync()
