"""An answer that lasts until its stream ends or its client goes, and keeps nothing for one that does not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.web.following.event_format import HEADERS, RETRY
from service.web.following.listener import Listener

TRANSPORT = "vacpack.transport"
"""Where a request's scope has its connection, among the ``extensions``: given by ``http_protocol``."""
PING = "vacpack.ping"
"""Where an answer that lasts puts, beside the connection, what sends something that tells whether its client is still
there: ``http_protocol`` calls it once the client has ended its sending, which may have been its end."""
SEND_BUFFER_BYTES = 32 * 1024
"""Kept by the kernel for one stream: some twenty events. By itself it would take megabytes of what nobody reads."""
STALL_SECONDS = 30.0
"""A client that takes nothing for so long while something is to be sent has its connection dropped."""

Listen = Callable[[Callable[[], None]], AbstractContextManager[Listener]]
"""Given what drops the connection, returns the listener of this stream."""


class EventStream(Response):
    """Sends what a listener is offered."""

    def __init__(self, listen: Listen) -> None:
        # Its connection is given limits that would slow other answers down.
        super().__init__(None, 200, HEADERS | {"Connection": "close"})
        del self.headers["Content-Length"]
        self._listen = listen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with self._listen(_limited(scope)) as listener:
            scope.get("extensions", {})[PING] = listener.comment
            watching = asyncio.create_task(_end_with_client(listener, receive))
            try:
                await _send_all(listener, send)
            finally:
                watching.cancel()
        if self.background is not None:
            await self.background()


async def _send_all(listener: Listener, send: Send) -> None:
    # Each waits until the connection takes it, while the listener forgets what has become old.
    await send({"type": "http.response.body", "body": RETRY, "more_body": True})
    while piece := await listener.next():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _end_with_client(listener: Listener, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end()


def _limited(scope: Scope) -> Callable[[], None]:
    """Limit what the stream's connection may hold, and for how long; return what drops it.

    The kernel drops it by itself (tcp(7), TCP_USER_TIMEOUT): also where the client's machine has vanished.
    """
    transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT)
    if transport is None:
        return _nothing
    transport.set_write_buffer_limits(high=0)
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * STALL_SECONDS))
    return transport.abort


def _nothing() -> None:
    """Stand in where a server gives no connection."""
