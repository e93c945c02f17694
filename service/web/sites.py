"""The names this service is known by, and whether a request comes from a page of its own.

A page of another site can have its own name lead here (DNS rebinding): to a browser the service is then that site, and
``Origin`` and ``Sec-Fetch-Site`` say so too. Only a name that is not the service's own tells such requests apart.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from service.values.allowed_hosts import ANY, is_named, read_hosts

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/\\?#\s]+)(?::[0-9]{0,5})?")

Headers = Mapping[bytes, bytes]


class Sites:
    """What counts as this service: its public address, and the host that a request names if it is known."""

    def __init__(self, public_url: str = "", allowed_hosts: str = "", *, own_name: str = "localhost") -> None:
        """``public_url`` is the address people know, where a proxy may give requests another ``Host``.

        ``own_name`` is what the machine calls itself: its network does so too, with or without ``.local``.
        """
        public = urlsplit(public_url)
        self._public = site_of(public.scheme, public.netloc) if public_url else ""
        self._is_public_secure = public.scheme == "https"
        own = own_name.lower()
        self._named = (*read_hosts(allowed_hosts), public.hostname or own, own, f"{own}.local")
        self.is_known = lru_cache(1024)(self._is_known)

    def _is_known(self, host: bytes) -> bool:
        """Return whether a ``Host`` is one of ours: named in the settings, this machine to itself, or an address.

        No name leads to a literal address, so that no other site can be behind one.
        """
        match = _AUTHORITY.fullmatch(host.decode("latin-1"))
        if match is None:
            return ANY in self._named
        name = match["name"].lower().removesuffix(".")
        return name == "localhost" or name.endswith(".localhost") or _is_address(name) or is_named(name, self._named)

    def is_secure(self, scope: Scope) -> bool:
        """Return whether people reach the service by HTTPS, as far as the request or the settings tell."""
        return self._is_public_secure or scope.get("scheme") == "https"

    def is_foreign(self, scope: Scope, headers: Headers) -> bool:
        """Return whether a page of another site sent this, as far as its browser tells.

        Browsers send Sec-Fetch-Site on HTTPS and loopback; on a plain-HTTP network only Origin. curl sends neither.
        """
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            return site not in (b"same-origin", b"none")
        origin = headers.get(b"origin")
        return origin is not None and not self._is_own(origin.decode("latin-1"), scope, headers)

    def _is_own(self, origin: str, scope: Scope, headers: Headers) -> bool:
        try:
            theirs = urlsplit(origin)
        except ValueError:
            return False
        if not theirs.netloc:
            return False
        scheme: str = scope.get("scheme", "http")
        here = site_of(scheme, headers.get(b"host", b"").decode("latin-1"))
        return site_of(theirs.scheme, theirs.netloc) in (here, self._public)


def tells_its_site(headers: Headers) -> bool:
    """Return whether a request says which page sent it, as every browser does with what changes something."""
    return b"origin" in headers or b"sec-fetch-site" in headers


def site_of(scheme: str, authority: str) -> str:
    """Return scheme, host and port, without the port that the scheme has anyway (RFC 6454, 4)."""
    scheme = scheme.lower()
    return f"{scheme}://{authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
