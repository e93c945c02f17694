"""uvicorn's HTTP/1.1 protocol with what a service on a network needs: a deadline and a limit for headers.

uvicorn 0.54 has no time limit of its own for a request's headers, and its parser takes 512 KB of them. Bodies have
their own limit on silence, in ``web.body``. This leans on uvicorn's internals: the lock pins it, tests hold it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.web.event_stream import TRANSPORT

MAX_HEAD_BYTES = 64 * 1024


class LimitedProtocol(HttpToolsProtocol):
    """Closes connections whose headers do not arrive whole in time, or are too large."""

    header_timeout_seconds = 15.0

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._cancel_deadline()
        self._is_in_head, self._head_bytes = True, 0
        self._deadline = self.loop.call_later(self.header_timeout_seconds, self._close_late)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._deadline is None:
                self._expect_head()
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def _refuse_head(self) -> None:
        text = b"431 headers_too_large: At most 64 KiB of headers are taken.\n"
        head = b"HTTP/1.1 431 \r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(text) + text)
        self.transport.close()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._cancel_deadline()
        scope: Any = self.scope
        # What lasts limits what its connection may hold.
        scope["extensions"] = {TRANSPORT: self.transport}
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        # As uvicorn's, which copies each byte into a bytearray and out of it again: here a chunk goes through.
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        cycle.body = cycle.body + body if cycle.body else body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # The next request on this connection; uvicorn's keep-alive timer limits the time until it begins.
        self._is_in_head, self._head_bytes = True, 0

    def send_400_response(self, msg: str) -> None:
        cycle: Any = self.cycle
        if cycle is not None and cycle.response_started:
            # An answer is under way on this connection; a second one would be read as part of it.
            self.transport.close()
            return
        super().send_400_response(msg)


def limited_protocol(header_timeout_seconds: float) -> type[asyncio.Protocol]:
    """Return the protocol class with this deadline for headers."""
    made: Any = type("LimitedProtocol", (LimitedProtocol,), {"header_timeout_seconds": header_timeout_seconds})
    protocol: type[asyncio.Protocol] = made
    return protocol
