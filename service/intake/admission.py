"""Who may come in: the largest upload, the longest queue, and room on the disk for everything that has been let in.

Reservations add up: an upload reserves room for what is about to arrive and for the result of what has arrived, and
what queued and running jobs may still write is counted too. What was only announced holds nothing: who declares a
length and sends nothing keeps nobody out. Used by one thread, the event loop's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from service.errors import QUEUE_FULL, STORAGE_FULL, UPLOAD_TOO_LARGE, ServiceError
from service.intake.queue_shares import NO_LIMITS, QueueLimits, QueueShares
from service.shares import Shares, over_share
from storage.errors import StorageError
from storage.jobs.job_views import Backlog

REFRESH_SECONDS = 0.5
"""How old the figures of waiting jobs and free room may be; what this process added since is added to them."""
RECHECK_SECONDS = 0.05
"""How old they may be where they would have somebody refused."""
STRIDE_BYTES = 16 * 1024**2
"""Room reserved at a time, ahead of what arrives."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may come in, in bytes and jobs."""

    max_upload_bytes: int
    max_queued_jobs: int
    min_free_bytes: int
    max_reserved_percent_per_address: int = 100
    """Of the room there is, what one address's uploads may hold ahead of what has arrived."""
    per_address: QueueLimits = NO_LIMITS


