"""Everything an upload's headers say, read and checked before the first byte of its body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import http_sf
from starlette.requests import Request

from service.errors import (
    BAD_DIGEST,
    BAD_IDEMPOTENCY_KEY,
    ServiceError,
)
from service.intake.commands import digest_of
from service.web.http.digests import FIELDS, SHA_256, expected_digests, wants_sha256
from service.web.names.charsets import Hints, hints_of
from service.web.names.filenames import name_of_disposition, name_of_path, name_of_query
from service.web.receiving.header_checks import Place, media_type_of
from service.web.receiving.header_rules import check_headers, gathered
from service.web.receiving.options import Options, check_names, put, read_options
from service.web.receiving.part_content import charset_of
from storage.jobs.idempotency import IdempotentRequest

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
    hints: Hints
    """What encoding the names of its files may be in."""
    expected: Mapping[str, str]
    """Digests that a raw body was announced with, as ``expected_digests`` returns them."""
    wants_digest: bool
    idempotency_key: str | None

    @property
    def names_its_bytes(self) -> bool:
        """Whether the headers tell one body from all others."""
        return SHA_256 in self.expected


def read_head(request: Request, *, raw_path: bytes | None, max_ttl_seconds: int) -> UploadHead:
    """Read the headers and the query; ``raw_path`` is the URL's path where it ends with a name.

    Raises:
        ServiceError: bad_option, unknown_option, bad_digest, bad_idempotency_key, and what ``check_headers`` raises.
    """
    # One dictionary: each look into Starlette's headers goes through all of them.
    headers = gathered(request.headers.items())
    is_form = request.method == "POST" and media_type_of(headers) == "multipart/form-data"
    check_headers(headers, Place.FORM if is_form else Place.RAW, request.method)
    hints = hints_of(charset_of(headers, "") if is_form else "", headers.get("accept-language", ""))
    query = _query(request) if request.scope["query_string"] else {}
    check_names(query)
    expected = expected_digests(headers)
    if is_form and expected:
        detail = "On a form the digest belongs to a file: send it as a header of its part."
        raise ServiceError(BAD_DIGEST, detail)
    key = read_key(headers.get("idempotency-key") or query.get("idempotency_key"))
    return UploadHead(
        content_type=headers.get("content-type", ""),
        is_form=is_form,
        declared_bytes=_declared_bytes(headers),
        query=query,
        options=read_options(query, max_ttl_seconds=max_ttl_seconds),
        filename=_filename(request, headers.get("content-disposition"), hints, raw_path),
        hints=hints,
        expected=expected,
        # A repeat is held to the bytes of the first request.
        wants_digest=wants_sha256(headers.get("want-repr-digest")) or key is not None,
        idempotency_key=key,
    )


def _filename(request: Request, disposition: str | None, hints: Hints, raw_path: bytes | None) -> str | None:
    """Return the name of a raw body; the bytes are looked at again, for Starlette's query keeps UTF-8 only."""
    query: bytes = request.scope["query_string"]
    asked = name_of_query(query, hints) if b"filename" in query else None
    in_path = None if raw_path is None else name_of_path(raw_path, hints)
    return asked or in_path or name_of_disposition(disposition, hints)


def _query(request: Request) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        put(values, name, value)
    return values


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
    # With every character behind a backslash it is twice as long, and two quotes.
    if len(value) > 2 * MAX_KEY_LENGTH + 2:
        value = ""
    key = _unquoted(value) if value[:1] == '"' else value
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


def idempotent(request: Request, key: str, caller: str | None) -> IdempotentRequest:
    """Return the request that must make one job only: its key, and what its head says.

    A key is its caller's own: another address that knows it, or guesses it, finds nothing and locks nobody out.

    A repeat has the same door, options, length, digest and name; a form's boundary differs, but not its length. What
    its body holds is added when it has arrived: ``IdempotentRequest.with_part``.
    """
    media_type = media_type_of(request.headers)
    names = ("content-length", "content-disposition", *FIELDS)
    query = sorted(item for item in request.query_params.multi_items() if item[0] != "idempotency_key")
    said = [request.scope["path"], query, media_type, *(request.headers.get(name) for name in names)]
    return IdempotentRequest(key_digest(key, caller)).with_part(json.dumps(said))


def key_digest(key: str, caller: str | None) -> str:
    """Return what stands for a caller's key; a key has no line ends, so that no two are taken for one."""
    return digest_of(f"{caller}\n{key}" if caller else key)
