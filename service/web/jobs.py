"""Status of one job and of many, and what owners change: cancel, retry, delete."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from service.errors import BAD_OPTION, ServiceError
from service.job_document import document
from service.web import answers, documented
from service.web.audited import Audited, audited
from service.web.following.status_board import Snapshot
from service.web.http.negotiation import Kind, kind_of, listed
from service.web.http.preconditions import is_named, is_not_modified
from service.web.managed import managed
from service.web.page.pages import render
from service.web.parts import Parts, parts_of
from service.web.routing import get_and_head
from service.web.sending.stored_files import check_sources
from storage.audit_table import Action
from storage.ids import is_job_id
from storage.jobs.job_views import JobFilter, list_jobs
from storage.lifecycle import JobStatus

router = APIRouter(tags=["jobs"])

MAX_IDS = 500
IDS_AT_ONCE = 50
"""Read while others wait: 1.4 ms at most."""
NOT_KEPT = {"Cache-Control": "no-store"}
_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})", re.IGNORECASE)


@get_and_head(router, "/jobs/{job_id}", **documented.GET_JOB)
async def get_job(request: Request) -> Response:
    """Return the status; hold the request while nothing has changed, if asked to wait."""
    parts, job_id = parts_of(request), request.path_params["job_id"]
    snapshot = answers.snapshot_of(parts, job_id)
    seconds = _wait_seconds(request, parts)
    if seconds:
        kind = kind_of(request)

        def has_news() -> bool:
            now = parts.board.get(job_id)
            return now is None or answers.has_news(request, kind, now)

        await _wait(request, parts, has_news, seconds)
        snapshot = answers.snapshot_of(parts, job_id)
    response = answers.shown(request, parts, snapshot)
    return _with_preference(response, request, seconds)


def _wait_seconds(request: Request, parts: Parts) -> float:
    """Return how long the request may be held: ``?wait=N`` or ``Prefer: wait=N`` (RFC 7240, 4.3), up to the limit."""
    asked = request.query_params.get("wait")
    if asked is not None:
        if not (asked.isascii() and asked.isdigit() and len(asked) <= 6):
            raise ServiceError(BAD_OPTION, "wait is a whole number of seconds.", option="wait")
        return min(float(asked), parts.settings.max_wait_seconds)
    found = _PREFER_WAIT.search(listed(request, "prefer") or "")
    return min(float(found[1]), parts.settings.max_wait_seconds) if found else 0.0


async def _wait(
    request: Request, parts: Parts, is_reached: Callable[[], bool], seconds: float, *, jobs: int = 1
) -> None:
    """Hold the request; where a limit is met it is answered at once, and counted."""
    caller = parts.caller_of(request)
    if (limit := parts.watch.limit_met(jobs, caller)) is not None:
        parts.metrics.limits_met.labels(limit).inc()
    await parts.watch.wait_until(is_reached, seconds=seconds, jobs=jobs, caller=caller, gone=partial(_gone, request))


async def _gone(request: Request) -> None:
    """Return when the client has left: a closed tab must not count as one that waits."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _etag_of(snapshots: list[Snapshot | None]) -> str:
    tags = ["-" if snapshot is None else snapshot.etag.strip('"') for snapshot in snapshots]
    return f'"{".".join(tags)}"'


def _with_preference(response: Response, request: Request, seconds: float) -> Response:
    if seconds and "wait" in (listed(request, "prefer") or ""):
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
    return response


def _listing(request: Request) -> Action | None:
    """Return what a list is audited as. Jobs asked for by their ids are polled, as one job's status is: not at all."""
    if "ids" in request.query_params:
        return None
    return Action.JOBS_SEARCHED if "q" in request.query_params else Action.JOBS_LISTED


@get_and_head(router, "/jobs", dependencies=[Depends(audited(_listing))], **documented.GET_JOBS)
async def get_jobs(
    request: Request,
    ids: Annotated[str | None, Query(max_length=27 * MAX_IDS)] = None,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this status.")] = None,
    q: Annotated[str | None, Query(max_length=240, description="Only names that hold this, in any case.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Jobs in one answer.")] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**62, description="The next_cursor of the page before.")] = None,
) -> Response:
    """Return the jobs of these ids, held together if asked to wait; or, for the admin, a list of all."""
    parts = parts_of(request)
    seconds = _wait_seconds(request, parts)
    if ids is not None:
        return await _several(request, parts, ids, seconds)
    parts.keys.check_admin(request)
    if is_not_modified(request, None):
        return Response(status_code=304, headers=NOT_KEPT)
    wanted = JobFilter(status=status, name_contains=q, before_seq=cursor, limit=limit)
    rows = await parts.read(partial(list_jobs, wanted=wanted))
    more = rows[-1]["seq"] if len(rows) == limit else None
    settings = parts.settings
    shown = [document(dict(row), settings.public_url, scans=bool(settings.scan_command)) for row in rows]
    return _json({"jobs": shown, "next_cursor": more})


