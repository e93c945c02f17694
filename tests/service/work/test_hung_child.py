"""A child that lives and does no good: found out by its pulses, killed, and replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from service.work import child_watch, embedded_worker
from service.work.child_process import Child
from service.work.embedded_worker import EmbeddedWorker
from service.work.pulse import Pulse
from tests.service.payloads import text
from tests.service.work.bench import Bench
from tests.service.work.misbehaving_child import STUCK
from tests.service.work.supervision import is_running, soon, supervised

MISBEHAVING = (sys.executable, "-P", str(Path(__file__).with_name("misbehaving_child.py")))
LONG_SECONDS = 120.0
"""For several processes to start on a busy machine."""


@pytest.fixture
def hasty(bench: Bench) -> Bench:
    return bench.with_settings(hang_seconds=3.0)


def hangs(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    wanted = "a worker hangs and is replaced"
    return [record.__dict__ for record in caplog.records if record.getMessage() == wanted]


def test_a_thread_that_is_stuck_in_a_codec_is_found_beside_one_that_is_not(
    hasty: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        stuck = hasty.submit(STUCK + str(tmp_path / "trace").encode() + b"\n" + text(50_000))
        others = [hasty.submit(text(50_000, seed)) for seed in (1, 2, 3)]
        async with supervised(hasty, MISBEHAVING):
            await soon(lambda: all(map(hasty.is_ended, (stuck, *others))), seconds=LONG_SECONDS)

        assert [hasty.status(job_id) for job_id in (stuck, *others)] == ["succeeded"] * 4
        assert hasty.row(stuck)["losses"] == 1
        assert hangs(caplog)[0]["hung"] == f"compressing job {stuck}"
        assert hangs(caplog)[0]["for_seconds"] >= 3

    asyncio.run(story())


def test_a_child_that_is_stopped_is_replaced_and_the_reason_is_told(
    hasty: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with supervised(hasty) as worker:
            pid = await worker.ready()
            os.kill(pid, signal.SIGSTOP)
            assert await another(worker, pid)
            assert not is_running(pid)

    asyncio.run(story())
    assert [told["hung"] for told in hangs(caplog)][:1] == ["the whole process"]


async def another(worker: EmbeddedWorker, pid: int) -> int:
    """Return the process id of the next child that works."""
    async with asyncio.timeout(LONG_SECONDS):
        while (found := await worker.ready()) == pid:  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)
        return found


class FallingSilent:
    """Passes on what a child says until it is ready, and nothing more."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_silent = False

    async def readline(self) -> bytes:
        if self._is_silent:
            await asyncio.Event().wait()
        line: bytes = await self._stream.readline()
        self._is_silent = Pulse.from_line(line) is None
        return line


class Immortal:
    """A process that falls silent and that no signal ends, as one that waits for a disk in the kernel."""

    returncode = None

    def __init__(self, process: Any) -> None:
        self.pid = process.pid
        self.stdout = FallingSilent(process.stdout)
        self.was_killed = False

    def kill(self) -> None:
        self.was_killed = True

    def send_signal(self, number: int) -> None:
        return None

    async def wait(self) -> int:
        await asyncio.Event().wait()
        return 0


def test_a_child_that_cannot_be_ended_is_left_behind_and_another_is_started(
    hasty: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spawned = embedded_worker.spawn
    monkeypatch.setattr(child_watch, "KILL_SECONDS", 0.1)
    immortals: list[Immortal] = []
    reasons: list[str] = []

    async def spawn(*arguments: Any) -> Child:
        child = await spawned(*arguments)
        if immortals:
            return child
        immortals.append(Immortal(child.process))
        return Child(immortals[0], child.pipe)  # type: ignore[arg-type]  # Stands for a process.

    monkeypatch.setattr(embedded_worker, "spawn", spawn)

    async def story() -> None:
        worker = EmbeddedWorker(hasty.settings, run_in(hasty), on_replaced=reasons.append)
        await worker.start()
        try:
            assert await another(worker, await worker.ready())
            assert reasons == ["hung"]
            assert immortals[0].was_killed
        finally:
            await worker.stop(hasty.settings.shutdown_grace_seconds)

    asyncio.run(story())
    assert "a worker that hangs cannot be ended, perhaps its disk does not answer" in caplog.messages


def run_in(bench: Bench) -> Any:
    def act(change: Any) -> Any:
        with bench.database.transaction() as connection:
            return change(connection)

    async def run(change: Any) -> Any:
        return await asyncio.to_thread(act, change)

    return run
