"""Reading statuses as they are committed now: what polling asks of the database, and whether it need ask again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from storage.database import PROVEN_OFFSET_SQL, Database
from storage.jobs.job_views import (
    FRONT_SQL,
    LAST_POSITION,
    STATUS_COLUMNS,
    STATUS_SQL,
    VERSION_SQL,
    VERSIONS_SQL,
    WAITING_SQL,
)
from storage.plain_reader import PlainReader


class JobVersion(NamedTuple):
    """At which version a job is."""

    job_id: str
    version: int
    is_queued: bool


class StatusReads(Protocol):
    """The reads of one thread. All raise DBAPIError where the database cannot be read."""

    def version(self) -> int:
        """Return a number that changes with every commit of others: what was read before it changed is still true."""

    def proven_offset(self) -> int:
        """Return what added to the boot clock's milliseconds is the time that has certainly come."""

    def row(self, job_id: str) -> dict[str, Any] | None:
        """Return a job's row with its place in the queue, None if there is none."""

    def version_of(self, job_id: str) -> int | None:
        """Return the version of a job's row: a fifth of the cost of all of it."""

    def versions(self, job_ids: Iterable[str]) -> list[JobVersion]:
        """Return the versions of these jobs in one read; those gone are left out."""

    def front(self) -> list[str]:
        """Return the ids of the jobs that are next, in order, as far as places are counted."""

    def waiting_for(self) -> str | None:
        """Return the trouble that all workers wait for the end of, if they do."""

    def close(self) -> None:
        """Read no more."""


class PlainStatusReads:
    """``StatusReads`` on a plain connection to SQLite."""

    def __init__(self, database: Database) -> None:
        self._reader = PlainReader(database)
        self.version = self._reader.version
        self.close = self._reader.close

    def proven_offset(self) -> int:
        """As ``StatusReads``."""
        found = self._reader.one(PROVEN_OFFSET_SQL)
        assert found is not None
        offset: int = found[0]
        return offset

    def row(self, job_id: str) -> dict[str, Any] | None:
        """As ``StatusReads``."""
        values = self._reader.one(STATUS_SQL, (job_id,))
        return None if values is None else dict(zip(STATUS_COLUMNS, values, strict=True))

    def version_of(self, job_id: str) -> int | None:
        """As ``StatusReads``."""
        found = self._reader.one(VERSION_SQL, (job_id,))
        return None if found is None else found[0]

    def versions(self, job_ids: Iterable[str]) -> list[JobVersion]:
        """As ``StatusReads``."""
        found = self._reader.all(VERSIONS_SQL, (json.dumps(list(job_ids)),))
        return [JobVersion(job_id, version, bool(is_queued)) for job_id, version, is_queued in found]

    def front(self) -> list[str]:
        """As ``StatusReads``."""
        return [job_id for (job_id,) in self._reader.all(FRONT_SQL, (LAST_POSITION - 1,))]

    def waiting_for(self) -> str | None:
        """As ``StatusReads``."""
        found = self._reader.one(WAITING_SQL)
        return None if found is None else found[0]
