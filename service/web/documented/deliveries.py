"""The words on messages that tell of a job's end."""

from __future__ import annotations

from fastapi import FastAPI

from service.web.documented.schemas import JobEnded, Messages
from service.web.documented.terms import JOB_ID, Words, parameter, problems

_MESSAGE_ID = parameter(
    "message_id",
    "path",
    "The message's id, from the list.",
    {"type": "string", "pattern": "^[a-z2-7]{26}$"},
    required=True,
)
_MANAGE = ("too_many_guesses", "key_needed", "job_not_found")

GET_DELIVERIES: Words = {
    "operation_id": "get_deliveries",
    "summary": "The messages of a job's end, and each delivery of them",
    "responses": {
        200: {"model": Messages, "description": "The messages, first one first, each with its last 100 deliveries."}
    }
    | problems(*_MANAGE, "too_many_queries"),
    "openapi_extra": {"parameters": [JOB_ID]},
}
REPLAY: Words = {
    "operation_id": "replay_message",
    "summary": "Send a message again, or now",
    "description": "It begins again with the first try. At most 20 times, and not while a delivery is under way.",
    "status_code": 202,
    "responses": {202: {"model": Messages, "description": "It is due; it keeps its id."}}
    | problems(
        *_MANAGE, "cross_site", "message_not_found", "precondition_failed", "delivery_under_way", "too_many_replays"
    ),
    "openapi_extra": {"parameters": [JOB_ID, _MESSAGE_ID]},
}

_SIGNED = [
    parameter("webhook-id", "header", "The message's id, the same in every delivery: tells a repeat.", required=True),
    parameter("webhook-timestamp", "header", "Seconds since 1970 of this delivery; refuse old ones.", required=True),
    parameter(
        "webhook-signature",
        "header",
        "`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64, one for each secret, with spaces between them.",
        required=True,
    ),
]


def add_webhook(app: FastAPI) -> None:
    """Describe what ``callback_url`` is sent."""

    @app.webhooks.post(
        "job-ended",
        operation_id="job_ended",
        tags=["jobs"],
        summary="What `callback_url` is sent when the job has ended",
        status_code=204,
        responses={
            204: {"description": "Any 2xx: it has arrived."},
            410: {"description": "Send it no more. Anything else: send it again later."},
        },
        openapi_extra={"parameters": _SIGNED},
    )
    def job_ended(_: JobEnded) -> None:
        """Answer within 10 s. Signed as Standard Webhooks 1.0 says."""
