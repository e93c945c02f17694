"""Round every request: an id, one line in the log, the count, and a last answer where nothing else caught an error."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import CROSS_SITE, INTERNAL_ERROR, SHUTTING_DOWN, ErrorKind, ServiceError
from service.web.addresses import is_same_site, settle
from service.web.metrics import HttpMetrics
from service.web.problems import LingeringResponse, problem
from service.web.streams import DamagedWhile

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request under way, for the log."""


@dataclass(slots=True)
class Answer:
    """What has been sent so far in answer to one request."""

    status: int = 0
    is_whole: bool = False
    """Whether the last piece of the body has been handed to the server."""


_ANSWER = "vacpack.answer"


def answer_of(request: Request) -> Answer:
    """Return what has been sent so far in answer to this request."""
    answer: Answer = request.scope[_ANSWER]
    return answer


_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})
_log = logging.getLogger("vacpack.http")


class RequestScope:
    """The outermost layer of the application. Pure ASGI: polling is the hot path."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, public_url: str = "") -> None:
        """``public_url`` is the address people know, where a proxy may give requests another ``Host``."""
        self._app = app
        self._metrics = metrics
        self._public_url = public_url
        self._path_prefix = urlsplit(public_url).path.rstrip("/")
        self._prefix = token_hex(4).encode()
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = settle(scope, self._path_prefix)
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        identifier = given if _ID.fullmatch(given) else b"%s-%x" % (self._prefix, next(self._numbers))
        request_id.set(identifier.decode())
        began, answer = time.monotonic(), Answer()
        scope[_ANSWER] = answer

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identifier)]
            await send(message)
            if message["type"] == "http.response.body":
                answer.is_whole = not message.get("more_body", False)

        try:
            if scope["method"] in _CHANGING and is_cross_site(headers, self._public_url):
                await _refuse(scope, receive, send_on)
            else:
                await self._app(scope, receive, send_on)
        except (Exception, asyncio.CancelledError) as error:
            kind, detail = _broken_off(scope, error)
            if not answer.status:
                await _answer(send_on, kind, detail)
        finally:
            self._tell(scope, answer.status, time.monotonic() - began)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"]
        self._metrics.requests.labels(method if method in _METHODS else "other", status).inc()
        level = logging.INFO if method in _CHANGING or status >= 500 else logging.DEBUG
        if _log.isEnabledFor(level):
            facts = {"method": method, "path": scope["path"], "status": status}
            _log.log(level, "request", extra={**facts, "milliseconds": round(1000 * seconds, 1)})


_METHODS = _CHANGING | {"GET", "HEAD", "OPTIONS"}


def is_cross_site(headers: dict[bytes, bytes], public_url: str = "") -> bool:
    """Return whether a page of another site sent this, as far as its browser tells.

    Browsers send Sec-Fetch-Site on HTTPS and loopback; on a plain-HTTP network only Origin. curl sends neither.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    if origin is None:
        return False
    host = headers.get(b"host", b"")
    return not is_same_site(origin.decode("latin-1"), host.decode("latin-1"), public_url)


def _broken_off(scope: Scope, error: BaseException) -> tuple[ErrorKind, str]:
    """Log what ended a request; return what to tell its client."""
    facts = {"method": scope["method"], "path": scope["path"]}
    if isinstance(error, asyncio.CancelledError):
        # The grace of a shutdown is over. Raised on, it would be logged as a fault of the program.
        _log.warning("request cut off", extra=facts)
        return SHUTTING_DOWN, "The service stops now; nothing was kept. Send it again."
    # Of a damaged file all has been said where it was found.
    trace = None if isinstance(error, DamagedWhile) else error
    _log.error("request failed", extra=facts, exc_info=trace)
    return INTERNAL_ERROR, "It has been logged under the request's id."


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    error = ServiceError(CROSS_SITE, "Open the service's own page and send it from there.")
    await LingeringResponse(problem(Request(scope, receive), error))(scope, receive, send)


async def _answer(send: Send, kind: ErrorKind, detail: str) -> None:
    problem = {"type": "about:blank", "title": kind.title, "status": kind.status, "detail": detail, "code": kind.code}
    body = json.dumps(problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
