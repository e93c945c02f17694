"""What a request's head may say of its body, of its version, and of what it expects: read before any of it is believed.

What two readers could take for two different bodies is refused (RFC 9112, 6.1 to 6.3): a proxy may be the other one.
"""

from __future__ import annotations

from collections.abc import Iterable

import httptools

from service.errors import (
    BAD_DIGEST,
    BAD_REQUEST,
    EXPECTATION_FAILED,
    HTTP_VERSION,
    METHOD_NOT_ALLOWED,
    TRANSFER_CODING,
    UNSUPPORTED_HEADER,
    ServiceError,
)
from service.web.digests import FIELDS
from service.web.header_rules import rule_of

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

MAX_LENGTH_DIGITS = 19
"""As many as the parser takes."""
_LENGTH, _CODING, _EXPECT = b"content-length", b"transfer-encoding", b"expect"
_TOLD = frozenset((_LENGTH, _CODING, _EXPECT))


def refusal_of(method: bytes, version: str, headers: Headers) -> ServiceError | None:
    """Return why a request cannot be taken, None if it can; the error's connection must be closed."""
    if version not in ("1.0", "1.1"):
        return ServiceError(HTTP_VERSION, "Speak HTTP/1.1, or HTTP/1.0.")
    if method == b"CONNECT":
        detail = "This is no proxy."
        return ServiceError(METHOD_NOT_ALLOWED, detail, headers={"Allow": "DELETE, GET, HEAD, POST, PUT"})
    told = [(name, value.strip().lower()) for name, value in headers if name in _TOLD]
    return _refusal_of_told(version, told) if told else None


def _refusal_of_told(version: str, told: list[tuple[bytes, bytes]]) -> ServiceError | None:
    lengths = [value for name, value in told if name == _LENGTH]
    codings = [value for name, value in told if name == _CODING]
    if len(lengths) + len(codings) > 1:
        detail = "Say once how long the body is: one Content-Length, or one Transfer-Encoding."
        return ServiceError(BAD_REQUEST, detail)
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) <= MAX_LENGTH_DIGITS):
        return ServiceError(BAD_REQUEST, "Content-Length is a number of bytes.")
    if codings and version == "1.0":
        return ServiceError(BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding; send a Content-Length.")
    if codings and codings[0] != b"chunked":
        return ServiceError(TRANSFER_CODING, "The only Transfer-Encoding that is understood here is chunked.")
    if version == "1.1" and not _expected(told) <= {b"100-continue"}:
        return ServiceError(EXPECTATION_FAILED, "The only expectation that is met here is 100-continue.")
    return None


def expects_continue(version: str, headers: Headers) -> bool:
    """Return whether the client waits for ``100 Continue``. One of HTTP/1.0 never does (RFC 9110, 10.1.1)."""
    return version == "1.1" and b"100-continue" in _expected(headers)


def _expected(headers: Headers) -> set[bytes]:
    values = (item.strip().lower() for name, value in headers if name == _EXPECT for item in value.split(b","))
    return set(filter(None, values))


def settled_target(target: bytes) -> bytes:
    """Return a request's target with a path: a URL may end with its host (RFC 9112, 3.2.2).

    Raises:
        ServiceError: bad_request, it cannot be read.
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserError as error:
        raise ServiceError(BAD_REQUEST, "The request's target is neither a path nor a URL.") from error
    if url.path:
        return target
    return b"/?" + url.query if url.query else b"/"


def check_trailer(name: bytes) -> None:
    """Refuse a field after the body that would have to be honoured or refused before it.

    Others are passed over and never merged into the headers (RFC 9110, 6.5.1).

    Raises:
        ServiceError: bad_digest, unsupported_header.
    """
    field = name.decode("latin-1").lower()
    if field in FIELDS or rule_of(field) is not None:
        kind = BAD_DIGEST if field in FIELDS else UNSUPPORTED_HEADER
        raise ServiceError(kind, f"{field} after the body is not read; send it as a header before it.", header=field)
