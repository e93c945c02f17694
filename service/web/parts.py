"""What the routes work with, made by ``wiring`` and reached through ``parts_of``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection
from starlette.requests import HTTPConnection

from service.audit import AuditQueue
from service.caller import Callers
from service.intake.admission import Admission
from service.intake.desk import Desk
from service.intake.upload import Intake
from service.machine.lookout import Lookout
from service.machine.soundness import Sounding
from service.settings import Settings
from service.shares import Rates
from service.web.connection.peer import caller_of
from service.web.following.broadcaster import Broadcaster
from service.web.following.status_board import StatusBoard
from service.web.following.waiting import ChangeWatch
from service.web.keys import Keys
from service.web.metrics import HttpMetrics
from service.web.sending.download_limits import DownloadLimit
from service.web.sending.recent_conversions import RecentConversions
from storage.database import Database
from storage.files.file_store import FileStore
from storage.group_writer import GroupWriter

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """The concrete parts of one running service."""

    settings: Settings
    callers: Callers
    database: Database
    writer: GroupWriter
    store: FileStore
    lookout: Lookout
    intake: Intake
    audit: AuditQueue
    query_rates: Rates
    """Of requests that are audited and change nothing."""
    board: StatusBoard
    watch: ChangeWatch
    events: Broadcaster
    downloads: DownloadLimit
    conversions: DownloadLimit
    recent: RecentConversions
    keys: Keys
    metrics: HttpMetrics
    list_limiter: CapacityLimiter
    """Threads for lists: a few, so that they cannot starve anything."""
    file_limiter: CapacityLimiter
    """Threads for opening stored files: none of those that write what arrives."""
    health_limiter: CapacityLimiter
    """One thread for health, which may have to wait for a disk."""
    soundings: Mapping[str, Sounding]
    """What is found out by writing, by the name of its check."""

    def caller_of(self, request: HTTPConnection) -> str | None:
        """Return who asks, as limits per address count it; None: exempt."""
        return caller_of(self.callers, request)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Return what ``query`` reads, in one of a few threads of its own."""

        def run() -> T:
            with self.database.read() as connection:
                return query(connection)

        return await to_thread.run_sync(run, limiter=self.list_limiter)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function that blocks on stored files returns, in a thread for those."""
        return await to_thread.run_sync(function, *arguments, limiter=self.file_limiter)

    @property
    def admission(self) -> Admission:
        """Who lets uploads in."""
        return self.intake.admission

    @property
    def desk(self) -> Desk:
        """Where clients' changes are made."""
        return self.intake.desk


def parts_of(connection: HTTPConnection) -> Parts:
    """Return the parts of the application that answers this request."""
    parts: Parts = connection.app.state.parts
    return parts
