"""What ``/docs`` says of each operation: options, answers, errors. Only words; the routes decide."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from service.errors import ERRORS
from service.web.options import FORMATS, LEVELS
from service.web.schemas import AcceptedJob, Health, Job, JobPage, LimitsDocument, Problem, SeveralJobs

DESCRIPTION = """\
Upload a file, get **202** and a job id at once; the file is compressed in the background, read back and compared, and
handed out in every form. A 202 is a receipt: the bytes and the job are on the disk.

The **job id** lets one look and download. The **manage key**, given in the 202, cancels, retries and deletes. The
**admin token**, in the data folder, lists and reads metrics. Keys go into `Authorization: Bearer …` or `?key=`.

Errors are problem documents (RFC 9457) with a stable `code`. `Accept: text/plain` gets one line of everything.
"""

Words = dict[str, Any]


def _parameter(name: str, place: str, text: str, schema: Words | None = None, *, required: bool = False) -> Words:
    return {
        "name": name,
        "in": place,
        "description": text,
        "required": required,
        "schema": schema or {"type": "string"},
    }


_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_PAGE = {"text/html": {"schema": {"type": "string"}}}
_BYTES = {"*/*": {"schema": {"type": "string", "format": "binary"}}}


def _problems(*codes: str) -> dict[int | str, Words]:
    """Return the answers of these errors, those of one status together."""
    answers: dict[int | str, Words] = {}
    for code in codes:
        kind = ERRORS[code]
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}} | _TEXT | _PAGE
        answer = answers.setdefault(kind.status, {"description": "", "content": content})
        answer["description"] = "; ".join(filter(None, [answer["description"], f"`{code}`: {kind.title}"]))
    return answers


_JOB_ID = _parameter(
    "job_id", "path", "The job's id, from the 202.", {"type": "string", "pattern": "^[a-z2-7]{26}$"}, required=True
)
_OPTIONS = [
    _parameter("format", "query", "auto: zstd, or zip for several files; kept as is where that is smaller.",
               {"type": "string", "enum": list(FORMATS), "default": "auto"}),
    _parameter("level", "query", "How much time a smaller result is worth.",
               {"type": "string", "enum": list(LEVELS), "default": "balanced"}),
    _parameter("expires", "query", "How long the files are kept: 30m, 12h, 7d.",
               {"type": "string", "pattern": "^[1-9][0-9]{0,5}[smh]?$"}),
]  # fmt: skip
_FILENAME = _parameter("filename", "query", "The name of a raw body.", {"type": "string", "maxLength": 4096})
_UPLOAD_HEADERS = [
    _parameter("Idempotency-Key", "header", "The same key and request make one job only.",
               {"type": "string", "pattern": '^"[A-Za-z0-9_.-]{1,64}"$'}),
    _parameter("Repr-Digest", "header", "sha-256=:BASE64: of the file; checked before the 202 (RFC 9530).",
               {"type": "string", "pattern": "^sha-512=:[A-Za-z0-9+/]{86}==:$|^sha-256=:[A-Za-z0-9+/]{43}=:$"}),
    _parameter("Want-Repr-Digest", "header", "sha-256=1 puts the digest into the 202.",
               {"type": "string", "pattern": "^sha-256=[0-9]$"}),
]  # fmt: skip
_UPLOAD_ERRORS = (
    "body_truncated", "bad_digest", "digest_mismatch", "bad_idempotency_key", "cross_site", "receive_timeout",
    "superseded", "upload_too_large", "urlencoded", "content_encoding", "bad_option", "unknown_option", "idempotency_mismatch",
    "storage_failed", "queue_full", "shutting_down", "database_busy", "storage_full",
)  # fmt: skip
_FORM_ERRORS = ("bad_multipart", "too_many_files", "file_missing", "one_file_only")
_ACCEPTED: Words = {
    "model": AcceptedJob,
    "description": "The receipt. `Location` is the status; as text it is the job's URL alone.",
    "content": _TEXT | _PAGE,
    "headers": {
        "Location": {"schema": {"type": "string"}, "description": "Path of the job's status."},
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until asking is worth while."},
    },
}


def _body(*, form: bool) -> Words:
    content: Words = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    if form:
        fields = {name: parameter["schema"] for parameter in _OPTIONS if (name := parameter["name"])}
        file = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
        schema = {
            "type": "object",
            "properties": {"file": file} | fields,
            "required": ["file"],
            "additionalProperties": False,
        }
        content["multipart/form-data"] = {"schema": schema}
    return {"required": False, "content": content}


def _upload(summary: str, *, form: bool = False, named: bool = False) -> Words:
    errors = _UPLOAD_ERRORS + (_FORM_ERRORS if form else ())
    path = [_parameter("filename", "path", "The file's name.", {"type": "string", "minLength": 1}, required=True)]
    parameters = [*(path if named else []), *_OPTIONS, *([] if named else [_FILENAME]), *_UPLOAD_HEADERS]
    accepted: dict[int | str, Words] = {202: _ACCEPTED}
    return {
        "summary": summary,
        "status_code": 202,
        "responses": accepted | _problems(*errors),
        "openapi_extra": {"parameters": parameters, "requestBody": _body(form=form)},
    }


POST_UPLOAD = _upload("Upload a form or a raw body", form=True)
PUT_UPLOAD = _upload("Upload a raw body under a name", named=True)
PUT_UNNAMED = _upload("Upload a raw body")
PUT_SHORT = _upload("Upload a raw body under a name: curl -T FILE http://host/", named=True)

_WAIT_TEXT = (
    "Hold the request so many seconds while nothing changes (with If-None-Match), or until the job has ended (without)."
)
_WAIT = [
    _parameter("wait", "query", _WAIT_TEXT, {"type": "integer", "minimum": 0, "maximum": 600}),
    _parameter("Prefer", "header", "wait=N does the same (RFC 7240).", {"type": "string", "pattern": "^wait=[0-9]{1,2}$"}),
    _parameter("If-None-Match", "header", "The ETag of the answer before: 304 where nothing has changed.",
               {"type": "string", "pattern": '^"[0-9]{1,9}"$'}),
]  # fmt: skip
_NOT_MODIFIED: dict[int | str, Words] = {304: {"description": "Nothing has changed."}}
_KNOWN = ("job_not_found", "job_expired")
_MANAGE = ("key_needed", "job_not_found", "job_expired", "database_busy", "cross_site")
_KEY = _parameter("key", "query", "The manage key, where no Authorization header can be sent.")


def _job_answer(text: str) -> Words:
    return {"model": Job, "description": text, "content": _TEXT | _PAGE}


GET_JOB: Words = {
    "summary": "Status of a job",
    "responses": {200: _job_answer("The status.")} | _NOT_MODIFIED | _problems(*_KNOWN, "bad_option"),
    "openapi_extra": {"parameters": [_JOB_ID, *_WAIT]},
}
GET_JOBS: Words = {
    "summary": "Status of several jobs by id, or a list of all (admin)",
    "response_model": JobPage | SeveralJobs,
    "responses": {200: {"description": "The jobs."}} | _NOT_MODIFIED | _problems("admin_only", "bad_option"),
    "openapi_extra": {"parameters": _WAIT},
}
CANCEL: Words = {
    "summary": "Cancel a job",
    "responses": {200: _job_answer("Cancelled."), 202: _job_answer("It will stop within a second.")}
    | _problems(*_MANAGE, "not_cancellable"),
    "openapi_extra": {"parameters": [_JOB_ID, _KEY]},
}
RETRY: Words = {
    "summary": "Run a failed or cancelled job again",
    "status_code": 202,
    "responses": {202: _job_answer("Queued.")} | _problems(*_MANAGE, "not_retryable"),
    "openapi_extra": {"parameters": [_JOB_ID, _KEY]},
}
DELETE: Words = {
    "summary": "Remove a job and its files",
    "status_code": 204,
    "responses": {204: {"description": "Removed."}}
    | _problems("key_needed", "job_not_found", "database_busy", "cross_site"),
    "openapi_extra": {"parameters": [_JOB_ID, _KEY]},
}

_FILE_HEADERS = {
    name: {"schema": {"type": "string"}}
    for name in ("ETag", "Content-Disposition", "Repr-Digest", "Accept-Ranges", "Content-Range")
}
_FILE: dict[int | str, Words] = {
    200: {"description": "The bytes, as an attachment.", "content": _BYTES, "headers": _FILE_HEADERS},
    206: {"description": "A range of them.", "content": _BYTES, "headers": _FILE_HEADERS},
}
_DOWNLOAD_HEADERS = [
    _parameter("Range", "header", "One range of bytes.", {"type": "string", "pattern": "^bytes=[0-9]{1,4}-$"}),
    _parameter("If-None-Match", "header", "An ETag.", {"type": "string", "pattern": '^"[a-f0-9]{64}"$'}),
]
_GZIP = _parameter("format", "query", "gzip: transcoded while it is sent.", {"type": "string", "enum": ["gzip"]})
GET_RESULT: Words = {
    "summary": "The result, as stored or as gzip",
    "responses": _FILE
    | _NOT_MODIFIED
    | _problems(*_KNOWN, "not_ready", "no_result", "not_transcodable", "range_not_satisfiable", "bad_option"),
    "openapi_extra": {"parameters": [_JOB_ID, _GZIP, *_DOWNLOAD_HEADERS]},
}
GET_ORIGINAL: Words = {
    "summary": "The bytes that came in, by Content-Encoding where the client can undo it",
    "responses": _FILE | _NOT_MODIFIED | _problems(*_KNOWN, "no_original", "range_not_satisfiable"),
    "openapi_extra": {
        "parameters": [_JOB_ID, _parameter("Accept-Encoding", "header", "zstd, gzip, br."), *_DOWNLOAD_HEADERS]
    },
}
FRONT: Words = {
    "summary": "The upload page, or the manual as text",
    "responses": {200: {"description": "For browsers a page, else text.", "content": _TEXT | _PAGE}},
}
LIVEZ: Words = {"summary": "Whether the process answers", "response_model": None, "responses": {200: {"model": Health}}}
READYZ: Words = {
    "summary": "Whether database, files and a worker are there",
    "response_model": None,
    "responses": {200: {"model": Health}} | _problems("not_healthy"),
}
LIMITS: Words = {
    "summary": "Every number and value a client must know",
    "response_model": None,
    "responses": {200: {"model": LimitsDocument}},
}
METRICS: Words = {
    "summary": "Metrics for Prometheus (admin)",
    "responses": {200: {"description": "The text format.", "content": _TEXT}} | _problems("admin_only"),
}


def complete(app: FastAPI) -> None:
    """Put into the description what the framework does not know, and take out what it only supposes."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            components = schema["components"]
            components["schemas"]["Problem"] = Problem.model_json_schema()
            components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            _settle(schema["paths"])
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


_KEYED = frozenset({"/jobs", "/metrics", "/jobs/{job_id}/cancel", "/jobs/{job_id}/retry"})


def _settle(paths: Words) -> None:
    for path, operations in paths.items():
        for method, operation in operations.items():
            operation["parameters"] = _once(operation.get("parameters", []))
            if path in _KEYED or method == "delete":
                operation["security"] = [{"bearer": []}]
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422", "")):
                del answers["422"]


def _once(parameters: list[Words]) -> list[Words]:
    """Keep the last words on each parameter: ours come after the framework's."""
    return list({(parameter["name"], parameter["in"]): parameter for parameter in parameters}.values())
