"""Byte ranges of a download (RFC 9110, 14). One range; several at once are answered with the whole file."""

from __future__ import annotations

import re

from starlette.requests import Request

from service.errors import RANGE_NOT_SATISFIABLE, ServiceError

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})", re.IGNORECASE)


def requested_range(request: Request, size_bytes: int, etag: str) -> tuple[int, int] | None:
    """Return ``(start, end)``, end exclusive, or None for the whole file.

    Ignored, as RFC 9110 says: any on a method but GET, other units, several ranges, malformed ones, and those whose
    ``If-Range`` is of another version, a weak tag or a date (13.1.5: compared strongly).

    Raises:
        ServiceError: range_not_satisfiable.
    """
    lines = request.headers.getlist("range")
    found = _RANGE.fullmatch(lines[0].replace(" ", "")) if len(lines) == 1 else None
    if (
        request.method != "GET"
        or found is None
        or not any(found.groups())
        or request.headers.get("if-range", etag).strip() != etag
    ):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes
    else:
        start, end = int(first), min(size_bytes, int(last) + 1 if last else size_bytes)
        if last and int(last) < start:
            return None
    if start >= end:
        headers = {"Content-Range": f"bytes */{size_bytes}"}
        raise ServiceError(RANGE_NOT_SATISFIABLE, f"The file has {size_bytes} bytes.", headers=headers)
    return start, end
