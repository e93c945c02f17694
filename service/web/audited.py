"""Requests that leave an audit event, exactly one each, whatever their answer is.

Nobody fills the disk with them: queries have a rate per address, those that were refused keep no more than the code of
the error, and what changes nothing is not audited where the disk has only its reserve left.

A route is audited by declaring ``Depends(audited(Action.…))``. The event is written after the response, by a background
task; the framework drops that when the handler raises or the response brings its own, so the end of the dependency
writes what has not been written. A change writes its event in its own transaction, and says so (``written``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from fastapi import BackgroundTasks
from starlette.requests import Request

from service.audit import Requester
from service.errors import INTERNAL_ERROR, SHUTTING_DOWN, TOO_MANY_QUERIES, ErrorKind, ServiceError
from service.web.guesses import AUDITED
from service.web.middleware import answer_of
from service.web.parts import Parts, parts_of
from service.web.problems import HANDLED, told_as
from service.web.request_id import request_id
from storage.audit_table import Action, Actor
from storage.ids import is_job_id

MAX_TEXT = 240
"""Characters looked at of what a client wrote: as many as a search takes."""

_TOLD = frozenset({"q", "status", "limit", "cursor", "format", "action", "job"})
"""Parameters that are kept. Never ``key``."""


class Audited:
    """One request's event. As a context manager it writes the event at the end, unless it stands already."""

    def __init__(self, request: Request, action: Action, details: dict[str, Any] | None = None) -> None:
        parts = parts_of(request)
        given = request.path_params.get("job_id", "")
        self._parts = parts
        request.scope[AUDITED] = True
        self._answer = answer_of(request)
        self._action = action
        self._details = details or {}
        self._job_id: str | None = given if is_job_id(given) else None
        self._actor = Actor.JOB_ID if self._job_id else Actor.ANONYMOUS
        if parts.keys.is_admin(request):
            self._actor = Actor.ADMIN
        self._caller = parts.caller_of(request)
        self._client = parts.callers.address_of(request.client.host if request.client else None)
        self._status = 0
        self._is_written = False

    @property
    def requester(self) -> Requester:
        """Who asks, for the change's own event."""
        return Requester(self._actor, request_id.get(), self._client)

    def holds_manage_key(self) -> None:
        """Note that the request may change its job."""
        if self._actor is not Actor.ADMIN:
            self._actor = Actor.MANAGE_KEY

    def written(self) -> None:
        """Note that the event stands, committed with the change."""
        self._is_written = True

    def refused(self, status: int, code: str) -> None:
        """Note how the request is about to be refused."""
        self._status = status
        self._details["error"] = code

    def repeated(self, job_id: str, status: int) -> None:
        """Note that the request changed nothing: an earlier one had made this job."""
        self._status, self._job_id = status, job_id
        self._details["repeat"] = True

    def write(self, error: BaseException | None = None) -> None:
        """Record the event, once; ``error`` is what the request ended with before there was an answer."""
        if self._is_written:
            return
        self._is_written = True
        status = self._status or self._answer.status
        if not status:
            kind = _kind_of(error)
            self.refused(kind.status, kind.code)
            status = kind.status
        elif self._answer.status and not self._answer.is_whole:
            self._details["cut_off"] = True
        if status >= 400 and not self._is_refusal_kept():
            return
        self._parts.audit.record(self.requester.event(self._action, self._job_id, status=status, details=self._kept()))

    def _is_refusal_kept(self) -> bool:
        """Return whether a refusal is worth a row: a change that was refused has no other limit than this."""
        skipped = self._parts.metrics.audit_skipped
        if not self._action.is_query and self._parts.query_rates.seconds_until_next(self._caller):
            skipped.labels("rate").inc()
            return False
        return self._action.is_query or _has_room(self._parts)

    def _kept(self) -> dict[str, Any]:
        is_refused = self._status >= 400 or self._answer.status >= 400
        if self._action.is_query and is_refused:
            return {name: self._details[name] for name in ("error", "cut_off") if name in self._details}
        return self._details

    async def after_answer(self) -> None:
        """Do ``write`` as a background task: on the event loop, not in a thread."""
        self.write()

    def __enter__(self) -> Audited:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        self.write(error)


def _kind_of(error: BaseException | None) -> ErrorKind:
    if isinstance(error, asyncio.CancelledError):
        return SHUTTING_DOWN
    return told_as(error).kind if isinstance(error, HANDLED) else INTERNAL_ERROR


def audited(
    what: Action | Callable[[Request], Action | None],
) -> Callable[[Request, BackgroundTasks], AsyncIterator[Audited | None]]:
    """Return the dependency that has requests audited as this action, or as a function says, or (None) not at all."""

    async def dependency(request: Request, background: BackgroundTasks) -> AsyncIterator[Audited | None]:
        action = what if isinstance(what, Action) else what(request)
        if action is None or (action.is_query and not _is_query_audited(request)):
            yield None
            return
        with Audited(request, action, _asked(request)) as event:
            background.add_task(event.after_answer)
            yield event

    return dependency


def _is_query_audited(request: Request) -> bool:
    """Return whether queries are audited just now.

    Raises:
        ServiceError: too_many_queries. Going unaudited instead, a flood would hide what it hides behind.
    """
    parts = parts_of(request)
    if not parts.settings.audit_queries:
        return False
    seconds = parts.query_rates.seconds_until_next(parts.caller_of(request))
    if seconds:
        most = parts.settings.max_queries_per_minute_per_address
        raise ServiceError(
            TOO_MANY_QUERIES,
            f"At most {most} lists, searches and downloads a minute are answered to one address.",
            headers={"Retry-After": str(math.ceil(seconds))},
            limit="max_queries_per_minute_per_address",
        )
    return _has_room(parts)


def _has_room(parts: Parts) -> bool:
    """Return whether there is more room than the reserve, which is kept for changes."""
    has_room = parts.admission.has_room()
    if not has_room:
        parts.metrics.audit_skipped.labels("disk_full").inc()
    return has_room


def _asked(request: Request) -> dict[str, Any]:
    asked: dict[str, Any] = {name: value[:MAX_TEXT] for name, value in request.query_params.items() if name in _TOLD}
    if request.method == "HEAD":
        asked["method"] = "HEAD"
    return asked
