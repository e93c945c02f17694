"""URLs that strangers give, to be called later: how they are read, and which addresses are inside and refused.

``safe_http`` connects to them, and checks again what their names lead to then.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

MAX_URL_LENGTH = 2048
PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024
_PRINTABLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?|[0-9a-f:.]+")

_INSIDE_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # This host (RFC 1122).
            "10.0.0.0/8",  # Private (RFC 1918), as the two below.
            "100.64.0.0/10",  # Behind carriers' NAT (RFC 6598); a cloud's metadata at 100.100.100.200.
            "127.0.0.0/8",
            "168.63.129.16/32",  # A cloud's metadata, at an address that looks public.
            "169.254.0.0/16",  # Link-local (RFC 3927); most clouds' metadata.
            "172.16.0.0/12",
            "192.0.0.0/24",  # Protocol assignments (RFC 6890); a cloud's metadata at 192.0.0.192.
            "192.0.2.0/24",  # For documentation (RFC 5737), as two below.
            "192.88.99.0/24",  # 6to4 relays (RFC 7526).
            "192.168.0.0/16",
            "198.18.0.0/15",  # Benchmarks (RFC 2544).
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # Multicast (RFC 5771).
            "240.0.0.0/4",  # Reserved (RFC 1112), and broadcast.
        ),
    )
)
_OUTSIDE_6 = IPv6Network("2000::/3")
"""Global unicast (RFC 4291, 2.4). All else is refused with it: loopback, link-local, unique local, multicast, and IPv4
in disguise (mapped, compatible, NAT64)."""
_INSIDE_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # Protocol assignments (RFC 2928); Teredo, which carries IPv4 addresses.
            "2001:db8::/32",  # For documentation (RFC 3849), as 3fff::/20 (RFC 9637).
            "2002::/16",  # 6to4 (RFC 3056), which carries IPv4 addresses.
            "3fff::/20",
        ),
    )
)


class BadTarget(ValueError):
    """The URL is not one that may be called. The text is a sentence for whoever gave it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, read: what the request and the connection are made of."""

    scheme: str
    host: str
    """Lower case; an IPv6 address without brackets."""
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """Return what the ``Host`` field says (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def read_networks(text: str) -> Networks:
    """Return the networks of a comma-separated list of CIDR blocks.

    Raises:
        ValueError: one of them is none, or has host bits set.
    """
    return tuple(ip_network(block.strip()) for block in text.split(",") if block.strip())


def is_outside(address: Address, opened: Networks = ()) -> bool:
    """Return whether an address may be connected to: a public one, or one of an opened network."""
    if any(address in network for network in opened):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _INSIDE_4)
    return address in _OUTSIDE_6 and not any(address in network for network in _INSIDE_6)


def read_target(url: str, opened: Networks = ()) -> Target:
    """Read a URL and refuse what can be refused without asking anybody: also a host that is itself an address inside.

    Raises:
        BadTarget: with the reason.
    """
    if len(url) > MAX_URL_LENGTH:
        raise BadTarget(f"A URL has at most {MAX_URL_LENGTH} characters.")
    # Before it is split: that would drop line ends and tabs in silence.
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise BadTarget("A URL is printable ASCII: write the rest as %XX, and names of other scripts as xn--….")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadTarget("The URL cannot be read.") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadTarget("The URL must begin with https:// or http:// and a host.")
    if "@" in parts.netloc:
        raise BadTarget("The URL must not hold a user name or password.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port, path)
    _check_host(target.host, opened)
    if target.port not in PORTS.values() and target.port < _FIRST_FREE_PORT:
        raise BadTarget(f"The port must be 80, 443, or {_FIRST_FREE_PORT} and above.")
    return target


def _check_host(host: str, opened: Networks) -> None:
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise BadTarget("The URL's host is not a name or an address.")
    named = _literal(host)
    if named and not any(is_outside(address, opened) for address in named):
        raise BadTarget("The URL's host is an address that may not be called from here.")


def _literal(host: str) -> list[Address]:
    """Return the address that a host is by itself, in any spelling: 127.1 and 0x7f000001 are addresses too."""
    name = host.removesuffix(".")
    if name.rpartition(".")[2] == "localhost":
        return [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [ip_address(entry[4][0]) for entry in found]


def authority(host: str, port: int) -> str:
    """Return host and port as a URL has them (RFC 3986, 3.2.2)."""
    return f"[{host.replace('%', '%25')}]:{port}" if ":" in host else f"{host}:{port}"
