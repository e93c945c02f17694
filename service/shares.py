"""Limits per address: what each holds at the moment, and how often each asks. Used by one thread, the event loop's.

A caller is a key of ``service.caller``; None is exempt everywhere. Memory is bounded: shares are forgotten when they
are given back, and what is held is limited in all by who uses them; rates are kept for the last callers only.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import ADDRESS_SHARE, ServiceError

MAX_CALLERS = 10_000
"""Rates kept, about 2 MiB. Who is forgotten begins anew, with what a newcomer may do."""


def over_share(limit: str, detail: str, *, retry_after_seconds: int = 30) -> ServiceError:
    """Return the refusal of who has its share already; ``limit`` is the name of the setting."""
    return ServiceError(ADDRESS_SHARE, detail, headers={"Retry-After": str(retry_after_seconds)}, limit=limit)


class Shares:
    """How much of one thing each caller holds."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def held(self, caller: str | None) -> int:
        """Return what a caller holds; of who is exempt nothing is known."""
        return 0 if caller is None else self._held.get(caller, 0)

    def add(self, caller: str | None, amount: int) -> None:
        """Have a caller hold so much more, or less where it is below 0."""
        if caller is None:
            return
        held = self._held.get(caller, 0) + amount
        if held > 0:
            self._held[caller] = held
        else:
            self._held.pop(caller, None)

    @contextmanager
    def holding(self, caller: str | None, amount: int = 1) -> Iterator[None]:
        """Have a caller hold so much more until the block ends."""
        self.add(caller, amount)
        try:
            yield
        finally:
            self.add(caller, -amount)

    def __len__(self) -> int:
        return len(self._held)


class Rates:
    """How often each caller may do something: ``per_minute`` on the average, and as many at once."""

    def __init__(
        self, per_minute: float, *, max_callers: int = MAX_CALLERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_minute / 60
        self._most = per_minute
        self._max_callers = max_callers
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_left(self, caller: str | None) -> float:
        """Return in how many seconds one may be tried, 0: now. Counts nothing."""
        if caller is None or caller not in self._left:
            return 0
        left, seen = self._left[caller]
        left += (self._clock() - seen) * self._per_second
        return 0 if left >= 1 else (1 - left) / self._per_second

    def seconds_until_next(self, caller: str | None) -> float:
        """Count one, and return 0; or count nothing, and return in how many seconds it may be tried again."""
        if caller is None:
            return 0
        now = self._clock()
        left, seen = self._left.pop(caller, (self._most, now))
        left = min(self._most, left + (now - seen) * self._per_second)
        is_allowed = left >= 1
        self._left[caller] = (left - is_allowed, now)
        if len(self._left) > self._max_callers:
            self._left.popitem(last=False)
        return 0 if is_allowed else (1 - left) / self._per_second

    def __len__(self) -> int:
        return len(self._left)
