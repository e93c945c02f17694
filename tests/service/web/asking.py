"""Requests as a route sees them, made of headers and a query alone."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request


def request_with(
    headers: Mapping[str, str] | None = None, *, method: str = "GET", path: str = "/", query: str = ""
) -> Request:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": raw,
        "scheme": "http",
        "server": ("testserver", 80),
    }
    return Request(scope)
