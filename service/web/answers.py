"""A job as an answer: document, line of text, or page, with the headers that go with its version."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.errors import JOB_EXPIRED, JOB_NOT_FOUND, ServiceError
from service.job_document import as_json, document, line, percent, retry_after_seconds, timestamp
from service.language import words
from service.values.target import authority
from service.web.following.status_board import Snapshot
from service.web.http.negotiation import Kind, kind_of
from service.web.http.preconditions import is_named, is_not_modified
from service.web.keys import JOB_ID_HEADER, MANAGE_KEY_HEADER
from service.web.page import phrases
from service.web.page.language import language_of
from service.web.page.manage_cookie import keep_key
from service.web.page.pages import render
from service.web.parts import Parts
from storage.ids import is_job_id
from storage.lifecycle import JobStatus

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


def snapshot_of(parts: Parts, job_id: str) -> Snapshot:
    """Return the job's status.

    Raises:
        ServiceError: job_not_found, job_expired.
    """
    snapshot = parts.board.get(job_id) if is_job_id(job_id) else None
    if snapshot is None:
        raise ServiceError(JOB_NOT_FOUND, "No job has this id; it may have been deleted.")
    if snapshot.is_expired:
        raise ServiceError(JOB_EXPIRED, "Its time was over, and its files were removed.")
    return snapshot


def base_url(request: Request, parts: Parts) -> str:
    """Return the address people reach the service at: as set, or as this client wrote it."""
    if parts.settings.public_url:
        return parts.settings.public_url
    host = request.headers.get("host") or authority(*(request.scope.get("server") or ("localhost", 80)))
    return f"{request.scope['scheme']}://{host}"


def accepted(request: Request, parts: Parts, row: dict[str, Any], *, is_owner: bool = True) -> Response:
    """Return the 202: the receipt, with the manage key in a header of every form, as a text has no room for it.

    Who is not known to be its owner (``is_owner``) is given everything else.
    """
    job_id = row["id"]
    manage_key = parts.keys.manage_key(job_id) if is_owner else None
    headers = {
        "Location": f"{parts.settings.path_prefix()}/jobs/{job_id}",
        JOB_ID_HEADER: job_id,
        **({MANAGE_KEY_HEADER: manage_key} if manage_key else {}),
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    seconds = retry_after_seconds(row)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    match kind_of(request):
        case Kind.TEXT:
            return Response(f"{base_url(request, parts)}/jobs/{job_id}\n", 202, headers, TEXT)
        case Kind.HTML:
            page = job_page(request, parts, row, status=202, headers=headers, may_manage=is_owner)
            if manage_key is not None:
                ttl_seconds = row["ttl_milliseconds"] // 1000
                keep_key(request, page, manage_key, ttl_seconds=ttl_seconds, public_url=parts.settings.public_url)
            return page
    receipt = document(row, parts.settings.public_url, scans=bool(parts.settings.scan_command))
    receipt |= {"manage_key": manage_key} if manage_key else {}
    return Response(as_json(receipt), 202, headers, JSON)


def shown(request: Request, parts: Parts, snapshot: Snapshot, *, status: int = 200) -> Response:
    """Return the job's status in the form the client likes, or 304."""
    kind = kind_of(request)
    headers = {"Cache-Control": "no-cache, private", "Vary": "Accept, Prefer"}
    if (tag := tag_of(kind, snapshot)) is not None:
        headers["ETag"] = tag
    if request.method in ("GET", "HEAD") and is_not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    if snapshot.retry_after is not None:
        headers["Retry-After"] = str(snapshot.retry_after)
    match kind:
        case Kind.TEXT:
            return Response(line(snapshot.row) + "\n", status, headers, TEXT)
        case Kind.HTML:
            may_manage = parts.keys.may_manage(request, snapshot.row["manage_key_digest"])
            return job_page(request, parts, snapshot.row, status=status, headers=headers, may_manage=may_manage)
    return Response(snapshot.body, status, headers, JSON)


def tags_of(snapshot: Snapshot) -> list[str]:
    """Return the entity tags of every form of the status that has one."""
    return [tag for kind in Kind if (tag := tag_of(kind, snapshot)) is not None]


def tag_of(kind: Kind, snapshot: Snapshot) -> str | None:
    """Return the entity tag of one form of the status. Strong, so no two forms share it (RFC 9110, 8.8.3).

    A page has none: it also shows what its reader may do, and a new release changes it.
    """
    match kind:
        case Kind.JSON:
            return snapshot.etag
        case Kind.TEXT:
            return f'{snapshot.etag[:-1]}-text"'
        case Kind.HTML:
            return None


def has_news(request: Request, kind: Kind, snapshot: Snapshot) -> bool:
    """Return whether the job differs from what the client has; if it did not say what, whether the job has ended."""
    if "if-none-match" not in request.headers:
        return snapshot.is_final
    tag = tag_of(kind, snapshot)
    return tag is None or not is_named(request, tag)


def job_page(
    request: Request, parts: Parts, row: dict[str, Any], *, status: int, headers: dict[str, str], may_manage: bool
) -> Response:
    """Return the page of a job; where the address is not the job's own it moves on to that at once."""
    say = words(language_of(request))
    at = parts.settings.path_prefix()
    here = f"{at}/jobs/{row['id']}"
    values = {
        "job": row,
        "here": here,
        "is_moved": request.method not in ("GET", "HEAD"),
        "url": f"{base_url(request, parts)}/jobs/{row['id']}",
        "title": phrases.title(row, say),
        "state": phrases.state(row, say),
        "percent": int(percent(row)),
        "why": phrases.reason(row, say),
        "status": phrases.shown_status(row),
        "has_ended": JobStatus(row["status"]).is_final,
        "may_manage": may_manage,
        "links": phrases.links(
            row,
            at=at,
            may_manage=may_manage,
            key=request.query_params.get("key"),
            scans=bool(parts.settings.scan_command),
        ),
        "sizes": phrases.sizes(row, say),
        "attempt": say("state.attempt", attempt=row["attempts"], max_attempts=row["max_attempts"]),
        "times": {f"{name}_at": timestamp(row[f"{name}_at"]) for name in ("created", "started", "finished", "expires")},
        "refresh_seconds": retry_after_seconds(row),
    }
    return render(request, "job.html", values, status=status, headers=headers)