class Admission:
    """Lets uploads in, and keeps count of what they may still need."""

    def __init__(
        self,
        limits: Limits,
        *,
        free_bytes: Callable[[], int],
        backlog: Callable[[], Backlog],
        make_room: Callable[[int], int] = lambda _: 0,
        spare_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        """``make_room`` begins to free so many bytes before an upload is refused, and returns how many come free.

        ``spare_bytes`` is how many it could free: what is only announced frees none.
        """
        self._spare_bytes = spare_bytes
        self._limits = limits
        self._make_room = make_room
        self._free_bytes = free_bytes
        self._read_backlog = backlog
        self._backlog = Backlog(0, 0, 0, 0.0)
        self._read_at = float("-inf")
        self._reserved_bytes = 0
        self._free = 0
        self._landed_bytes = 0
        self._arriving = 0
        self._ahead = Shares()
        self._queue_shares = QueueShares(limits.per_address)

    def admit(self, declared_bytes: int | None, caller: str | None = None) -> Reservation:
        """Let an upload in; ``declared_bytes`` is what its Content-Length says, ``caller`` a key of ``service.caller``.

        Raises:
            ServiceError: upload_too_large, queue_full, storage_full, address_share.
        """
        self._check_size(declared_bytes or 0)
        self._refresh()
        self._check_places(declared_bytes or 0, caller)
        step_bytes = STRIDE_BYTES if declared_bytes is None else min(STRIDE_BYTES, declared_bytes)
        # All of it must fit now; only the first step is kept for it, and made room for.
        self._check_fits(2 * (step_bytes if declared_bytes is None else declared_bytes))
        self._check_ahead(2 * step_bytes, caller)
        reservation = Reservation(self, declared_bytes, caller)
        reservation.grow(step_bytes)
        self._arriving += 1
        self._queue_shares.arrives(caller, 0, count=1)
        return reservation

    @contextmanager
    def again(self, size_bytes: int, caller: str | None) -> Iterator[None]:
        """Let a job of so many bytes enter the queue again, if the block ends well; ``caller`` uploaded it.

        Raises:
            ServiceError: queue_full, address_share.
        """
        self._refresh()
        self._check_places(size_bytes, caller)
        self._arriving += 1
        self._queue_shares.arrives(caller, size_bytes, count=1)
        try:
            yield
            self._hand_over(size_bytes, caller)
        finally:
            self._arriving -= 1
            self._queue_shares.arrives(caller, -size_bytes, count=-1)

    def has_room(self) -> bool:
        """Return whether the disk has more left than its reserve, as far as it can be told just now."""
        try:
            self._refresh()
        except (StorageError, DBAPIError):
            return True
        return self._free - self._landed_bytes >= self._limits.min_free_bytes

    @property
    def queued(self) -> int:
        """How many jobs wait, as far as this process knows: what it let in itself, and others a moment ago."""
        return self._backlog.queued

    @property
    def arriving(self) -> int:
        """How many uploads arrive now."""
        return self._arriving

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limits.max_upload_bytes:
            detail = f"At most {self._limits.max_upload_bytes} bytes can be uploaded in one request."
            raise ServiceError(UPLOAD_TOO_LARGE, detail, max_upload_bytes=self._limits.max_upload_bytes)

    def _check_places(self, size_bytes: int, caller: str | None) -> None:
        """Refuse where the queue or the caller's share is full, by fresh figures: jobs may have ended since."""
        try:
            self._check_queue()
            self._queue_shares.check(caller, size_bytes)
        except ServiceError:
            if not self._refresh(RECHECK_SECONDS):
                raise
            self._check_queue()
            self._queue_shares.check(caller, size_bytes)

    def _refresh(self, max_age_seconds: float = REFRESH_SECONDS) -> bool:
        """Read the figures again if they are older; return whether they were."""
        now = time.monotonic()
        is_old = now - self._read_at >= max_age_seconds
        if is_old:
            self._backlog = self._read_backlog()
            self._queue_shares.renew(self._backlog.by_caller)
            self._free, self._landed_bytes = self._free_bytes(), 0
            self._read_at = now
        return is_old

    def _check_queue(self) -> None:
        """Refuse where the queue would be too long when all that arrives has become jobs."""
        places = self._backlog.queued + self._arriving
        if places >= self._limits.max_queued_jobs:
            detail = f"{places} jobs are waiting; try again later."
            headers = {"Retry-After": "30"}
            raise ServiceError(QUEUE_FULL, detail, headers=headers, limit="max_queued_jobs")

    def _check_ahead(self, size_bytes: int, caller: str | None) -> None:
        """Refuse who holds its share already with what it has not sent; one upload may always come."""
        held_bytes = self._ahead.held(caller)
        most_bytes = self._room_bytes() * self._limits.max_reserved_percent_per_address // 100
        if held_bytes and held_bytes + size_bytes > most_bytes:
            raise over_share("max_reserved_percent_per_address", "Your other uploads hold the room there is for you.")

    def _room_bytes(self) -> int:
        """Return the room there is for uploads and their results, reserved or not."""
        return self._free - self._landed_bytes - self._backlog.source_bytes - self._limits.min_free_bytes

    def _check_fits(self, size_bytes: int) -> None:
        """Refuse what could not have room, whatever was freed for it."""
        free_bytes = self._room_bytes() - self._reserved_bytes
        if size_bytes > free_bytes and size_bytes > free_bytes + self._spare_bytes():
            raise _no_room(size_bytes)

    def _reserve(self, size_bytes: int) -> None:
        self._refresh()
        self._check_room(size_bytes)
        self._reserved_bytes += size_bytes

    def _check_room(self, size_bytes: int) -> None:
        free_bytes = self._room_bytes() - self._reserved_bytes
        if size_bytes > free_bytes:
            freed_bytes = self._make_room(size_bytes - free_bytes)
            self._free += freed_bytes
            free_bytes += freed_bytes
        if size_bytes > free_bytes:
            raise _no_room(size_bytes)

    def _land(self, size_bytes: int, *, held_bytes: int) -> None:
        self._landed_bytes += size_bytes
        self._reserved_bytes -= held_bytes

    def _hand_over(self, size_bytes: int, caller: str | None) -> None:
        before = self._backlog
        self._queue_shares.became_job(caller, size_bytes)
        self._backlog = Backlog(
            before.queued + 1, before.running, before.source_bytes + size_bytes, before.oldest_queued_seconds
        )


def _no_room(size_bytes: int) -> ServiceError:
    detail = "There is not enough room for this upload and its result; try again later, or with less."
    return ServiceError(STORAGE_FULL, detail, needed_bytes=size_bytes)


class Reservation:
    """The room one upload holds. Close it when its row is written, or when it is given up."""

    def __init__(self, admission: Admission, declared_bytes: int | None = None, caller: str | None = None) -> None:
        self._admission = admission
        self._declared_bytes = declared_bytes
        self._caller = caller
        self._covered_bytes = 0
        self._held_bytes = 0
        self._ahead_bytes = 0
        self.received_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Reserve room for so many bytes more, and for a result of the same size.

        Raises:
            ServiceError: storage_full, address_share.
        """
        self._admission._queue_shares.check_bytes(self._caller, size_bytes, own_bytes=self._covered_bytes)
        self._admission._reserve(2 * size_bytes)
        self._admission._queue_shares.arrives(self._caller, size_bytes)
        self._held_bytes += 2 * size_bytes
        self._covered_bytes += size_bytes
        self._count_ahead()

    def take(self, size_bytes: int) -> None:
        """Count bytes that have arrived; the sum of a form's files counts.

        Raises:
            ServiceError: upload_too_large, storage_full, address_share.
        """
        self.received_bytes += size_bytes
        self._admission._check_size(self.received_bytes)
        if self.received_bytes > self._covered_bytes:
            self.grow(max(self._step_bytes(), self.received_bytes - self._covered_bytes))
        # What has been received is on the disk, or about to be: it need not be reserved any more.
        freed = min(size_bytes, self._held_bytes)
        self._held_bytes -= freed
        self._admission._land(size_bytes, held_bytes=freed)
        self._count_ahead()

    def _step_bytes(self) -> int:
        """Return how much is reserved at a time: no more than may still come."""
        if self._declared_bytes is None:
            return STRIDE_BYTES
        return min(STRIDE_BYTES, self._declared_bytes - self._covered_bytes)

    def _count_ahead(self) -> None:
        """Tell what the caller holds for bytes that have not arrived."""
        ahead_bytes = 2 * max(0, self._covered_bytes - self.received_bytes)
        self._admission._ahead.add(self._caller, ahead_bytes - self._ahead_bytes)
        self._ahead_bytes = ahead_bytes

    def close(self, *, became_job: bool) -> None:
        """Give the room back; the room for the result goes over to the job."""
        self._admission._arriving -= 1
        self._admission._queue_shares.arrives(self._caller, -self._covered_bytes, count=-1)
        self._admission._reserved_bytes -= self._held_bytes
        self._held_bytes = 0
        self._admission._ahead.add(self._caller, -self._ahead_bytes)
        self._ahead_bytes = 0
        if became_job:
            self._admission._hand_over(self.received_bytes, self._caller)
