"""The words on uploads: four doors with the same options and the same answers."""

from __future__ import annotations

from service.values.target import MAX_URL_LENGTH
from service.web.documented.schemas import AcceptedJob
from service.web.documented.terms import PAGE, TEXT, Words, header, link, parameter, problems
from service.web.keys import JOB_ID_HEADER, MANAGE_KEY_HEADER
from service.web.receiving.options import FORMATS, LEVELS
from service.web.receiving.upload_head import MAX_KEY_LENGTH

_KEY: Words = {
    "type": "string",
    "maxLength": 2 + 2 * MAX_KEY_LENGTH,
    "pattern": (
        rf"^([!#-~][ -~]{{0,{MAX_KEY_LENGTH - 1}}}"
        rf'|"([ !#-\[\]-~]|\\["\\]){{1,{MAX_KEY_LENGTH}}}")?$'
    ),
}
"""As it stands, or as a quoted string with its escapes (RFC 9651, 3.3.3); empty is none."""

_OPTIONS = [
    parameter(
        "format",
        "query",
        "`auto` is zstd, zip for several files, or as it came where that is smaller. The last three are archives.",
        {"type": "string", "enum": list(FORMATS), "default": "auto"},
    ),
    parameter(
        "level",
        "query",
        "How much time a smaller result is worth.",
        {"type": "string", "enum": list(LEVELS), "default": "balanced"},
    ),
    parameter(
        "expires",
        "query",
        "How long the files are kept once the job has ended: `90` (seconds), `30m`, `12h`, `7d`; at most"
        " `max_ttl_seconds` of `/limits`.",
        {"type": "string", "pattern": r"^\s*[0-9]{1,9} ?[smhdwSMHDW]?\s*$"},
    ),
    parameter(
        "notify_email",
        "query",
        "Addresses that get an e-mail when the job has ended: comma-separated, or the name repeated; up to"
        " `max_notify_emails` of `/limits`, which is 0 where this service sends none. In the language of the request.",
        {"type": "string", "maxLength": 3000},
    ),
    parameter(
        "callback_url",
        "query",
        "A URL that is sent a signed webhook (Standard Webhooks 1.0) when the job has ended: `type` is `job.succeeded`,"
        " `job.failed` or `job.cancelled`, `data` the status. `max_callback_urls` of `/limits` is 0 where this service"
        " sends none.",
        {"type": "string", "format": "uri", "pattern": "^https?://", "maxLength": MAX_URL_LENGTH},
    ),
]
_FILENAME = parameter("filename", "query", "The name of a raw body.")
_FILE_OF_PATH = parameter("filename", "path", "The file's name.", {"type": "string", "minLength": 1}, required=True)
_HEADERS = [
    parameter(
        "Idempotency-Key",
        "header",
        "The same key and request make one job only, for `idempotency_seconds` of `/limits`; a repeat takes over from"
        f" a request that is still arriving. At most {MAX_KEY_LENGTH} printable characters, in double quotes or not.",
        _KEY,
    ),
    parameter(
        "Repr-Digest",
        "header",
        "`sha-256=:BASE64:` or `sha-512=:BASE64:` of the file, checked before the 202 (RFC 9530); so are"
        " `Content-Digest`, `Digest` and `Content-MD5`. In a form it is a header of the file's part.",
    ),
    parameter("Want-Repr-Digest", "header", "`sha-256=1` puts the digest into the 202.", example="sha-256=1"),
]
_ERRORS = (
    "body_truncated",
    "bad_digest",
    "digest_mismatch",
    "partial_upload",
    "unsupported_header",
    "precondition_failed",
    "bad_idempotency_key",
    "cross_site",
    "receive_timeout",
    "too_slow",
    "superseded",
    "length_required",
    "upload_too_large",
    "urlencoded",
    "content_encoding",
    "transfer_encoding",
    "multipart_type",
    "bad_option",
    "unknown_option",
    "option_not_offered",
    "idempotency_mismatch",
    "address_share",
    "storage_failed",
    "queue_full",
    "storage_full",
)
_FORM_ERRORS = (
    "bad_multipart",
    "bad_encoding",
    "length_mismatch",
    "too_many_files",
    "too_many_parts",
    "file_missing",
    "one_file_only",
)
_ACCEPTED: Words = {
    "model": AcceptedJob,
    "description": "The receipt: the bytes and the job are on the disk. As text it is the job's URL alone.",
    "content": TEXT | PAGE,
    "headers": {
        "Location": header("Path of the job's status."),
        JOB_ID_HEADER: header("The job's id, in every form of the receipt."),
        MANAGE_KEY_HEADER: header("The job's manage key, in every form of the receipt and in no other answer."),
        "Retry-After": header("Seconds until asking for the status is worth while.", "integer"),
    },
    "links": {
        "status": link("get_job", "How far it is."),
        "events": link("get_events", "Its changes as they happen."),
        "result": link("get_result", "Once it has succeeded."),
        "original": link("get_original", "The bytes that came in."),
        "cancel": link("cancel_job", "With the `manage_key`."),
        "retry": link("retry_job", "With the `manage_key`, once it has failed or was cancelled."),
        "delete": link("delete_job", "With the `manage_key`."),
    },
}
_RAW: Words = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def _form() -> Words:
    fields = {
        option["name"]: option["schema"] | {"description": option["description"] + " Wins over the query."}
        for option in _OPTIONS
    }
    file = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "description": "One file, or several for one archive. Any part with a file name is a file.",
    }
    key = _KEY | {"description": "As the header `Idempotency-Key`."}
    return {
        "schema": {
            "type": "object",
            "properties": {"file": file} | fields | {"idempotency_key": key},
            "required": ["file"],
            "additionalProperties": False,
        }
    }


def _upload(operation_id: str, summary: str, *, form: bool = False, named: bool = False) -> Words:
    content = _RAW | ({"multipart/form-data": _form()} if form else {})
    errors = _ERRORS + (_FORM_ERRORS if form else ()) + (("method_not_allowed",) if named else ())
    name = _FILE_OF_PATH if named else _FILENAME
    return {
        "operation_id": operation_id,
        "summary": summary,
        "status_code": 202,
        "responses": {202: _ACCEPTED} | problems(*errors),
        "openapi_extra": {
            "parameters": [name, *_OPTIONS, *_HEADERS],
            # An empty body is a file of no bytes; its length must be said.
            "requestBody": {"required": False, "content": content},
        },
    }


POST_UPLOAD = _upload("upload", "Upload a form or a raw body", form=True)
PUT_UPLOAD = _upload("put_upload", "Upload a raw body under a name", named=True)
PUT_UNNAMED = _upload("put_unnamed", "Upload a raw body")
PUT_SHORT = _upload("put_short", "Upload a raw body under a name: curl -T FILE http://host/", named=True)
PUT_ROOT = _upload("put_root", "Upload a raw body: curl -T - http://host/")
