"""Who may come in: the largest upload, the longest queue, and room on the disk for everything that has been let in.

Reservations add up: an upload reserves room for itself and for its result, and what queued and running jobs may still
write is counted too. Used by one thread, the event loop's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import QUEUE_FULL, STORAGE_FULL, UPLOAD_TOO_LARGE, ServiceError
from storage.job_views import Backlog

REFRESH_SECONDS = 0.5
"""How old the figures of waiting jobs and free room may be; what this process added since is added to them."""
STRIDE_BYTES = 64 * 1024**2
"""Room reserved at a time for an upload that did not say how long it is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may come in, in bytes and jobs."""

    max_upload_bytes: int
    max_queued_jobs: int
    min_free_bytes: int


class Admission:
    """Lets uploads in, and keeps count of what they may still need."""

    def __init__(
        self,
        limits: Limits,
        *,
        free_bytes: Callable[[], int],
        backlog: Callable[[], Backlog],
        make_room: Callable[[int], int] = lambda _: 0,
    ) -> None:
        """``make_room`` begins to free so many bytes before an upload is refused, and returns how many come free."""
        self._limits = limits
        self._make_room = make_room
        self._free_bytes = free_bytes
        self._read_backlog = backlog
        self._backlog = Backlog(0, 0, 0, 0.0)
        self._read_at = float("-inf")
        self._reserved_bytes = 0
        self._free = 0
        self._landed_bytes = 0

    def admit(self, declared_bytes: int | None) -> Reservation:
        """Let an upload in; ``declared_bytes`` is what its Content-Length says.

        Raises:
            ServiceError: upload_too_large, queue_full, storage_full.
        """
        self._check_size(declared_bytes or 0)
        self._refresh()
        if self._backlog.queued >= self._limits.max_queued_jobs:
            detail = f"{self._backlog.queued} jobs are waiting; try again later."
            raise ServiceError(QUEUE_FULL, detail, headers={"Retry-After": "30"})
        reservation = Reservation(self)
        reservation.grow(STRIDE_BYTES if declared_bytes is None else declared_bytes)
        return reservation

    @property
    def queued(self) -> int:
        """How many jobs wait, as far as this process knows: what it let in itself, and others a moment ago."""
        return self._backlog.queued

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limits.max_upload_bytes:
            detail = f"At most {self._limits.max_upload_bytes} bytes can be uploaded in one request."
            raise ServiceError(UPLOAD_TOO_LARGE, detail, max_upload_bytes=self._limits.max_upload_bytes)

    def _refresh(self) -> None:
        if (now := time.monotonic()) - self._read_at >= REFRESH_SECONDS:
            self._backlog = self._read_backlog()
            self._free, self._landed_bytes = self._free_bytes(), 0
            self._read_at = now

    def _reserve(self, size_bytes: int) -> None:
        self._refresh()
        spoken_for = self._reserved_bytes + self._backlog.source_bytes + self._limits.min_free_bytes
        free_bytes = self._free - self._landed_bytes - spoken_for
        if size_bytes > free_bytes:
            freed_bytes = self._make_room(size_bytes - free_bytes)
            self._free += freed_bytes
            free_bytes += freed_bytes
        if size_bytes > free_bytes:
            detail = "There is not enough room for this upload and its result; try again later, or with less."
            raise ServiceError(STORAGE_FULL, detail, needed_bytes=size_bytes, available_bytes=max(0, free_bytes))
        self._reserved_bytes += size_bytes

    def _land(self, size_bytes: int, *, held_bytes: int) -> None:
        self._landed_bytes += size_bytes
        self._reserved_bytes -= held_bytes

    def _hand_over(self, size_bytes: int) -> None:
        before = self._backlog
        self._backlog = Backlog(
            before.queued + 1, before.running, before.source_bytes + size_bytes, before.oldest_queued_seconds
        )


class Reservation:
    """The room one upload holds. Close it when its row is written, or when it is given up."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._covered_bytes = 0
        self._held_bytes = 0
        self.received_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Reserve room for so many bytes more, and for a result of the same size.

        Raises:
            ServiceError: storage_full.
        """
        self._admission._reserve(2 * size_bytes)
        self._held_bytes += 2 * size_bytes
        self._covered_bytes += size_bytes

    def take(self, size_bytes: int) -> None:
        """Count bytes that have arrived; the sum of a form's files counts.

        Raises:
            ServiceError: upload_too_large, storage_full.
        """
        self.received_bytes += size_bytes
        self._admission._check_size(self.received_bytes)
        if self.received_bytes > self._covered_bytes:
            self.grow(max(STRIDE_BYTES, self.received_bytes - self._covered_bytes))
        # What has been received is on the disk, or about to be: it need not be reserved any more.
        freed = min(size_bytes, self._held_bytes)
        self._held_bytes -= freed
        self._admission._land(size_bytes, held_bytes=freed)

    def close(self, *, became_job: bool) -> None:
        """Give the room back; the room for the result goes over to the job."""
        self._admission._reserved_bytes -= self._held_bytes
        self._held_bytes = 0
        if became_job:
            self._admission._hand_over(self.received_bytes)
