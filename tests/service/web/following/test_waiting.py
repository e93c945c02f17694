"""Long-polls: one look for all, and nobody waits longer than there is something to wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from service.web.following import waiting
from service.web.following.waiting import ChangeWatch


class Board:
    """Stands for the status board: a number of commits, and how often it was asked for."""

    def __init__(self) -> None:
        self.version = 1
        self.looks = 0

    def data_version(self) -> int:
        self.looks += 1
        return self.version


def watched(story: Callable[[ChangeWatch, Board], Coroutine[Any, Any, None]], *, max_waiting: int = 100) -> None:
    async def run() -> None:
        board = Board()
        async with asyncio.timeout(20):
            await story(ChangeWatch(board, max_waiting=max_waiting), board)  # type: ignore[arg-type]

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody.
        await asyncio.sleep(0.005)


def test_what_is_reached_already_is_not_waited_for() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        await watch.wait_until(lambda: True, seconds=1000)
        assert board.looks == 0

    watched(story)


def test_one_address_waits_for_its_share_and_others_for_theirs() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        watch._max_per_address = 5
        waits = [
            asyncio.create_task(watch.wait_until(lambda: False, seconds=1000, jobs=jobs, caller=caller))
            for caller, jobs in (("192.0.2.1", 5), ("192.0.2.2", 5), (None, 50))
        ]
        await until(lambda: board.looks > 1)

        assert not any(wait.done() for wait in waits)
        assert watch.limit_met(1, "192.0.2.1") == "max_waiting_requests_per_address"
        await watch.wait_until(lambda: False, seconds=1000, caller="192.0.2.1")
        assert watch.limit_met(5, "192.0.2.3") is None
        assert watch.limit_met(41, None) == "max_waiting_requests"
        watch.drain()
        await asyncio.gather(*waits)
        assert len(watch._shares) == 0

    watched(story)


def test_a_commit_ends_the_wait_of_those_it_concerns_only() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        reached: set[int] = set()
        waits = [
            asyncio.create_task(watch.wait_until(lambda number=number: number in reached, seconds=1000))
            for number in range(3)
        ]
        await until(lambda: board.looks > 1)
        reached.add(1)
        board.version += 1
        await waits[1]
        assert [wait.done() for wait in waits] == [False, True, False]
        reached.update({0, 2})
        board.version += 1
        await asyncio.gather(*waits)

    watched(story)


def test_a_change_committed_between_asking_and_holding_is_not_missed() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        asked = 0

        def is_reached() -> bool:
            nonlocal asked
            asked += 1
            if asked == 1:
                # A commit right after the answer, and none ever after.
                board.version += 1
            return asked > 1

        began = time.monotonic()
        await watch.wait_until(is_reached, seconds=1000)
        assert time.monotonic() - began < 5

    watched(story)


def test_nobody_is_asked_while_nothing_is_committed() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        asked = 0

        def is_reached() -> bool:
            nonlocal asked
            asked += 1
            return False

        wait = asyncio.create_task(watch.wait_until(is_reached, seconds=1000))
        await until(lambda: board.looks >= 2)
        first = asked
        await until(lambda: board.looks >= 5)
        assert asked == first
        wait.cancel()

    watched(story)


def test_one_look_serves_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)

    async def story(watch: ChangeWatch, board: Board) -> None:
        waits = [asyncio.create_task(watch.wait_until(lambda: False, seconds=0.3)) for _ in range(50)]
        await asyncio.gather(*waits)
        assert 1 <= board.looks <= 40

    watched(story)


def test_looking_ends_when_nobody_waits_and_begins_again_with_the_next() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        await watch.wait_until(lambda: False, seconds=0.05)
        await until(lambda: watch._task is not None and watch._task.done())
        looks = board.looks
        is_there = False

        def is_reached() -> bool:
            return is_there

        wait = asyncio.create_task(watch.wait_until(is_reached, seconds=1000))
        await until(lambda: board.looks > looks)
        is_there = True
        board.version += 1
        await wait

    watched(story)


def test_time_ends_a_wait() -> None:
    async def story(watch: ChangeWatch, _: Board) -> None:
        began = time.monotonic()
        await watch.wait_until(lambda: False, seconds=0.15)
        assert 0.14 <= time.monotonic() - began < 3

    watched(story)


def test_draining_frees_everybody_and_holds_nobody_after() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        waits = [asyncio.create_task(watch.wait_until(lambda: False, seconds=1000)) for _ in range(5)]
        await until(lambda: board.looks > 0)
        assert not watch.is_draining

        watch.drain()

        await asyncio.gather(*waits)
        await watch.wait_until(lambda: False, seconds=1000)
        assert watch.is_draining

    watched(story)


def test_beyond_the_limit_requests_are_answered_at_once() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        waits = [asyncio.create_task(watch.wait_until(lambda: False, seconds=1000)) for _ in range(2)]
        await until(lambda: board.looks > 0)

        await watch.wait_until(lambda: False, seconds=1000)

        assert not any(wait.done() for wait in waits)
        waits[0].cancel()
        await asyncio.wait({waits[0]})
        third = asyncio.create_task(watch.wait_until(lambda: False, seconds=1000))
        await asyncio.sleep(0.01)
        assert not third.done()
        watch.drain()
        await asyncio.gather(waits[1], third)

    watched(story, max_waiting=2)


def test_who_has_left_is_not_waited_for_and_counts_no_more() -> None:
    async def story(watch: ChangeWatch, board: Board) -> None:
        left = asyncio.Event()
        wait = asyncio.create_task(watch.wait_until(lambda: False, seconds=1000, jobs=100, gone=left.wait))
        await until(lambda: board.looks > 1)
        left.set()
        await wait
        # There is room again for as many.
        wait = asyncio.create_task(watch.wait_until(lambda: False, seconds=1000, jobs=100))
        await until(lambda: board.looks > 4)
        assert not wait.done()
        watch.drain()
        await wait

    watched(story)
