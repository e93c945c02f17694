"""Running one function over a stream in several threads, results in order. The parallel gzip and zip stand on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def ordered_map(function: Callable[[Item], Outcome], items: Iterable[Item], *, threads: int) -> Iterator[Outcome]:
    """Yield ``function(item)`` for every item, in order, computed by ``threads`` threads.

    At most ``threads + 2`` items are held at once: one in each thread and two that wait, so that a thread never
    stands still while the caller writes and reads. With one thread everything runs in the caller's. Closing the
    generator drops what waits and returns when the items in work are done; no thread is left.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="codec")
    pending: deque[Future[Outcome]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= threads + 2:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