async def _several(request: Request, parts: Parts, ids: str, seconds: float) -> Response:
    job_ids = list(dict.fromkeys(filter(None, ids.split(","))))
    if not all(map(is_job_id, job_ids)) or not 0 < len(job_ids) <= MAX_IDS:
        raise ServiceError(BAD_OPTION, f"ids is a list of 1 to {MAX_IDS} job ids, separated by commas.", option="ids")
    # Also before a wait: its first look finds them in memory.
    snapshots = await _read(parts, job_ids)
    if seconds:

        def has_news() -> bool:
            snapshots = [parts.board.get(job_id) for job_id in job_ids]
            if "if-none-match" in request.headers:
                return not is_named(request, _etag_of(snapshots))
            return all(snapshot is None or snapshot.is_final for snapshot in snapshots)

        await _wait(request, parts, has_news, seconds, jobs=len(job_ids))
        snapshots = await _read(parts, job_ids)
    headers = {"ETag": _etag_of(snapshots), "Cache-Control": "no-cache, private", "Vary": "Prefer"}
    if is_not_modified(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    known = [snapshot for snapshot in snapshots if snapshot is not None and not snapshot.is_expired]
    waits = [snapshot.retry_after for snapshot in known if snapshot.retry_after is not None]
    if waits:
        headers["Retry-After"] = str(min(waits))
    found = {snapshot.row["id"] for snapshot in known}
    missing = json.dumps([job_id for job_id in job_ids if job_id not in found]).encode()
    body = b'{"jobs": [%s], "missing": %s}\n' % (b", ".join(snapshot.body.rstrip() for snapshot in known), missing)
    return _with_preference(Response(body, 200, headers, answers.JSON), request, seconds)


async def _read(parts: Parts, job_ids: Sequence[str]) -> list[Snapshot | None]:
    """Return the statuses, each as it is when it is read; between pieces of the list others have their turn."""
    snapshots: list[Snapshot | None] = []
    for begin in range(0, len(job_ids), IDS_AT_ONCE):
        if begin:
            await asyncio.sleep(0)
        snapshots += map(parts.board.get, job_ids[begin : begin + IDS_AT_ONCE])
    return snapshots


def _json(content: dict[str, Any]) -> Response:
    return Response(json.dumps(content, ensure_ascii=False) + "\n", 200, NOT_KEPT, answers.JSON)


@router.post("/jobs/{job_id}/cancel", **documented.CANCEL)
async def cancel_job(
    request: Request,
    job_id: str,
    background: BackgroundTasks,
    audit: Annotated[Audited, Depends(audited(Action.JOB_CANCELLED))],
) -> Response:
    """Cancel a queued job at once (200), ask a running one to stop (202)."""
    parts = managed(request, job_id, audit, is_live=True)
    status = await parts.desk.cancel(job_id, by=audit, after=background)
    return _changed(request, parts, job_id, status=202 if status is JobStatus.RUNNING else 200)


@router.post("/jobs/{job_id}/retry", **documented.RETRY)
async def retry_job(
    request: Request,
    job_id: str,
    background: BackgroundTasks,
    audit: Annotated[Audited, Depends(audited(Action.JOB_RETRIED))],
) -> Response:
    """Queue a failed or cancelled job again."""
    parts = managed(request, job_id, audit, is_live=True)
    await check_sources(parts, job_id)
    row = answers.snapshot_of(parts, job_id).row
    await parts.desk.retry(job_id, row["source_size_bytes"], row["caller"] or None, by=audit, after=background)
    return _changed(request, parts, job_id, status=202)


@router.delete("/jobs/{job_id}", **documented.DELETE)
async def delete_job(
    request: Request, job_id: str, audit: Annotated[Audited, Depends(audited(Action.JOB_DELETED))]
) -> Response:
    """Remove the job and its files, in any status."""
    await managed(request, job_id, audit).desk.delete(job_id, by=audit)
    return Response(status_code=204)


@router.post("/jobs/{job_id}/delete", **documented.DELETE_BY_FORM)
async def delete_by_form(
    request: Request, job_id: str, audit: Annotated[Audited, Depends(audited(Action.JOB_DELETED))]
) -> Response:
    """Do as ``delete_job``: a plain form can only POST."""
    await managed(request, job_id, audit).desk.delete(job_id, by=audit)
    return render(request, "deleted.html", {}) if kind_of(request) is Kind.HTML else Response(status_code=204)


def _changed(request: Request, parts: Parts, job_id: str, *, status: int) -> Response:
    return answers.shown(request, parts, answers.snapshot_of(parts, job_id), status=status)
