"""A supervised worker for tests, and ways to look at its processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from service.work.child_process import COMMAND
from service.work.embedded_worker import EmbeddedWorker
from storage.models import workers
from tests.service.work.bench import PATIENCE_SECONDS, Bench
from tests.storage.job_builder import act

T = TypeVar("T")
Run = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def supervised(
    bench: Bench, command: Sequence[str] = COMMAND, *, through: Callable[[Run], Run] = lambda run: run
) -> AsyncIterator[EmbeddedWorker]:
    """Run an embedded worker for a while; its transactions go ``through`` something that may hold them up."""

    async def run_transaction(change: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(act, bench.database, change)

    worker = EmbeddedWorker(bench.settings, through(run_transaction), command=command)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(bench.settings.shutdown_grace_seconds)


async def soon(condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds, letting the loop run."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)


def worker_pids(bench: Bench) -> list[int]:
    """Return the processes that stand in the table of workers."""
    with bench.database.read() as connection:
        return list(connection.execute(select(workers.c.pid)).scalars())


def is_running(pid: int) -> bool:
    """Say whether a process exists that is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0] != "Z"
