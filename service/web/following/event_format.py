"""A job's changes as server-sent events: the text of each (WHATWG HTML, 9.2.5 and 9.2.6).

``status`` carries the status document, and its id is the ETag without quotes; ``done`` follows the status of a job that
has ended, ``gone`` tells that there is no such job any more, and both are the last of their stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.errors import JOB_EXPIRED, JOB_NOT_FOUND
from service.web.following.status_board import Snapshot

RETRY = b"retry: 2000\n\n"
"""How long a client waits before it connects again, in milliseconds; dispatches no event."""
COMMENT = b":\n\n"
"""Shows the client, and whatever stands between, that the stream is alive; dispatches no event."""
HEADERS = {
    # Without a charset: it is always UTF-8.
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # nginx would collect events in a buffer.
    "X-Accel-Buffering": "no",
}


class EventName(StrEnum):
    """What an event tells: the script of the pages listens to all of them."""

    STATUS = "status"
    DONE = "done"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class News:
    """A job at one version, as all its listeners get it."""

    id: str
    """The ETag without quotes; ``gone`` once there is no job."""
    status: bytes
    """The ``status`` event; empty once there is no job."""
    last: bytes
    """What ends the stream, ``done`` or ``gone``; empty while the job goes on."""


def event_id(etag: str) -> str:
    """Return the id of the event that carries the status with this ETag."""
    return etag.strip('"')


def news_of(job_id: str, snapshot: Snapshot | None) -> News:
    """Return the events that tell what the job is now."""
    if snapshot is None or snapshot.is_expired:
        kind = JOB_NOT_FOUND if snapshot is None else JOB_EXPIRED
        why = {"id": job_id, "code": kind.code, "title": kind.title}
        return News(EventName.GONE, b"", _encoded(EventName.GONE, _json(why)))
    identifier = event_id(snapshot.etag)
    last = b""
    if snapshot.is_final:
        content = {"id": job_id, "status": snapshot.row["status"], "version": snapshot.row["version"]}
        last = _encoded(EventName.DONE, _json(content), identifier)
    return News(identifier, _encoded(EventName.STATUS, snapshot.body.rstrip(), identifier), last)


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content).encode()


def _encoded(name: EventName, data: bytes, identifier: str | None = None) -> bytes:
    """Return one event; ``data`` is one line, as JSON without indentation always is."""
    head = "" if identifier is None else f"id: {identifier}\n"
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"
