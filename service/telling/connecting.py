"""Names and their addresses within a time: what ``safe_http`` and ``smtp`` do before the first byte."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")

Resolve = Callable[[str, int], Iterable[str]]


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a name, as the system finds them, in the order to try them.

    Raises:
        OSError: there are none, or nobody to ask.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def look_up_within(seconds: float, host: str, port: int, resolve: Resolve = look_up) -> list[str]:
    """Return the addresses of a name, none if there are none.

    In a thread: the system's resolver knows no deadline, and is left behind at ours.

    Raises:
        TimeoutError: no answer came in time.
    """
    found: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def look() -> None:
        try:
            found.put(list(resolve(host, port)))
        except (OSError, UnicodeError):
            found.put([])

    threading.Thread(target=look, name="name look-up", daemon=True).start()
    try:
        return found.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("the name was not looked up in time") from None


def connect_to_first(
    addresses: Sequence[A],
    connect: Callable[[A, float], T],
    *,
    seconds_left: Callable[[], float],
    failures: tuple[type[Exception], ...] = (OSError,),
) -> T:
    """Return the connection to the first of at least one address that takes it; ``connect`` is given its seconds.

    Each has its share of what is left: one that swallows everything must not take the time of the others.

    Raises:
        Exception: what ``seconds_left`` raises, or ``connect`` for the last address.
    """
    for left, address in zip(range(len(addresses), 1, -1), addresses[:-1], strict=True):
        try:
            return connect(address, seconds_left() / left)
        except failures:
            continue
    return connect(addresses[-1], seconds_left())
