"""Who asks: the connection's own peer, or whom a proxy that is believed names in its place."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from service.caller import Callers

PEER = "vacpack.peer"
"""Where a request's scope has its connection's peer, among the ``extensions``: given by ``protocol``."""


def caller_of(callers: Callers, request: HTTPConnection) -> str | None:
    """Return who asks, as limits per address count it; None: exempt, which nobody is by what was forwarded.

    uvicorn writes who was forwarded over the peer. Only the same pair is the peer: one that is equal can be forged.
    """
    client = request.scope.get("client")
    peer = request.scope.get("extensions", {}).get(PEER, client)
    return callers.key_of(client[0] if client else None, is_forwarded=client is not peer)
