"""Round every request: an id, one line in the log, the count, and a last answer where nothing else caught an error."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from secrets import token_hex

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import CROSS_SITE, INTERNAL_ERROR, SHUTTING_DOWN, UNKNOWN_HOST, ErrorKind, ServiceError
from service.web.addresses import settle
from service.web.http.security_headers import completed
from service.web.metrics import HttpMetrics
from service.web.problems import LingeringResponse, problem
from service.web.request_id import request_id
from service.web.sending.streams import DamagedWhile
from service.web.sites import Headers, Sites


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

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, sites: Sites, path_prefix: str = "") -> None:
        """``path_prefix`` is the path under which people know the service, as it stands in a URL."""
        self._app = app
        self._metrics = metrics
        # There are few methods and statuses, and finding a counter by its labels costs more than counting.
        self._answered = lru_cache(metrics.requests.labels)
        self._sites = sites
        self._path_prefix = path_prefix
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
                message["headers"] = completed(message.get("headers", ()), self._sites.is_secure(scope))
                message["headers"].append((b"x-request-id", identifier))
            await send(message)
            if message["type"] == "http.response.body":
                answer.is_whole = not message.get("more_body", False)

        try:
            await self._answerer(scope, headers)(scope, receive, send_on)
        except (Exception, asyncio.CancelledError) as error:
            kind, detail = _broken_off(scope, error)
            if not answer.status:
                await _answer(send_on, kind, detail)
        finally:
            self._tell(scope, answer.status, time.monotonic() - began)

    def _answerer(self, scope: Scope, headers: Headers) -> ASGIApp:
        error = self._refusal_of(scope, headers)
        if error is None:
            return self._app
        self._metrics.refused.labels(error.kind.code).inc()
        return LingeringResponse(problem(Request(scope), error))

    def _refusal_of(self, scope: Scope, headers: Headers) -> ServiceError | None:
        host = headers.get(b"host")
        # Without a name there is none that could be another's: no browser leaves it out.
        if host and not self._sites.is_known(host):
            return ServiceError(UNKNOWN_HOST, _UNKNOWN)
        if scope["method"] in _CHANGING and self._sites.is_foreign(scope, headers):
            return ServiceError(CROSS_SITE, "Open the service's own page and send it from there.")
        return None

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"]
        self._answered(method if method in _METHODS else "other", status).inc()
        level = logging.INFO if method in _CHANGING or status >= 500 else logging.DEBUG
        if _log.isEnabledFor(level):
            facts = {"method": method, "path": scope["path"], "status": status}
            _log.log(level, "request", extra={**facts, "milliseconds": round(1000 * seconds, 1)})


_UNKNOWN = "Use an address it is known by; its operator can name more in VACPACK_PUBLIC_URL or VACPACK_ALLOWED_HOSTS."
_METHODS = _CHANGING | {"GET", "HEAD", "OPTIONS"}


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
