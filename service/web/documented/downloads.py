"""The words on downloads: the result and the original, in every form."""

from __future__ import annotations

from starlette.responses import Response

from service.web.documented.terms import (
    BYTES,
    IF_MATCH,
    JOB_ID,
    NOT_MODIFIED,
    RESULTS,
    Answers,
    Words,
    header,
    parameter,
    problems,
)

_HEADERS = {
    "ETag": header("Of these bytes: each format and each coding has its own."),
    "Content-Disposition": header("An attachment, with the file's name."),
    "Repr-Digest": header("SHA-256 of the whole body, where it is known beforehand (RFC 9530)."),
    "Accept-Ranges": header("Whether parts can be asked for."),
}


def _file(content: Words) -> Answers:
    part = _HEADERS | {"Content-Range": header("Which part, and of how many bytes.")}
    return {
        200: {"description": "The bytes, as an attachment.", "content": content, "headers": _HEADERS},
        206: {"description": "A part of them.", "content": content, "headers": part},
    }


_ASKING = [
    parameter("Range", "header", "One range of bytes (RFC 9110, 14); anything else is ignored.", example="bytes=0-99"),
    parameter("If-Range", "header", "The ETag that the range is of; another, or a date, gives the whole."),
    IF_MATCH,
    parameter("If-None-Match", "header", "An ETag: 304 where it is still the same."),
]
_ERRORS = (
    "job_not_found",
    "job_expired",
    "result_damaged",
    "precondition_failed",
    "range_not_satisfiable",
    "storage_failed",
)
_GZIP = parameter(
    "format",
    "query",
    "`gzip`: transcoded while it is sent, so without length and ranges. Left out: as stored.",
    {"type": "string", "enum": ["gzip"]},
)

GET_RESULT: Words = {
    "operation_id": "get_result",
    "summary": "The result, as stored or as gzip",
    # Without a class of its own FastAPI describes JSON besides, and clients made from that take it, being first.
    "response_class": Response,
    "responses": _file(RESULTS)
    | NOT_MODIFIED
    | problems(
        *_ERRORS,
        "too_many_queries",
        "too_many_downloads",
        "too_many_conversions",
        "address_share",
        "not_ready",
        "no_result",
        "not_transcodable",
        "bad_option",
    ),
    "openapi_extra": {"parameters": [JOB_ID, _GZIP, *_ASKING]},
}
GET_ORIGINAL: Words = {
    "operation_id": "get_original",
    "summary": "The bytes that came in, by Content-Encoding where the client can undo it",
    "response_class": Response,
    "responses": _file(BYTES)
    | NOT_MODIFIED
    | problems(
        *_ERRORS,
        "too_many_queries",
        "too_many_downloads",
        "too_many_conversions",
        "address_share",
        "original_damaged",
        "malicious",
        "not_scanned",
        "no_original",
    ),
    "openapi_extra": {
        "parameters": [
            JOB_ID,
            parameter(
                "Accept-Encoding",
                "header",
                "Codings the client can undo; the stored one is sent if it weighs no less than `identity`.",
                example="gzip, br, zstd",
            ),
            *_ASKING,
        ]
    },
}
