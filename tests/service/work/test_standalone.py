"""A worker without HTTP as a process of its own: told to stop, and killed together with its child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.work.bench import Bench, gated, until
from tests.service.work.supervision import is_running, worker_pids

HERE = Path(__file__).parent


@contextmanager
def standalone(bench: Bench) -> Iterator[subprocess.Popen[bytes]]:
    program = [sys.executable, str(HERE / "standalone_program.py")]
    arguments = [bench.settings.to_json(), str(HERE / "misbehaving_child.py")]
    process = subprocess.Popen([*program, *arguments], cwd=HERE.parents[2], env={**os.environ, "PYTHONPATH": "."})
    try:
        until(lambda: worker_pids(bench))
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_gives_back_what_runs_and_exits_with_0(
    bench: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    bench = bench.with_settings(shutdown_grace_seconds=3.0)
    with standalone(bench) as process:
        job_id = bench.submit(gated(tmp_path / "gate"))
        until(lambda: bench.status(job_id) == "running")
        [pid] = worker_pids(bench)

        # As a terminal does it: Ctrl-C reaches the child as well.
        for target in (process.pid, *[pid] * (number == signal.SIGINT)):
            os.kill(target, number)

        assert process.wait(timeout=6) == 0
        assert not is_running(pid)
    row = bench.row(job_id)
    assert (row["status"], row["attempts"], row["losses"]) == ("queued", 0, 0)


def test_the_child_does_not_outlive_its_parent_and_the_next_start_takes_up_its_job(
    bench: Bench, tmp_path: Path
) -> None:
    with standalone(bench) as process:
        job_id = bench.submit(gated(tmp_path / "gate"))
        until(lambda: bench.row(job_id)["phase"] == "compressing")
        [pid] = worker_pids(bench)
        process.kill()
        process.wait()
        until(lambda: not is_running(pid), seconds=2)
    assert bench.status(job_id) == "running"

    with standalone(bench):
        until(lambda: worker_pids(bench) != [pid])
        # Long before the lease is over.
        until(lambda: bench.row(job_id)["epoch"] == 2, seconds=2)

        row = bench.row(job_id)
        assert (row["losses"], row["attempts"], row["is_isolated"]) == (0, 1, False)
