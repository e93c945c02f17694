"""One suite over every dispatcher: a wake never blocks, never raises, from any thread, at any time."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from service.intake.dispatch import Dispatcher, NoDispatcher
from service.work.embedded_worker import EmbeddedWorker
from tests.service.work.bench import Bench
from tests.service.work.supervision import soon

DEAF_CHILD = (sys.executable, "-c", "import signal; signal.pause()", "--")
"""A child that never reads its pipe, so that wakes fill it."""
SLOW_SECONDS = 2.0
"""For thousands of wakes on a busy machine; one that blocked would never come back."""


@dataclass(frozen=True)
class Kind:
    """One dispatcher, before and while it runs."""

    make: Callable[[Bench], Any]
    run: Callable[[Any], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing(_: Any) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def a_child(worker: EmbeddedWorker) -> AsyncIterator[None]:
    await worker.start()
    try:
        await soon(lambda: worker._child is not None)
        yield
    finally:
        await worker.stop(2)


def embedded(bench: Bench) -> EmbeddedWorker:
    async def run_transaction(change: Any) -> Any:
        with bench.database.transaction(is_durable=False) as connection:
            return change(connection)

    return EmbeddedWorker(bench.settings, run_transaction, command=DEAF_CHILD)


KINDS = {"none": Kind(lambda _: NoDispatcher(), nothing), "embedded": Kind(embedded, a_child)}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def wakes(dispatcher: Dispatcher, count: int) -> float:
    """Wake so many times; return the seconds it took."""
    began = time.monotonic()
    for _ in range(count):
        assert dispatcher.wake() is None  # type: ignore[func-returns-value]
    return time.monotonic() - began


def test_a_wake_before_the_start_does_nothing(kind: Kind, bench: Bench) -> None:
    assert wakes(kind.make(bench), 1000) < SLOW_SECONDS


def test_more_wakes_than_anybody_takes_do_not_block(kind: Kind, bench: Bench) -> None:
    async def story() -> float:
        dispatcher = kind.make(bench)
        async with kind.run(dispatcher):
            # More than the 64 KiB that a pipe holds.
            return wakes(dispatcher, 70_000)

    assert asyncio.run(story()) < 5 * SLOW_SECONDS


def test_a_wake_may_come_from_any_thread(kind: Kind, bench: Bench) -> None:
    errors: list[BaseException] = []

    def wake(dispatcher: Dispatcher) -> None:
        try:
            wakes(dispatcher, 500)
        except BaseException as error:
            errors.append(error)

    async def story() -> None:
        dispatcher = kind.make(bench)
        async with kind.run(dispatcher):
            threads = [threading.Thread(target=wake, args=(dispatcher,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            await asyncio.to_thread(lambda: [thread.join(10) for thread in threads])
            assert not any(thread.is_alive() for thread in threads)

    asyncio.run(story())
    assert errors == []


def test_a_wake_while_it_stops_and_after_does_nothing(kind: Kind, bench: Bench) -> None:
    is_over = threading.Event()
    errors: list[BaseException] = []

    def keep_waking(dispatcher: Dispatcher) -> None:
        try:
            while not is_over.is_set():
                dispatcher.wake()
        except BaseException as error:
            errors.append(error)

    async def story() -> None:
        dispatcher = kind.make(bench)
        async with kind.run(dispatcher):
            thread = threading.Thread(target=keep_waking, args=(dispatcher,))
            thread.start()
        is_over.set()
        await asyncio.to_thread(thread.join, 10)
        assert wakes(dispatcher, 1000) < SLOW_SECONDS

    asyncio.run(story())
    assert errors == []
