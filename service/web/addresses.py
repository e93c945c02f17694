"""Addresses as requests bring them: below a path that a proxy has taken off or not; with a last slash or without."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from starlette.types import Scope

from service.web.routing import ROUTED

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


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


def site_of(scheme: str, authority: str) -> str:
    """Return host and port without the port that the scheme has anyway (RFC 6454, 4)."""
    return authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))


def is_same_site(origin: str, host: str, public_url: str) -> bool:
    """Return whether the page of this ``Origin`` is ours: at the ``Host`` of the request, or where people know us.

    A proxy that ends TLS leaves us HTTP, so that of schemes only the ports they stand for are compared.
    """
    try:
        theirs, ours = urlsplit(origin), urlsplit(public_url)
    except ValueError:
        return False
    site = site_of(theirs.scheme, theirs.netloc)
    return bool(site) and site in (site_of(theirs.scheme, host), site_of(ours.scheme, ours.netloc))
