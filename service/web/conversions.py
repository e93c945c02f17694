"""Downloads that cost more than their bytes: decoded or transcoded as they are sent, so many at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.errors import TOO_MANY_CONVERSIONS, ServiceError
from service.shares import Shares, over_share

RETRY_AFTER_SECONDS = 5


class Conversions:
    """Counts conversions under way, in all and of each caller. Belongs to one event loop."""

    def __init__(self, *, in_all: int, per_address: int) -> None:
        self.under_way = 0
        self._in_all = in_all
        self._per_address = per_address
        self._shares = Shares()

    def check(self, caller: str | None) -> None:
        """Refuse one more conversion where a limit is met.

        Raises:
            ServiceError: too_many_conversions, address_share.
        """
        detail = "Take the result as it is stored (without ?format=), or try again in a moment."
        if self.under_way >= self._in_all:
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise ServiceError(TOO_MANY_CONVERSIONS, detail, headers=headers, limit="max_conversions")
        if self._shares.held(caller) >= self._per_address:
            raise over_share("max_conversions_per_address", detail, retry_after_seconds=RETRY_AFTER_SECONDS)

    def response(self, body: AsyncIterator[bytes], status: int, caller: str | None) -> StreamingResponse:
        """Return the answer with this body, counted from now until it has been sent; raises as ``check``."""
        self.check(caller)
        self._count(caller, 1)
        return _Counted(body, status, lambda: self._count(caller, -1))

    def _count(self, caller: str | None, amount: int) -> None:
        self.under_way += amount
        self._shares.add(caller, amount)


class _Counted(StreamingResponse):
    """An answer that says when it is over, however it ends."""

    def __init__(self, body: AsyncIterator[bytes], status: int, on_end: Callable[[], None]) -> None:
        super().__init__(body, status)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()
