"""A request's body as chunks: as long as it was announced, with limits on silence and on trickling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Message

from service.errors import (
    BAD_REQUEST,
    BODY_TRUNCATED,
    LENGTH_REQUIRED,
    RECEIVE_TIMEOUT,
    TOO_SLOW,
    UPLOAD_TOO_LARGE,
    ServiceError,
)


class ClientGone(Exception):
    """The client has hung up: nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How slowly a body may come."""

    timeout_seconds: float
    """Of silence."""
    min_bytes_per_second: int = 0
    """On the average of ``rate_seconds``."""
    rate_seconds: float = 30.0


class Body:
    """The chunks of one request."""

    def __init__(self, request: Request, pace: Pace, *, max_bytes: int) -> None:
        self._request = request
        self._pace = pace
        self._max_bytes = max_bytes
        self._waited_seconds = 0.0
        self._since_bytes = 0
        self.is_finished = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield chunks as they arrive, none of them empty. It ends when all that was announced has come.

        Raises:
            ClientGone: the connection was lost, or its data was not HTTP any more.
            ServiceError: receive_timeout, after that much silence; too_slow, below that rate; body_truncated,
                bad_request, its length is not the one of its ``Content-Length``, whatever the parser made of it;
                length_required; upload_too_large, more came than any upload may have, whatever it was.
        """
        declared, received = _declared_bytes(self._request), 0
        while not self.is_finished:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            self.is_finished = not message.get("more_body", False)
            received += len(chunk)
            self._check_size(received)
            self._check_pace(len(chunk))
            if declared is not None:
                _check_length(received, declared, is_finished=self.is_finished)
            if chunk:
                yield chunk

    def _check_size(self, received: int) -> None:
        if received > self._max_bytes:
            raise ServiceError(UPLOAD_TOO_LARGE, f"At most {self._max_bytes} bytes of a body are taken.")

    async def _next(self) -> Message:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._pace.timeout_seconds):
                return await self._request.receive()
        except TimeoutError as error:
            detail = f"No byte arrived for {self._pace.timeout_seconds:g} seconds; nothing was kept."
            raise ServiceError(RECEIVE_TIMEOUT, detail) from error
        finally:
            # Only the client's time: while a full disk is written to, nobody waits for it.
            self._waited_seconds += time.monotonic() - began

    def _check_pace(self, size_bytes: int) -> None:
        """Count what arrived. Silence alone is no measure: a byte a minute holds a place for ever."""
        pace = self._pace
        self._since_bytes += size_bytes
        if self._waited_seconds < pace.rate_seconds:
            return
        if not self.is_finished and self._since_bytes < pace.min_bytes_per_second * pace.rate_seconds:
            detail = (
                f"Less than {pace.min_bytes_per_second} bytes a second arrived over {pace.rate_seconds:g} seconds;"
                " nothing was kept."
            )
            raise ServiceError(TOO_SLOW, detail, limit="receive_min_bytes_per_second")
        self._waited_seconds, self._since_bytes = 0.0, 0


def _declared_bytes(request: Request) -> int | None:
    """Return the length the head announces; None where the end of the body says it."""
    headers = request.headers
    lengths = {value.strip() for value in headers.getlist("content-length")}
    if not lengths:
        # HTTP/2 frames bodies itself; in HTTP/1 one that is not announced is none, and what was sent would be lost.
        if request.scope.get("http_version") in ("1.0", "1.1") and "transfer-encoding" not in headers:
            detail = "Send a Content-Length, or the body in chunks: curl -T FILE does. An empty file has length 0."
            raise ServiceError(LENGTH_REQUIRED, detail)
        return None
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()):
        raise ServiceError(BAD_REQUEST, "Content-Length is one number of bytes.")
    return int(length)


def _check_length(received: int, declared: int, *, is_finished: bool) -> None:
    if received > declared:
        raise ServiceError(BAD_REQUEST, f"More than the {declared} bytes of its Content-Length arrived; none was kept.")
    if is_finished and received < declared:
        detail = f"{received} of the {declared} bytes of its Content-Length arrived; none was kept. Send it again."
        raise ServiceError(BODY_TRUNCATED, detail)
