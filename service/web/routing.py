"""How routes that read are registered: whatever answers GET answers HEAD too (RFC 9110, 9.3.2), described once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.routing import Match, Route

from service.settings import OWN_SEGMENTS

ROUTED = OWN_SEGMENTS - {"uploads"}
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
    # A mount that has been entered has left its own path there.
    scope = {**request.scope, "root_path": ""}
    for route in request.app.routes:
        if route.matches(scope)[0] is not Match.NONE:
            methods |= (route.methods or set()) if isinstance(route, Route) else {"GET", "HEAD"}
    if request.scope["path"].lstrip("/").partition("/")[0] in ROUTED:
        methods.discard("PUT")
    return sorted(methods - {request.method})


def is_nothing(request: Request) -> bool:
    """Return whether there is nothing at this address: at most a file could be sent under its name, by PUT.

    Who reads ``/uplaods`` or posts to it has mistyped it, and 405 would send them looking for the method.
    """
    return request.method in _USUAL and set(other_methods(request)) <= {"PUT"}


_USUAL = frozenset({"GET", "HEAD", "POST", "DELETE", "PATCH"})
