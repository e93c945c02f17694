"""How routes that read are registered: whatever answers GET answers HEAD too (RFC 9110, 9.3.2), described once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.routing import Match, Route

ROUTED = frozenset(
    {"jobs", "audit", "docs", "limits", "livez", "readyz", "metrics", "openapi.json", "static", "favicon.ico"}
)
"""First segments of a path that are not file names."""

Handler = TypeVar("Handler", bound=Callable[..., Any])


def get_and_head(router: APIRouter, path: str, **words: Any) -> Callable[[Handler], Handler]:
    """Return a decorator that registers a handler for both methods; the server leaves out what it returns for HEAD."""

    def register(handler: Handler) -> Handler:
        router.get(path, **words)(handler)
        return router.head(path, **words | {"include_in_schema": False})(handler)

    return register


def other_methods(request: Request) -> list[str]:
    """Return every other method this address takes (RFC 9110, 10.2.1); the framework tells those of one route only."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if request.url.path.lstrip("/").partition("/")[0] in ROUTED:
        methods.discard("PUT")
    return sorted(methods - {request.method})
