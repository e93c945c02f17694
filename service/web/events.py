"""A job's changes as they happen: server-sent events (WHATWG HTML, 9.2), for browsers and ``curl -N``."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.errors import TOO_MANY_STREAMS, ServiceError
from service.shares import over_share
from service.web import answers, documented
from service.web.following.event_format import HEADERS, RETRY, News, news_of
from service.web.following.event_stream import EventStream
from service.web.parts import Parts, parts_of
from service.web.routing import get_and_head

router = APIRouter(tags=["jobs"])

RETRY_AFTER_SECONDS = 5
"""Where too many streams are open: some end with every job that does."""


@get_and_head(router, "/jobs/{job_id}/events", **documented.GET_EVENTS)
async def get_events(request: Request, job_id: str) -> Response:
    """Send the status as it is, unless the client has it, and then each change until the job has ended."""
    parts = parts_of(request)
    snapshot = answers.snapshot_of(parts, job_id)
    known_id = request.headers.get("last-event-id")
    if snapshot.is_final:
        return _told_at_once(news_of(job_id, snapshot), known_id)
    if request.method == "HEAD":
        head = Response(None, 200, HEADERS)
        del head.headers["Content-Length"]
        return head
    caller = parts.caller_of(request)
    _check_places(parts, caller)
    return EventStream(partial(parts.events.listening, job_id, known_id, caller=caller))


def _check_places(parts: Parts, caller: str | None) -> None:
    detail = "Ask for the status instead, with ?wait=25."
    if parts.events.is_full:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ServiceError(TOO_MANY_STREAMS, detail, headers=headers, limit="max_event_streams")
    if parts.events.has_share(caller):
        raise over_share("max_event_streams_per_address", detail, retry_after_seconds=RETRY_AFTER_SECONDS)


def _told_at_once(final: News, known_id: str | None) -> Response:
    """Return the whole stream of a job that has ended; who has been told so is kept from asking again (9.2.3)."""
    if known_id == final.id:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return Response(RETRY + final.status + final.last, 200, HEADERS)
