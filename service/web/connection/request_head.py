"""What a request's head may say of its body, of its version, and of what it expects: read before any of it is believed.

What two readers could take for two different bodies is refused (RFC 9112, 6.1 to 6.3): a proxy may be the other one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import httptools

from service.errors import (
    BAD_DIGEST,
    BAD_REQUEST,
    EXPECTATION_FAILED,
    HEADERS_TOO_LARGE,
    HTTP_VERSION,
    METHOD_NOT_ALLOWED,
    TARGET_TOO_LONG,
    TRANSFER_CODING,
    UNSUPPORTED_HEADER,
    ServiceError,
)
from service.web.http.digests import FIELDS
from service.web.receiving.header_rules import rule_of

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

MAX_FIELDS = 100
"""Of a head, and after a body. Browsers send some twenty, proxies add a few."""
MAX_FIELD_BYTES = 8 * 1024
"""Of one field, its name among them: what the reader of any field may cost is bounded by it."""
MAX_TARGET_BYTES = 16 * 1024
"""Of the first line's address: 500 job ids take 13.5 KiB."""
MAX_PARAMETERS = 100
"""Of a query. A list of mail addresses has ten."""
MAX_LENGTH_DIGITS = 19
"""As many as the parser takes."""
_LENGTH, _CODING, _EXPECT, _HOST = b"content-length", b"transfer-encoding", b"expect", b"host"
_TOLD = frozenset((_LENGTH, _CODING, _EXPECT, _HOST))
_AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.%_~-]+\])(?::[0-9]{0,5})?")
"""A host and a port (RFC 3986, 3.2); without a user, and without anything that begins a path."""
_FIRST_LINE = re.compile(rb"[\r\n]*[^\r\n]* HTTP/[0-9.]+\r?\n")


def refusal_of(method: bytes, version: str, headers: Headers) -> ServiceError | None:
    """Return why a request cannot be taken, None if it can; the error's connection must be closed."""
    if version not in ("1.0", "1.1"):
        return ServiceError(HTTP_VERSION, "Speak HTTP/1.1, or HTTP/1.0.")
    if method == b"CONNECT":
        detail = "This is no proxy."
        return ServiceError(METHOD_NOT_ALLOWED, detail, headers={"Allow": "DELETE, GET, HEAD, POST, PUT"})
    told = [(name, value.strip(b" \t").lower()) for name, value in headers if name in _TOLD]
    hosts = [value for name, value in told if name == _HOST]
    refusal = _refusal_of_told(version, told) if len(told) > len(hosts) else None
    return refusal or _refusal_of_host(version, hosts)


def refusal_of_line(line: bytes) -> ServiceError | None:
    """Return why a head's first line cannot be taken: the parser takes ``GET / RTSP/1.0`` for HTTP/1.0."""
    return None if _FIRST_LINE.match(line) else ServiceError(HTTP_VERSION, "Speak HTTP/1.1, or HTTP/1.0.")


def refusal_of_target(target: bytes) -> ServiceError | None:
    """Return why a head cannot be taken whose address is this, as far as it has come; None if it can."""
    if len(target) > MAX_TARGET_BYTES:
        return ServiceError(TARGET_TOO_LONG, f"At most {MAX_TARGET_BYTES // 1024} KiB of an address are taken.")
    return None


def refusal_of_field(fields: int, size_bytes: int) -> ServiceError | None:
    """Return why a head cannot be taken that has so many fields, the last of this size; None if it can."""
    if fields > MAX_FIELDS:
        return ServiceError(HEADERS_TOO_LARGE, f"At most {MAX_FIELDS} header fields are taken.")
    if size_bytes > MAX_FIELD_BYTES:
        return ServiceError(HEADERS_TOO_LARGE, f"At most {MAX_FIELD_BYTES // 1024} KiB of one header field are taken.")
    return None


def _refusal_of_host(version: str, hosts: list[bytes]) -> ServiceError | None:
    """Return why a head's hosts cannot be taken: there is one (RFC 9112, 3.2), which HTTP/1.0 may leave out."""
    if len(hosts) > 1 or (not hosts and version != "1.0"):
        return ServiceError(BAD_REQUEST, "Say once which host the request is for: one Host.")
    if hosts and not _AUTHORITY.fullmatch(hosts[0]):
        return ServiceError(BAD_REQUEST, "Host is the name of a host, and its port.")
    return None


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
    values = [value for name, value in headers if name == _EXPECT]
    return {item.strip().lower() for item in b",".join(values).split(b",")} - {b""} if values else set()


def settled_target(target: bytes) -> bytes:
    """Return a request's target with a path: a URL may end with its host (RFC 9112, 3.2.2).

    Raises:
        ServiceError: bad_request, it cannot be read; target_too_long, its query has too many parameters.
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserError as error:
        raise ServiceError(BAD_REQUEST, "The request's target is neither a path nor a URL.") from error
    if url.query and url.query.count(b"&") >= MAX_PARAMETERS:
        raise ServiceError(TARGET_TOO_LONG, f"At most {MAX_PARAMETERS} parameters of an address are taken.")
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


def length_of(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return how long the body is that a head announces, None where only its end tells."""
    length = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length" and value.strip().isdigit():
            length = int(value)
    return length


def too_large() -> ServiceError:
    """Return the refusal of a head that is too large."""
    return ServiceError(HEADERS_TOO_LARGE, "At most 64 KiB of headers are taken.")
