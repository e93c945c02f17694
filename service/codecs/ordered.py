"""Running one function over a stream in several threads, results in order. Parallel gzip and zstd stand on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")

GLANCE_SECONDS = 0.25
"""A cancelled job must stop within a second, and a slow level needs several for one item."""


def ordered_map(
    function: Callable[[Item], Output], items: Iterable[Item], *, threads: int, stop: Event | None = None
) -> Generator[Output | None]:
    """Yield ``function(item)`` for every item, in order, computed by ``threads`` threads.

    Yields None every ``GLANCE_SECONDS`` while the next result is not ready, so that the caller can look up. At most
    ``threads + 2`` items are held at once: one in each thread and two that wait, so that no thread stands still while
    the caller writes and reads. Closing the generator sets ``stop``, drops what waits, and returns when the threads are
    done with what they have in hand; none is left.
    """
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="codec")
    pending: deque[Future[Output]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= threads + 2:
                yield from _first_of(pending)
        while pending:
            yield from _first_of(pending)
    finally:
        if stop is not None:
            stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _first_of(pending: deque[Future[Output]]) -> Iterator[Output | None]:
    while not wait([pending[0]], GLANCE_SECONDS).done:
        yield None
    yield pending.popleft().result()
