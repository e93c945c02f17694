"""A real child process under a real supervisor, killed and stopped."""

from __future__ import annotations

import asyncio

from tests.service.payloads import text
from tests.service.work.bench import Bench
from tests.service.work.supervision import soon, supervised


def test_a_woken_child_does_the_work(bench: Bench) -> None:
    async def story() -> None:
        async with supervised(bench) as worker:
            await worker.ready()
            job_id = bench.submit(text(100_000))
            worker.wake()
            await soon(lambda: bench.is_ended(job_id))
            assert bench.status(job_id) == "succeeded"

    asyncio.run(story())
