"""A real child process under a real supervisor: woken, killed, poisoned, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sqlalchemy.exc import OperationalError

from service.work import embedded_worker
from service.work.child_process import COMMAND
from service.work.embedded_worker import EmbeddedWorker
from service.work.life_lock import LifeLocks
from service.work.low_priority import COMPUTE_STEPS
from service.work.wake_pipe import WakePipe
from storage.ids import random_id
from tests.service.payloads import noise, text
from tests.service.work.bench import Bench, gated
from tests.service.work.misbehaving_child import POISON
from tests.service.work.supervision import is_running, soon, supervised, worker_pids
from tests.storage.job_builder import attempts_of
from tests.storage.messages.test_deliveries import deliveries, ended


def causes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return how the workers ended, by the log."""
    return [vars(record)["by"] for record in caplog.records if record.message == "worker ended"]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that does not exist yet; work on a gated source goes on until it does."""
    return tmp_path / "gate"


MISBEHAVING = (sys.executable, "-P", str(Path(__file__).with_name("misbehaving_child.py")))


def test_a_woken_child_does_the_work_whatever_the_event_loop(bench: Bench) -> None:
    async def story() -> None:
        async with supervised(bench.with_settings(poll_seconds=60)) as worker:
            await worker.ready()
            job_id = bench.submit(text(100_000))
            worker.wake()
            await soon(lambda: bench.is_ended(job_id))
            assert bench.status(job_id) == "succeeded"

    for run in (asyncio.run, uvloop.run):
        run(story())


def test_a_wake_has_the_child_look_for_messages_too(bench: Bench) -> None:
    async def story() -> None:
        async with supervised(bench.with_settings(poll_seconds=60)) as worker:
            await worker.ready()
            # Both loops have looked, and found nothing.
            await asyncio.sleep(0.5)
            job_id = ended(bench.database)
            worker.wake()
            await soon(lambda: deliveries(bench.database, job_id) == [(1, "failed", None)])

    asyncio.run(story())


def test_a_killed_child_is_started_again_and_its_jobs_are_finished(
    bench: Bench, gate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with supervised(bench, MISBEHAVING) as worker:
            pid = await worker.ready()
            first, second = bench.submit(gated(gate)), bench.submit(gated(gate))
            worker.wake()
            await soon(lambda: bench.status(first) == bench.status(second) == "running")
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: bench.row(first)["epoch"] == 2)
            assert await worker.ready() != pid

            # They shared the worker, so neither is accused of anything but from now on each runs alone.
            rows = [bench.row(first), bench.row(second)]
            assert [(row["losses"], row["is_isolated"], row["attempts"]) for row in rows] == [
                (0, True, 1),
                (0, True, 0),
            ]
            assert bench.status(second) == "queued"
            assert [attempt["outcome"] for attempt in attempts_of(bench.database, second)] == ["worker_lost"]

    asyncio.run(story())
    assert causes(caplog) == ["SIGKILL"]


def test_a_child_that_dies_over_one_job_counts_a_loss_and_the_job_is_finished(bench: Bench, gate: Path) -> None:
    async def story() -> None:
        async with supervised(bench, MISBEHAVING) as worker:
            pid = await worker.ready()
            job_id = bench.submit(gated(gate))
            worker.wake()
            await soon(lambda: bench.row(job_id)["phase"] == "compressing")
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: bench.row(job_id)["epoch"] == 2)
            gate.touch()
            await soon(lambda: bench.is_ended(job_id))

            row = bench.row(job_id)
            assert (row["status"], row["epoch"], row["losses"]) == ("succeeded", 2, 1)
            await soon(lambda: bench.stored_keys() == {row["result_key"]} and not bench.parts())

    asyncio.run(story())


def test_poison_fails_with_a_reason_and_its_neighbours_succeed(bench: Bench) -> None:
    async def story() -> None:
        poison = bench.submit(POISON + text(50_000))
        neighbours = [bench.submit(text(50_000, seed)) for seed in (1, 2, 3)]
        async with supervised(bench, MISBEHAVING):
            await soon(lambda: all(bench.is_ended(job_id) for job_id in (poison, *neighbours)))

        row = bench.row(poison)
        assert (row["status"], row["error_code"]) == ("failed", "worker_lost")
        assert row["losses"] == bench.settings.max_worker_losses
        assert [bench.status(job_id) for job_id in neighbours] == ["succeeded"] * 3
        assert [bench.row(job_id)["losses"] for job_id in neighbours] == [0, 0, 0]

    asyncio.run(story())


def test_stop_gives_back_what_runs_and_the_child_exits_with_0(
    bench: Bench, gate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        async with supervised(bench.with_settings(shutdown_grace_seconds=1.0), MISBEHAVING) as worker:
            await worker.ready()
            job_id = bench.submit(gated(gate))
            worker.wake()
            await soon(lambda: bench.row(job_id)["phase"] == "compressing")
        row = bench.row(job_id)
        assert (row["status"], row["attempts"], row["losses"], row["is_isolated"]) == ("queued", 0, 0, False)
        assert worker_pids(bench) == []
        assert list(Path(bench.settings.locks_dir).iterdir()) == []

    asyncio.run(story())
    assert causes(caplog) == ["exit 0"]


STUBBORN = (
    "import signal, sys, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, {15})\nprint('up', flush=True)\ntime.sleep(60)"
)


def test_a_child_that_does_not_heed_the_signal_is_killed_after_the_grace(bench: Bench) -> None:
    async def story() -> None:
        async with supervised(
            bench.with_settings(shutdown_grace_seconds=0.2), (sys.executable, "-c", STUBBORN)
        ) as worker:
            pid = await worker.ready()
        assert not is_running(pid)

    asyncio.run(story())


def test_a_child_that_cannot_start_is_tried_again_with_growing_pauses(bench: Bench) -> None:
    tries = bench.files_dir / "tries"
    program = f"import sys; open({str(tries)!r}, 'a').write('x'); sys.exit(3)"

    async def story() -> None:
        async with supervised(bench, (sys.executable, "-c", program)):
            await soon(lambda: tries.exists() and len(tries.read_text()) == 3)

    asyncio.run(story())


def test_a_command_that_does_not_exist_never_ends_the_supervisor(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with supervised(bench, ("/nowhere/python",)) as worker:
            await soon(lambda: caplog.messages.count("no worker can be started") >= 2)
            worker.wake()

    asyncio.run(story())
    assert list(Path(bench.settings.locks_dir).iterdir()) == []


def test_an_error_nobody_thought_of_never_ends_the_supervisor(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned = embedded_worker.spawn
    errors = [ValueError("first"), RuntimeError("second")]

    async def failing(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return await spawned(*arguments)

    monkeypatch.setattr(embedded_worker, "spawn", failing)

    async def story() -> None:
        async with supervised(bench) as worker:
            await worker.ready()

    asyncio.run(story())
    assert caplog.messages.count("no worker can be started") == 2


def test_a_worker_that_is_stopped_before_it_was_started_is_no_trouble(bench: Bench) -> None:
    async def story() -> None:
        async def never(_: Callable[..., Any]) -> Any:
            raise AssertionError

        await EmbeddedWorker(bench.settings, never).stop(1)

    asyncio.run(story())


def test_a_stop_in_the_moment_of_the_start_is_heeded(bench: Bench) -> None:
    async def story() -> None:
        async with supervised(bench) as worker:
            # The supervisor has begun to start the child and has not seen it yet.
            await asyncio.sleep(0)
            worker.wake()
        assert worker_pids(bench) == []

    asyncio.run(story())


def test_what_a_dead_child_held_is_taken_up_once_the_database_is_back(
    bench: Bench, gate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 2

    def trouble(run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run_transaction(change: Callable[..., Any]) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise OperationalError("BEGIN IMMEDIATE", {}, Exception("database is locked"))
            return await run(change)

        return run_transaction

    async def story() -> None:
        async with supervised(bench, MISBEHAVING, through=trouble) as worker:
            pid = await worker.ready()
            job_id = bench.submit(gated(gate))
            worker.wake()
            await soon(lambda: bench.status(job_id) == "running")
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: bench.row(job_id)["losses"] == 1)

    asyncio.run(story())
    assert sum("cannot be taken up yet" in message for message in caplog.messages) == 1


def test_nobody_else_rescues_the_dead_child_of_a_supervisor_that_lives(bench: Bench) -> None:
    is_free = asyncio.Event()

    def held_up(run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def run_transaction(change: Callable[..., Any]) -> Any:
            await is_free.wait()
            return await run(change)

        return run_transaction

    async def story() -> None:
        async with supervised(bench, through=held_up) as worker:
            pid = await worker.ready()
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: not is_running(pid))
            assert LifeLocks(Path(bench.settings.locks_dir)).dead() == []
            is_free.set()

    asyncio.run(story())


def test_a_wake_never_blocks_and_never_raises() -> None:
    pipe = WakePipe("{}")
    for _ in range(70_000):
        pipe.wake()
    pipe.close_reading()
    pipe.wake()
    pipe.close()
    pipe.wake()


async def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_child_stands_below_the_service_and_its_codecs_below_everybody(bench: Bench, gate: Path) -> None:
    async def story() -> None:
        async with supervised(bench.with_settings(worker_niceness=7), MISBEHAVING) as worker:
            pid = await worker.ready()
            assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
            below = os.getpriority(os.PRIO_PROCESS, 0) + 7
            job_id = bench.submit(gated(gate))
            worker.wake()
            await soon(lambda: bench.row(job_id)["phase"] == "compressing")
            tasks = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
            priorities = [os.getpriority(os.PRIO_PROCESS, task) for task in tasks]
            assert sorted(priorities) == [below] * (len(tasks) - 1) + [min(19, below + COMPUTE_STEPS)]
            assert len(tasks) > 3

    asyncio.run(story())


@pytest.mark.parametrize("target", ["xz", "brotli", "zstd"])
def test_the_slowest_levels_are_cancelled_soon_too(bench: Bench, target: str) -> None:
    content = noise(4_000_000).hex().encode()
    bench = bench.with_settings(heartbeat_seconds=0.5)

    async def story() -> None:
        async with supervised(bench) as worker:
            await worker.ready()
            job_id = bench.submit(content, format=target, level="small")
            worker.wake()
            await soon(lambda: bench.row(job_id)["phase"] == "compressing")
            bench.cancel(job_id)
            await soon(lambda: bench.is_ended(job_id), seconds=2)
            assert bench.status(job_id) == "cancelled"
            await soon(lambda: not bench.parts())
            assert all(key.startswith("s-") for key in bench.stored_keys())

    asyncio.run(story())


def test_a_child_whose_parent_is_gone_before_it_said_anything_ends() -> None:
    ended = subprocess.run([*COMMAND, random_id()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)

    assert ended.stdout == b""
