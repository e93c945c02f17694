"""How routes that read are registered: whatever answers GET answers HEAD too (RFC 9110, 9.3.2), described once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter

Handler = TypeVar("Handler", bound=Callable[..., Any])


def get_and_head(router: APIRouter, path: str, **words: Any) -> Callable[[Handler], Handler]:
    """Return a decorator that registers a handler for both methods; the server leaves out what it returns for HEAD."""

    def register(handler: Handler) -> Handler:
        router.get(path, **words)(handler)
        return router.head(path, **words | {"include_in_schema": False})(handler)

    return register
