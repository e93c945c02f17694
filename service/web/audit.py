"""What has been audited, for the admin."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from service.audit import event_document
from service.errors import BAD_OPTION, ServiceError
from service.web import answers, documented
from service.web.audited import audited
from service.web.parts import parts_of
from service.web.routing import get_and_head
from storage.audit_table import Action, EventFilter, list_events
from storage.ids import is_job_id

router = APIRouter(tags=["operations"])


@get_and_head(router, "/audit", dependencies=[Depends(audited(Action.AUDIT_READ))], **documented.GET_AUDIT)
async def get_audit(
    request: Request,
    action: Annotated[str | None, Query()] = None,
    job: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Events in one answer.")] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**62, description="The next_cursor of the page before.")] = None,
) -> Response:
    """Return audit events, newest first, to who brings the admin token."""
    parts = parts_of(request)
    parts.keys.check_admin(request)
    wanted = EventFilter(_action(action), _job(job), cursor, limit)
    rows = await parts.read(partial(list_events, wanted=wanted))
    more = rows[-1]["id"] if len(rows) == limit else None
    page = {"events": [event_document(row) for row in rows], "next_cursor": more}
    text = json.dumps(page, ensure_ascii=False) + "\n"
    return Response(text, 200, {"Cache-Control": "no-store"}, answers.JSON)


def _action(asked: str | None) -> Action | None:
    try:
        return Action(asked) if asked is not None else None
    except ValueError as error:
        known = [str(action) for action in Action]
        detail = f"action is one of {', '.join(known)}."
        raise ServiceError(BAD_OPTION, detail, option="action", allowed=known) from error


def _job(asked: str | None) -> str | None:
    if asked is not None and not is_job_id(asked):
        raise ServiceError(BAD_OPTION, "job is a job's id.", option="job")
    return asked
