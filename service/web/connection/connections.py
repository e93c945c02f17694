"""How many connections are open, in all and from one address: fewer than the system lets the service open files.

Without a limit of ours the system's is met first, and then nobody is let in, an upload finds no file to write to, and
nothing tells why. Addresses are those of the connections themselves: nothing has been read yet that could name another.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.caller import Callers
from service.errors import TOO_MANY_CONNECTIONS, ServiceError
from service.shares import Shares, over_share
from service.web.http.security_headers import DEFAULTS

TELL_SECONDS = 60.0
"""Between two lines in the log about the same limit."""

_log = logging.getLogger("vacpack.http")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The most that may be open."""

    in_all: int
    per_address: int


class Connections:
    """Counts connections. Belongs to one event loop."""

    def __init__(
        self,
        limits: ConnectionLimits,
        callers: Callers,
        on_limit: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_limit`` is told the name of a limit each time it is met."""
        self.open = 0
        self._limits = limits
        self._callers = callers
        self._on_limit = on_limit
        self._clock = clock
        self._shares = Shares()
        self._told_at: dict[str, float] = {}

    def enter(self, host: str | None) -> ServiceError | None:
        """Count a connection that was made, until ``leave``; return with what it is to be refused, if at all."""
        caller = self._callers.key_of(host)
        self.open += 1
        self._shares.add(caller, 1)
        if self.open > self._limits.in_all:
            self._met("max_connections", host)
            headers = {"Retry-After": "5"}
            return ServiceError(TOO_MANY_CONNECTIONS, "Try again in a moment.", headers=headers)
        if self._shares.held(caller) > self._limits.per_address:
            self._met("max_connections_per_address", host)
            return over_share("max_connections_per_address", "Close other connections first.", retry_after_seconds=5)
        return None

    def leave(self, host: str | None) -> None:
        """Count a connection no more."""
        self.open -= 1
        self._shares.add(self._callers.key_of(host), -1)

    def _met(self, limit: str, host: str | None) -> None:
        self._on_limit(limit)
        now = self._clock()
        if now - self._told_at.get(limit, float("-inf")) >= TELL_SECONDS:
            self._told_at[limit] = now
            _log.warning("connections are refused", extra={"limit": limit, "open": self.open, "client": host})


def refusal_bytes(error: ServiceError) -> bytes:
    """Return an answer that needs no request: what a connection is told before it is closed."""
    kind = error.kind
    told = {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail,
        "code": kind.code,
    }
    body = json.dumps(told | error.members).encode() + b"\n"
    lines = [f"HTTP/1.1 {kind.status} {kind.title}", "Content-Type: application/problem+json"]
    lines += [f"{name}: {value}" for name, value in error.headers.items()]
    lines += [f"{name.decode()}: {value.decode()}" for name, value in DEFAULTS]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body
