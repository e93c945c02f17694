"""The words that descriptions are made of: parameters, bodies, errors, and what every operation has."""

from __future__ import annotations

from typing import Any

from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS
from service.errors import ERRORS

Words = dict[str, Any]
Answers = dict[int | str, Words]

TEXT: Words = {"text/plain": {"schema": {"type": "string"}}}
PAGE: Words = {"text/html": {"schema": {"type": "string"}}}
_BINARY: Words = {"schema": {"type": "string", "format": "binary"}}
BYTES: Words = {"application/octet-stream": _BINARY}
"""Named, not ``*/*``: clients made from the description take that for text."""
RESULTS: Words = BYTES | dict.fromkeys(
    (*(codec.media_type for codec in CODECS.values()), *(archive.media_type for archive in ARCHIVES.values())), _BINARY
)
NOT_MODIFIED: Answers = {304: {"description": "It is still what `If-None-Match` names."}}

_ANYWHERE = (
    "bad_request",
    "target_too_long",
    "unknown_host",
    "headers_too_large",
    "internal_error",
    "database_busy",
    "storage_lost",
    "shutting_down",
    "too_many_connections",
)


def parameter(
    name: str, place: str, text: str, schema: Words | None = None, *, required: bool = False, example: str | None = None
) -> Words:
    """Return one parameter. Without a schema it is any text: what HTTP says to ignore where it is malformed."""
    words: Words = {
        "name": name,
        "in": place,
        "description": text,
        "required": required,
        "schema": schema or {"type": "string"},
    }
    return words if example is None else words | {"example": example}


IF_MATCH = parameter(
    "If-Match", "header", "ETags, or `*`: anything else than what they name is refused with 412.", example='"7"'
)
JOB_ID = parameter(
    "job_id", "path", "The job's id, from the 202.", {"type": "string", "pattern": "^[a-z2-7]{26}$"}, required=True
)


def problems(*codes: str) -> Answers:
    """Return the answers of these errors and of those that any request may meet, those of one status together."""
    answers: Answers = {}
    for code in dict.fromkeys((*codes, *_ANYWHERE)):
        kind = ERRORS[code]
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}} | TEXT | PAGE
        answer = answers.setdefault(kind.status, {"description": "", "content": content})
        answer["description"] = "; ".join(filter(None, [answer["description"], f"`{code}`: {kind.title}"]))
    return dict(sorted(answers.items()))


def header(text: str, kind: str = "string") -> Words:
    """Return one response header."""
    return {"description": text, "schema": {"type": kind}}


def link(operation_id: str, text: str) -> Words:
    """Return a link from a job's document to what can be done with the job."""
    return {"operationId": operation_id, "description": text, "parameters": {"job_id": "$response.body#/id"}}
