"""A request's body as chunks, with a limit on silence; and how much of it has been taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from service.errors import RECEIVE_TIMEOUT, ServiceError


class ClientGone(Exception):
    """The client has hung up: nobody waits for an answer."""


class Body:
    """The chunks of one request."""

    def __init__(self, request: Request, *, timeout_seconds: float) -> None:
        self._receive = request.receive
        self._timeout_seconds = timeout_seconds
        self.is_finished = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield chunks as they arrive, none of them empty.

        Raises:
            ClientGone: the connection was lost, or its data was not HTTP any more.
            ServiceError: receive_timeout, after that much silence.
        """
        while not self.is_finished:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    message = await self._receive()
            except TimeoutError as error:
                detail = f"No byte arrived for {self._timeout_seconds:g} seconds; nothing was kept."
                raise ServiceError(RECEIVE_TIMEOUT, detail) from error
            if message["type"] == "http.disconnect":
                raise ClientGone
            self.is_finished = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk
