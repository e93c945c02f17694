"""Answers as the connection needs them: without chunks for HTTP/1.0, and the last one of a connection."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceError
from service.web.http.security_headers import completed
from service.web.problems import LingeringResponse, problem

LINGER_SECONDS = 1.0


def ended_by_closing(cycle: Any, app: ASGIApp) -> ASGIApp:
    """Return the application for a client that knows no chunks: a body of unknown length ends with its connection.

    HTTP/1.0 has no other way (RFC 9112, 6.1 and 6.3). A body that breaks off ends with a reset, or it would pass for
    whole.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def send_on(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                cycle.chunked_encoding = None if has_length else False
            elif not has_length:
                # What is left of it, as far as uvicorn is concerned.
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_on)
        if not cycle.response_complete:
            cycle.transport.abort()

    return answer


def last_word(error: ServiceError) -> ASGIApp:
    """Return an application that answers every request with this error, and waits until the client has read it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = LingeringResponse(problem(Request(scope, receive), error), drain_seconds=LINGER_SECONDS)
        response.raw_headers = completed(response.raw_headers, scope.get("scheme") == "https")
        await response(scope, receive, send)

    return answer
