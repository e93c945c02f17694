"""What one address may have under way: places in the queue, and bytes, from their arrival to their job's end.

Part of ``admission``: figures of the table are as old as its, and what this process let in since is added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.shares import Shares, over_share

JOBS = "max_queued_jobs_per_address"
BYTES = "max_queued_bytes_per_address"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Of one address."""

    max_jobs: int
    max_bytes: int


NO_LIMITS = QueueLimits(max_jobs=2**62, max_bytes=2**62)


class QueueShares:
    """Counts what callers have under way."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._arriving_jobs, self._arriving_bytes = Shares(), Shares()
        self._jobs, self._bytes = Shares(), Shares()

    def renew(self, by_caller: Mapping[str, tuple[int, int]]) -> None:
        """Take what the table says, jobs and bytes of each caller, in place of what it said before."""
        self._jobs, self._bytes = Shares(), Shares()
        for caller, (count, size_bytes) in by_caller.items():
            self.became_job(caller, size_bytes, count=count)

    def check(self, caller: str | None, size_bytes: int) -> None:
        """Refuse an upload more of so many bytes where the caller has its share.

        Raises:
            ServiceError: address_share.
        """
        if self._arriving_jobs.held(caller) + self._jobs.held(caller) >= self._limits.max_jobs:
            detail = f"{self._limits.max_jobs} uploads of your address arrive, wait or run already."
            raise over_share(JOBS, detail)
        self.check_bytes(caller, size_bytes)

    def check_bytes(self, caller: str | None, size_bytes: int, *, own_bytes: int = 0) -> None:
        """Refuse bytes more of an upload that has ``own_bytes``, unless its caller has nothing else under way.

        Raises:
            ServiceError: address_share.
        """
        held_bytes = self._arriving_bytes.held(caller) + self._bytes.held(caller)
        if held_bytes > own_bytes and held_bytes + size_bytes > self._limits.max_bytes:
            detail = f"{held_bytes} bytes of your address arrive, wait or run already."
            raise over_share(BYTES, detail)

    def arrives(self, caller: str | None, size_bytes: int, *, count: int = 0) -> None:
        """Count an upload, or bytes of it, that arrive; below 0: that do not any more."""
        self._arriving_jobs.add(caller, count)
        self._arriving_bytes.add(caller, size_bytes)

    def became_job(self, caller: str | None, size_bytes: int, *, count: int = 1) -> None:
        """Count what has become a job."""
        self._jobs.add(caller, count)
        self._bytes.add(caller, size_bytes)
