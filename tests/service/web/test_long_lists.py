"""A list of very many ids: others have their turn while it is read."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from service.web import jobs
from service.web.parts import Parts


def test_others_have_their_turn_while_a_long_list_is_read() -> None:
    read: list[str] = []
    turns: list[int] = []

    def get(job_id: str) -> str:
        read.append(job_id)
        return f"snapshot of {job_id}"

    async def other() -> None:
        while len(read) < jobs.MAX_IDS:
            turns.append(len(read))
            await asyncio.sleep(0)

    async def both(ids: list[str]) -> list[Any]:
        found, _ = await asyncio.gather(
            jobs._read(cast("Parts", SimpleNamespace(board=SimpleNamespace(get=get))), ids), other()
        )
        return found

    ids = [str(number) for number in range(jobs.MAX_IDS)]
    found = asyncio.run(both(ids))

    assert read == ids
    assert found == [f"snapshot of {job_id}" for job_id in ids]
    steps = [after - before for before, after in pairwise([0, *turns, jobs.MAX_IDS])]
    assert max(steps) <= 50
