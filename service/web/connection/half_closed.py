"""Whether a client that has ended its sending is still there: only data tells.

``close`` sends the same FIN as ``shutdown(SHUT_WR)``, and the kernel of a client that has closed answers keep-alive
probes all the same, for a minute (Linux 6.18). It answers data with a reset, and then the next ping fails: so the
second ping finds that the client is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from service.web.following.event_stream import PING

PING_SECONDS = 5.0


class Pings:
    """What is sent to one such client while it waits, until its connection is lost."""

    def __init__(self, transport: asyncio.Transport, answered: Callable[[], Any]) -> None:
        """``answered`` returns uvicorn's cycle whose answer is under way or was the last."""
        self._transport = transport
        self._answered = answered
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Ping from now on."""
        self._ping(is_first=True)

    def end(self) -> None:
        """Ping no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _ping(self, *, is_first: bool = False) -> None:
        """Send what every client passes over: of an answer that lasts its own, of none yet RFC 9110's (15.2.1).

        An answer under way tells as much, and one that is about to come makes ``100 Continue`` at once needless.
        """
        cycle = self._answered()
        if cycle.response_started:
            cycle.scope.get("extensions", {}).get(PING, _nothing)()
        elif not is_first and cycle.scope["http_version"] == "1.1":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping)


def _nothing() -> None:
    """Stand in for the ping of an answer that has none."""
