"""A supervised worker for tests, and what one does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection

from service.work.child_process import COMMAND
from service.work.embedded_worker import EmbeddedWorker
from tests.service.work.bench import PATIENCE_SECONDS, Bench
from tests.storage.job_builder import act

T = TypeVar("T")


@asynccontextmanager
async def supervised(bench: Bench, command: Sequence[str] = COMMAND) -> AsyncIterator[EmbeddedWorker]:
    """Run an embedded worker for a while."""

    async def run_transaction(change: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(act, bench.database, change)

    worker = EmbeddedWorker(bench.settings, run_transaction, command=command)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(bench.settings.shutdown_grace_seconds)


async def soon(condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds, letting the loop run."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
