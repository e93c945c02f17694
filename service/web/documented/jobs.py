"""The words on jobs: status, waits, lists, and what owners change."""

from __future__ import annotations

from starlette.responses import Response

from service.web.documented.schemas import Job, JobPage, SeveralJobs
from service.web.documented.terms import IF_MATCH, JOB_ID, NOT_MODIFIED, PAGE, TEXT, Words, header, parameter, problems

_WAIT_TEXT = (
    "Hold the request so many seconds while nothing changes (with `If-None-Match`), or until the job has ended"
    " (without); at most `max_wait_seconds` of `/limits`."
)
_WAIT = [
    parameter("wait", "query", _WAIT_TEXT, {"type": "integer", "minimum": 0, "maximum": 999_999}),
    parameter("Prefer", "header", "`wait=N` does the same (RFC 7240).", example="wait=25"),
    parameter(
        "If-None-Match", "header", "The ETag of the answer before: 304 where nothing has changed.", example='"7"'
    ),
    IF_MATCH,
]
_IDS = parameter(
    "ids",
    "query",
    "These jobs, up to 500, separated by commas; held together by `wait`. Without it: the list of all, for the admin.",
    {"type": "string", "pattern": "^[a-z2-7]{26}(,[a-z2-7]{26}){0,499}$"},
)
_STATUS_MATCH = IF_MATCH | {"description": "ETags of the job's status, or `*`: at any other version nothing is done."}
_MANAGE = ("too_many_guesses", "key_needed", "cross_site", "job_not_found", "job_expired", "precondition_failed")
_HEADERS = {
    "ETag": header("Changes with the status; each form has its own, a page has none."),
    "Retry-After": header("Seconds until asking again is worth while; until the job has ended.", "integer"),
}


def _job_answer(text: str) -> Words:
    return {"model": Job, "description": text, "content": TEXT | PAGE, "headers": _HEADERS}


GET_JOB: Words = {
    "operation_id": "get_job",
    "summary": "Status of a job",
    "responses": {200: _job_answer("The status: as text one line, for browsers a page.")}
    | NOT_MODIFIED
    | problems("job_not_found", "job_expired", "precondition_failed", "bad_option"),
    "openapi_extra": {"parameters": [JOB_ID, *_WAIT]},
}
GET_JOBS: Words = {
    "operation_id": "get_jobs",
    "summary": "Status of several jobs by id, or a list of all (admin)",
    "response_model": JobPage | SeveralJobs,
    "responses": {200: {"description": "The jobs."}}
    | NOT_MODIFIED
    | problems("admin_only", "too_many_guesses", "precondition_failed", "bad_option", "too_many_queries"),
    "openapi_extra": {"parameters": [_IDS, *_WAIT]},
}
_EVENTS_TEXT = (
    "Server-sent events (WHATWG HTML, 9.2). `status` carries the status document, at once and after each change, at"
    " most four times a second; its id is the ETag without quotes. `done` says that the job has ended, `gone` that"
    " there is no such job any more. Both end the stream. A comment every 15 seconds keeps it open."
)
_LAST_EVENT_ID = parameter(
    "Last-Event-ID",
    "header",
    "The id of the last event the client has: nothing is sent until there is another. Any other text is ignored.",
    example="7",
)
# Each event of the stream, as clients see it.
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["status", "done", "gone"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
GET_EVENTS: Words = {
    "operation_id": "get_events",
    "summary": "Changes of a job as they happen",
    "response_class": Response,
    "responses": {
        200: {"description": _EVENTS_TEXT, "content": {"text/event-stream": {"schema": _EVENT}}},
        204: {"description": "The job has ended, and `Last-Event-ID` names the event that told so."},
    }
    | problems("job_not_found", "job_expired", "too_many_streams", "address_share"),
    "openapi_extra": {"parameters": [JOB_ID, _LAST_EVENT_ID]},
}
CANCEL: Words = {
    "operation_id": "cancel_job",
    "summary": "Cancel a job",
    "responses": {
        200: _job_answer("It is cancelled."),
        202: _job_answer("It is running, and will stop within a second."),
    }
    | problems(*_MANAGE, "not_cancellable"),
    "openapi_extra": {"parameters": [JOB_ID, _STATUS_MATCH]},
}
RETRY: Words = {
    "operation_id": "retry_job",
    "summary": "Run a failed or cancelled job again",
    "status_code": 202,
    "responses": {202: _job_answer("It is queued.")}
    | problems(*_MANAGE, "not_retryable", "too_many_retries", "source_missing", "malicious", "storage_failed"),
    "openapi_extra": {"parameters": [JOB_ID, _STATUS_MATCH]},
}
DELETE: Words = {
    "operation_id": "delete_job",
    "summary": "Remove a job and its files",
    "status_code": 204,
    "responses": {204: {"description": "It is gone; what was running is stopped."}}
    | problems("key_needed", "cross_site", "job_not_found", "precondition_failed", "storage_failed"),
    "openapi_extra": {"parameters": [JOB_ID, _STATUS_MATCH]},
}
DELETE_BY_FORM: Words = {
    "operation_id": "delete_job_by_form",
    "summary": "Remove a job and its files, from a plain form",
    "status_code": 204,
    "responses": {
        200: {"description": "For browsers: a page that says so.", "content": PAGE},
        204: {"description": "It is gone; what was running is stopped."},
    }
    | problems("key_needed", "cross_site", "job_not_found", "precondition_failed", "storage_failed"),
    "openapi_extra": {"parameters": [JOB_ID, _STATUS_MATCH]},
}
