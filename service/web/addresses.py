"""Addresses as requests bring them: below a path that a proxy has taken off or not; with a last slash or without."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import Scope

from service.web.routing import ROUTED


def settle(scope: Scope, prefix: str) -> Scope:
    """Return the request's scope with the path that routes know; the same one if it has that already.

    ``prefix`` is the path under which people know the service, as it stands in a URL. Nothing of ours begins with it,
    so that it can be told whether a proxy has taken it off.
    """
    path, raw = scope["path"], scope["raw_path"]
    if prefix and (raw.startswith(f"{prefix}/".encode()) or (raw == prefix.encode() and scope["method"] in _READING)):
        path, raw = path[len(unquote(prefix)) :] or "/", raw[len(prefix) :] or b"/"
    if path[-1:] == "/" != path and _is_of_ours(path, scope["method"]):
        path, raw = path.rstrip("/"), raw.rstrip(b"/")
    return scope if path == scope["path"] else {**scope, "path": path, "raw_path": raw}


_READING = frozenset({"GET", "HEAD"})


def _is_of_ours(path: str, method: str) -> bool:
    """Whether it is an address of ours whatever follows it, so that a last slash can mean nothing."""
    first = path[1:].partition("/")[0]
    return first in ROUTED or (path.rstrip("/") == "/uploads" and method != "PUT")
