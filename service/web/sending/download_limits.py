"""How many downloads are sent at a time, in all and to each address; and how many of those that cost more than bytes.

Each holds a file and a piece of it; one that is decoded or transcoded as it is sent, also a thread's time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.errors import TOO_MANY_CONVERSIONS, TOO_MANY_DOWNLOADS, ErrorKind, ServiceError
from service.shares import Shares, over_share

RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class DownloadKind:
    """What is limited: the names of its limits, and what a refusal says."""

    setting: str
    error: ErrorKind
    advice: str


DOWNLOADS = DownloadKind("max_downloads", TOO_MANY_DOWNLOADS, "Try again when another download has ended.")
CONVERSIONS = DownloadKind(
    "max_conversions",
    TOO_MANY_CONVERSIONS,
    "Take the result as it is stored (without ?format=), or try again in a moment.",
)


class DownloadLimit:
    """Counts downloads of one kind that are under way, in all and of each caller. Belongs to one event loop."""

    def __init__(self, kind: DownloadKind, *, in_all: int, per_address: int) -> None:
        self.under_way = 0
        self._kind = kind
        self._in_all = in_all
        self._per_address = per_address
        self._shares = Shares()

    def check(self, caller: str | None) -> None:
        """Refuse one more where a limit is met.

        Raises:
            ServiceError: the kind's, address_share.
        """
        kind = self._kind
        if self.under_way >= self._in_all:
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise ServiceError(kind.error, kind.advice, headers=headers, limit=kind.setting)
        if self._shares.held(caller) >= self._per_address:
            raise over_share(f"{kind.setting}_per_address", kind.advice, retry_after_seconds=RETRY_AFTER_SECONDS)

    def count(self, caller: str | None, amount: int) -> None:
        """Count so many more, or less where it is below 0."""
        self.under_way += amount
        self._shares.add(caller, amount)


class LimitedDownload(StreamingResponse):
    """An answer that is counted from now until it has been sent, or could not be."""

    def __init__(
        self, body: AsyncIterator[bytes], status: int, limits: tuple[DownloadLimit, ...], caller: str | None
    ) -> None:
        """Raise as ``DownloadLimit.check`` where one of the limits is met."""
        for limit in limits:
            limit.check(caller)
        super().__init__(body, status)
        for limit in limits:
            limit.count(caller, 1)
        self._limits, self._caller = limits, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for limit in self._limits:
                limit.count(self._caller, -1)
