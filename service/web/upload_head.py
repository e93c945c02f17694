"""Everything an upload's headers say, read and checked before the first byte of its body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import http_sf
from starlette.requests import Request

from service.commands import digest_of
from service.errors import (
    BAD_DIGEST,
    BAD_IDEMPOTENCY_KEY,
    CONTENT_ENCODING,
    URLENCODED,
    ServiceError,
)
from service.web.digests import expected_sha256, wants_sha256
from service.web.filenames import name_of_disposition
from service.web.options import Options, check_names, put, read_options
from storage.idempotency import IdempotentRequest

MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class UploadHead:
    """One upload, as far as it is known from its headers."""

    content_type: str
    is_form: bool
    declared_bytes: int | None
    query: dict[str, str]
    options: Options
    """From the query; a form's fields win over them."""
    filename: str | None
    """Of a raw body."""
    expected_sha256: str | None
    wants_digest: bool
    idempotency_key: str | None


def read_head(request: Request, *, path_name: str | None, max_ttl_seconds: int) -> UploadHead:
    """Read the headers and the query; ``path_name`` is the name in the URL, if it has one.

    Raises:
        ServiceError: urlencoded, content_encoding, bad_option, unknown_option, bad_digest, bad_idempotency_key.
    """
    # One dictionary: each look into Starlette's headers goes through all of them.
    headers = dict(request.headers.items())
    content_type = headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    _check_media_type(headers, media_type)
    query = _query(request) if request.scope["query_string"] else {}
    check_names(query)
    is_form = media_type == "multipart/form-data" and request.method == "POST"
    expected = expected_sha256(headers.get("repr-digest"), headers.get("content-digest"))
    if is_form and expected is not None:
        detail = "On a form the digest belongs to a file: send it as a header of its part."
        raise ServiceError(BAD_DIGEST, detail)
    key = read_key(headers.get("idempotency-key") or query.get("idempotency_key"))
    return UploadHead(
        content_type=content_type,
        is_form=is_form,
        declared_bytes=_declared_bytes(headers),
        query=query,
        options=read_options(query, max_ttl_seconds=max_ttl_seconds),
        filename=query.get("filename") or path_name or name_of_disposition(headers.get("content-disposition")),
        expected_sha256=expected,
        # A repeat is held to the bytes of the first request.
        wants_digest=wants_sha256(headers.get("want-repr-digest")) or key is not None,
        idempotency_key=key,
    )


def _query(request: Request) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        put(values, name, value)
    return values


def _check_media_type(headers: Mapping[str, str], media_type: str) -> None:
    if media_type == "application/x-www-form-urlencoded":
        detail = (
            "curl -d and --data-binary send files as a web form, and -d drops bytes of them. "
            "Use: curl -T FILE URL, or curl -F file=@FILE URL/uploads, "
            "or add -H 'Content-Type: application/octet-stream' to --data-binary."
        )
        raise ServiceError(URLENCODED, detail)
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        detail = f"The body is announced as {coding[:40]!r}; vacpack keeps the bytes that arrive, so name none."
        raise ServiceError(CONTENT_ENCODING, detail)


def _declared_bytes(headers: Mapping[str, str]) -> int | None:
    length = headers.get("content-length")
    return int(length) if length is not None and length.isascii() and length.isdigit() else None


def read_key(value: str | None) -> str | None:
    """Return an ``Idempotency-Key``: a quoted string as its draft says, or the same without quotes.

    Raises:
        ServiceError: bad_idempotency_key.
    """
    if value is None or value == "":
        return None
    key = _unquoted(value) if value[0] == '"' else value
    if not key or len(key) > MAX_KEY_LENGTH or not key.isprintable():
        detail = f"Send a string of at most {MAX_KEY_LENGTH} printable characters, in double quotes."
        raise ServiceError(BAD_IDEMPOTENCY_KEY, detail)
    return key


def _unquoted(value: str) -> str:
    """Return what a structured string holds; empty if it is not one."""
    try:
        item = http_sf.parse(value.encode("latin-1", "replace"), tltype="item")
    except ValueError:
        return ""
    return item[0] if isinstance(item, tuple) and isinstance(item[0], str) else ""


def idempotent(request: Request, key: str) -> IdempotentRequest:
    """Return the request that must make one job only: its key, and what its head says.

    A repeat has the same door, options, length, digest and name; a form's boundary differs, but not its length. What
    its body holds is added when it has arrived: ``IdempotentRequest.with_part``.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    names = ("content-length", "content-disposition", "repr-digest", "content-digest")
    query = sorted(item for item in request.query_params.multi_items() if item[0] != "idempotency_key")
    said = [request.url.path, query, media_type, *(request.headers.get(name) for name in names)]
    return IdempotentRequest(digest_of(key)).with_part(json.dumps(said))
