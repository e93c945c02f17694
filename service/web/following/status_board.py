"""The statuses of jobs as last read, exactly fresh: the hot path of polling.

The database is read on the event loop's thread; its version (3 µs) tells whether anybody else, of this process or
another, has committed since. While none has, answers come from memory. No ORM, no thread hop: on two
cores with 32 connections an ORM session in the thread pool reached 0.12 of a bare route's rate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.job_document import as_json, document, etag, retry_after_seconds
from storage.clock import boot_milliseconds
from storage.jobs.job_views import LAST_POSITION
from storage.jobs.status_reads import StatusReads
from storage.lifecycle import JobStatus

MAX_SNAPSHOTS = 4_000
"""Statuses kept: about 3 KiB each, those asked for last."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One job at one version."""

    row: dict[str, Any]
    etag: str
    body: bytes
    """The status document as JSON."""
    retry_after: int | None
    is_final: bool
    proven_now: Callable[[], int]

    @property
    def is_expired(self) -> bool:
        """Whether its files are gone, or about to be: the sweep may be a little behind."""
        expires_at = self.row["expires_at"]
        return bool(self.row["status"] == JobStatus.EXPIRED or (expires_at and expires_at <= self.proven_now()))


class StatusBoard:
    """Reads statuses for one event loop."""

    def __init__(self, reads: StatusReads, public_url: str, *, scans: bool = False) -> None:
        """``scans``: as for ``document``."""
        self._reads = reads
        self.data_version = reads.version
        self._public_url = public_url
        self._scans = scans
        self._snapshots: OrderedDict[str, tuple[int, Snapshot]] = OrderedDict()
        """By when they were last asked for, the latest last."""
        self._proven = (-1, 0)

    def proven_now(self) -> int:
        """Return the time that has certainly come, in milliseconds since 1970."""
        version = self.data_version()
        if version != self._proven[0]:
            self._proven = version, self._reads.proven_offset()
        return self._proven[1] + boot_milliseconds()

    def get(self, job_id: str) -> Snapshot | None:
        """Return the job's status as committed now; None if there is no such job."""
        now = self.data_version()
        read_at, snapshot = self._snapshots.pop(job_id, (now, None))
        if snapshot is None or (read_at != now and not self._is_current(snapshot)):
            snapshot = self._read(job_id)
        if snapshot is None:
            return None
        if len(self._snapshots) >= MAX_SNAPSHOTS:
            self._snapshots.popitem(last=False)
        self._snapshots[job_id] = (now, snapshot)
        return snapshot

    def etags(self, job_ids: Iterable[str]) -> dict[str, str]:
        """Return the entity tags of these jobs as committed now, in three reads for all; those gone are left out.

        A commit between them can mix old with new in one tag: ``get`` is exact, and is what to ask next.
        """
        found, waiting_for = self._reads.versions(job_ids), self._reads.waiting_for()
        places = {job_id: place for place, job_id in enumerate(self._reads.front(), 1)}
        tags = {}
        for job_id, version, is_queued in found:
            row: dict[str, Any] = {"version": version, "queue_position": None, "waiting_for": None}
            if is_queued:
                row |= {"queue_position": places.get(job_id, LAST_POSITION), "waiting_for": waiting_for}
            tags[job_id] = etag(row)
        return tags

    def _is_current(self, snapshot: Snapshot) -> bool:
        """Whether the version is still the same: a fifth of the cost of reading all of it again."""
        if snapshot.row["queue_position"] is not None:
            return False
        version: int = snapshot.row["version"]
        return self._reads.version_of(snapshot.row["id"]) == version

    def _read(self, job_id: str) -> Snapshot | None:
        row = self._reads.row(job_id)
        if row is None:
            return None
        body = as_json(document(row, self._public_url, scans=self._scans))
        is_final = JobStatus(row["status"]).is_final
        return Snapshot(row, etag(row), body, retry_after_seconds(row), is_final, self.proven_now)

    def close(self) -> None:
        """Read no more."""
        self._reads.close()
