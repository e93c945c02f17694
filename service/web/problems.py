"""Errors as answers: problem documents (RFC 9457) with a stable ``code``, one line of text, or a page."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import (
    BAD_OPTION,
    BAD_REQUEST,
    DATABASE_BUSY,
    DELIVERY_UNDER_WAY,
    JOB_EXPIRED,
    JOB_NOT_FOUND,
    MESSAGE_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    STORAGE_FAILED,
    STORAGE_FULL,
    STORAGE_LOST,
    TOO_MANY_REPLAYS,
    ErrorKind,
    ServiceError,
)
from service.web.http.negotiation import Kind, kind_of
from service.web.page.pages import render
from service.web.parts import parts_of
from service.web.routing import is_nothing, other_methods
from storage.database_errors import is_full
from storage.errors import (
    FileMissing,
    JobNotFound,
    MessageNotFound,
    MessageUnderWay,
    StorageError,
    StorageFailed,
    StorageFull,
    StorageLost,
    TooManyReplays,
)

_log = logging.getLogger("vacpack.http")


def problem(request: Request, error: ServiceError) -> Response:
    """Return the error in the form the client likes; programs that say nothing get the document."""
    kind = error.kind
    headers = {"Cache-Control": "no-store", "Vary": "Accept", **error.headers}
    is_routed = "app" in request.scope
    if is_routed and (limit := error.members.get("limit", kind.limit)):
        parts_of(request).metrics.met(limit)
    if kind is METHOD_NOT_ALLOWED and is_routed:
        headers["Allow"] = ", ".join(other_methods(request))
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail,
        "code": kind.code,
        **error.members,
    }
    match kind_of(request):
        # Before the application has the request there are no pages: its language and its address are not read yet.
        case form if form is Kind.TEXT or (form is Kind.HTML and not is_routed):
            text = f"{kind.status} {kind.code}: {error.detail}\n"
            return Response(text, kind.status, headers, "text/plain; charset=utf-8")
        case Kind.HTML:
            return render(request, "error.html", {"error": body}, status=kind.status, headers=headers)
    content = json.dumps(body, ensure_ascii=False) + "\n"
    return Response(content, kind.status, headers, "application/problem+json")


DRAIN_BYTES = 64 * 1024**2
DRAIN_SECONDS = 2.0


class LingeringResponse(Response):
    """An answer given before the body was read: it is read on for a while, so that the client sees the answer.

    With plain ``Connection: close`` curl lost the status in 15 of 300 tries, with this in none; nginx calls it
    lingering close. The last piece of the answer is held back meanwhile, which keeps the connection open.
    """

    def __init__(
        self, response: Response, *, drain_bytes: int = DRAIN_BYTES, drain_seconds: float = DRAIN_SECONDS
    ) -> None:
        super().__init__(response.body, response.status_code)
        self.raw_headers = response.raw_headers
        self.background = response.background
        self._drain_bytes = drain_bytes
        self._drain_seconds = drain_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, read on, end."""
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._drain(receive)
        except TimeoutError:
            # The client has had its time to read the answer.
            _log.debug("stopped reading on after an early answer")
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self.background is not None:
            await self.background()

    async def _drain(self, receive: Receive) -> None:
        drained = 0
        while drained < self._drain_bytes:
            message = await receive()
            drained += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return


HANDLED: tuple[type[Exception], ...] = (
    ServiceError,
    StorageError,
    DBAPIError,
    HTTPException,
    RequestValidationError,
)
"""Errors that become a problem of their own; all others are an internal error."""


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and (error.status_code == 404 or is_nothing(request)):
            return problem(request, _nothing_here(request))
        return problem(request, translated(explained(request, error)))

    for kind in HANDLED:
        app.add_exception_handler(kind, answer)


def explained(request: Request, error: Exception) -> Exception:
    """Return StorageLost in place of an error that it has caused: a file that is not found then is not gone."""
    if isinstance(error, (FileMissing, StorageFailed, DBAPIError)):
        try:
            parts_of(request).lookout.check()
        except StorageLost as lost:
            return lost
    return error


def translated(error: Exception) -> ServiceError:
    """Turn any error the rooms below raise into one for the client, and log what is not the client's doing."""
    told = told_as(error)
    if told.kind is DATABASE_BUSY:
        _log.warning("the job table could not be used: %s", getattr(error, "orig", error))
    elif told.kind is STORAGE_FAILED:
        _log.error("the file store failed: %s", error)
    return told


def told_as(error: Exception) -> ServiceError:
    """Return what a client is told of any error the rooms below raise."""
    match error:
        case ServiceError():
            return error
        case DBAPIError() if is_full(error):
            return ServiceError(STORAGE_FULL, "The disk is full; nothing was kept. Try again later.")
        case DBAPIError():
            return ServiceError(DATABASE_BUSY, "Try again in a moment.", headers={"Retry-After": "5"})
        case HTTPException():
            return _from_http(error)
        case RequestValidationError():
            return _from_validation(error)
        case _:
            return _from_storage(error)


def _from_storage(error: Exception) -> ServiceError:
    match error:
        case JobNotFound():
            return ServiceError(JOB_NOT_FOUND, "No job has this id; it may have been deleted.")
        case MessageNotFound():
            return ServiceError(MESSAGE_NOT_FOUND, "GET /jobs/{id}/deliveries tells which there are.")
        case MessageUnderWay():
            return ServiceError(DELIVERY_UNDER_WAY, "Ask again when this delivery has ended.")
        case TooManyReplays():
            return ServiceError(TOO_MANY_REPLAYS, "No more deliveries of this message can be asked for.")
        case FileMissing():
            # Removed since its row was read: expired or deleted this moment.
            return ServiceError(JOB_EXPIRED, "Its files have just been removed.")
        case StorageLost():
            detail = "Nothing was taken; what was taken before is safe once it is put back. Try again later."
            return ServiceError(STORAGE_LOST, detail, headers={"Retry-After": "30"})
        case StorageFull():
            return ServiceError(STORAGE_FULL, "The disk is full; nothing was kept. Try again later.")
        case _:
            return ServiceError(STORAGE_FAILED, "The file could not be stored or read; nothing was kept.")


def _nothing_here(request: Request) -> ServiceError:
    at = parts_of(request).settings.path_prefix()
    detail = f"GET {at}/ tells how to send a file, {at}/docs all there is; a job is at {at}/jobs/ and its id."
    return ServiceError(NOT_FOUND, detail)


def _from_http(error: HTTPException) -> ServiceError:
    kinds: Mapping[int, tuple[ErrorKind, str]] = {
        405: (METHOD_NOT_ALLOWED, "GET / tells what can be done here."),
    }
    kind, detail = kinds.get(error.status_code, (BAD_REQUEST, str(error.detail)))
    return ServiceError(kind, detail, headers=error.headers)


def _from_validation(error: RequestValidationError) -> ServiceError:
    first = error.errors()[0]
    where = str(first["loc"][-1])
    return ServiceError(BAD_OPTION, f"{where}: {first['msg']}", option=where)
