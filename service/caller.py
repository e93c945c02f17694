"""Who asks, as limits count it: one key for each address, or nobody where no limit per address applies.

An IPv4 address is a key of its own, an IPv6 address the /64 it lies in: any host may take any address of that. The
machine itself and the proxies in front of it are exempt, so that whoever is alone here never meets such a limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

UNKNOWN = "unknown"
"""The one key of all whose address is none: what a proxy passes on may be any text."""

INSIDE = "inside"
"""The one key of all whom a proxy names by an address that would be exempt."""

_Network = IPv4Network | IPv6Network


class Callers:
    """Tells callers apart."""

    def __init__(self, trusted: tuple[_Network, ...] = ()) -> None:
        """``trusted`` are the networks of proxies."""
        self._trusted = trusted
        self.key_of = lru_cache(maxsize=4096)(self._key_of)

    def _key_of(self, host: str | None, *, is_forwarded: bool = False) -> str | None:
        """Return the key of who connects from ``host``, or is said to; None: exempt, which only who connects can be."""
        if host is None:
            return None
        address = _address(host)
        if address is None:
            return UNKNOWN
        if address.is_loopback or any(address in network for network in self._trusted):
            return INSIDE if is_forwarded else None
        return str(address) if address.version == 4 else str(IPv6Network((address, 64), strict=False))

    def is_this_machine(self, host: str | None) -> bool:
        """Return whether the address is one of this machine's own for itself."""
        address = None if host is None else _address(host)
        return address is not None and address.is_loopback

    def address_of(self, host: str | None) -> str | None:
        """Return what is kept of who asks: an address, or nothing where it is none."""
        return None if host is None else _text(host)


def read_trusted(value: str) -> tuple[_Network, ...]:
    """Return the networks in ``FORWARDED_ALLOW_IPS``, as uvicorn reads it; its ``*`` and names exempt nobody."""
    return tuple(_networks(item.strip() for item in value.split(",")))


def _networks(items: Iterable[str]) -> Iterable[_Network]:
    for item in items:
        try:
            yield ip_network(item, strict=False)
        except ValueError:
            continue


@lru_cache(maxsize=4096)
def _text(host: str) -> str | None:
    address = _address(host)
    return None if address is None else str(address)


@lru_cache(maxsize=4096)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
