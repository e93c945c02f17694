"""The messages that told of a job's end, each delivery of them, and sending one again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends
from sqlalchemy import Connection, RowMapping
from starlette.requests import Request
from starlette.responses import Response

from service.job_document import as_json, timestamp, told_as
from service.web import documented
from service.web.answers import JSON
from service.web.audited import Audited, audited
from service.web.managed import managed
from service.web.parts import Parts
from service.web.routing import get_and_head
from storage.audit_table import Action
from storage.lifecycle import MessageStatus
from storage.messages.outbox import deliveries_of, messages_of

router = APIRouter(tags=["jobs"])


@get_and_head(router, "/jobs/{job_id}/deliveries", **documented.GET_DELIVERIES)
async def get_deliveries(
    request: Request, job_id: str, audit: Annotated[Audited | None, Depends(audited(Action.DELIVERIES_READ))]
) -> Response:
    """Return every message of the job with its deliveries; they name targets, so this needs the manage key."""
    return await _shown(managed(request, job_id, audit), job_id, status=200)


@router.post("/jobs/{job_id}/deliveries/{message_id}/replay", **documented.REPLAY)
async def replay_message(
    request: Request,
    job_id: str,
    message_id: str,
    background: BackgroundTasks,
    audit: Annotated[Audited, Depends(audited(Action.MESSAGE_REPLAYED))],
) -> Response:
    """Send a message again, under its id."""
    parts = managed(request, job_id, audit)
    await parts.desk.replay(job_id, message_id, by=audit, after=background)
    return await _shown(parts, job_id, status=202)


async def _shown(parts: Parts, job_id: str, *, status: int) -> Response:
    content = {"messages": await parts.read(partial(_messages, job_id=job_id))}
    return Response(as_json(content), status, {"Cache-Control": "no-store"}, JSON)


def _messages(connection: Connection, job_id: str) -> list[dict[str, Any]]:
    of_message: dict[str, list[RowMapping]] = {}
    for delivery in deliveries_of(connection, job_id):
        of_message.setdefault(delivery["message_id"], []).append(delivery)
    return [_message(row, of_message.get(row["id"], ())) for row in messages_of(connection, job_id)]


def _message(row: RowMapping, deliveries: Iterable[RowMapping]) -> dict[str, Any]:
    is_waiting = row["status"] == MessageStatus.PENDING and row["lease_owner"] is None
    return {
        "id": row["id"],
        "kind": row["kind"],
        "target": row["target"],
        "type": told_as(json.loads(row["payload"])["status"]),
        "status": row["status"],
        "created_at": timestamp(row["created_at"]),
        "ended_at": timestamp(row["ended_at"]),
        "next_delivery_at": timestamp(row["run_at"]) if is_waiting else None,
        "deliveries": [_delivery(delivery) for delivery in deliveries],
    }


def _delivery(row: RowMapping) -> dict[str, Any]:
    return {
        "number": row["number"],
        "started_at": timestamp(row["started_at"]),
        "ended_at": timestamp(row["ended_at"]),
        "outcome": row["outcome"],
        "status_code": row["status_code"],
        "detail": row["detail"],
    }
