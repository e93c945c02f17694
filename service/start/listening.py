"""Where a service listens: every address its host has, both families, bound before anything else is begun."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from ipaddress import ip_address

from service.start.cannot_start import CannotStart
from service.values.target import authority

_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""An address that a name has but this machine does not: ``localhost`` is ``::1`` too, where IPv6 is switched off."""

TRIES = 20
"""For a free port that is free at every address."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of the host, bound and not yet listening; ``::`` takes IPv4 as well.

    uvicorn alone binds ``::`` for IPv6 only. Port 0 is one free port, the same at all addresses.

    Raises:
        CannotStart: no address can be listened on, or one is taken.
    """
    host = host.removeprefix("[").removesuffix("]")
    for _ in range(TRIES if port == 0 else 1):
        try:
            return _bind_all(host, port)
        except (OSError, UnicodeError, ValueError) as error:
            failure = error
    raise CannotStart(_cannot(host, port, failure)) from failure


def listen(sockets: list[socket.socket], backlog: int) -> None:
    """Begin to take connections.

    Raises:
        CannotStart: another program has begun to listen there since.
    """
    for each in sockets:
        try:
            each.listen(backlog)
        except OSError as error:
            host, port = each.getsockname()[:2]
            raise CannotStart(_cannot(host, port, error)) from error


def url_of(bound: socket.socket) -> str:
    """Return where a socket is reached, as a URL: IPv6 in brackets, the ``%`` of its scope escaped (RFC 6874)."""
    host, port = bound.getsockname()[:2]
    return f"http://{authority(host, port)}"


def is_reached_from_elsewhere(sockets: list[socket.socket]) -> bool:
    """Return whether one of them listens beyond loopback."""
    return not all(ip_address(each.getsockname()[0].partition("%")[0]).is_loopback for each in sockets)


def _bind_all(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    missing: OSError | None = None
    # Only "every address", asked for alone, has both families in one socket.
    takes_both = {address[0] for *_, address in found} == {"::"}
    with ExitStack() as undo:
        bound: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            # The first says which port is free; the others take the same.
            taken = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(
                    undo.enter_context(_bind(family, (address[0], taken, *address[2:]), takes_both=takes_both))
                )
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
        if not bound:
            raise missing or OSError(errno.EADDRNOTAVAIL, "it has no address")
        undo.pop_all()
        return bound


def _bind(family: int, address: tuple[object, ...], *, takes_both: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not takes_both)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _cannot(host: str, port: int, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or "it is no host name"
    return f"{authority(host, port)} cannot be listened on ({reason}); choose another with --host and --port"
