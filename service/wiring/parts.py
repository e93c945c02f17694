"""What the routes work with."""

from __future__ import annotations

import os
from functools import partial

from anyio import CapacityLimiter

from service.audit import AuditQueue
from service.caller import Callers, read_trusted
from service.intake.admission import Admission, Limits
from service.intake.arrivals import Arrivals
from service.intake.desk import Desk, RetryLimits
from service.intake.dispatch import Dispatcher
from service.intake.queue_shares import QueueLimits
from service.intake.sink import Sink
from service.intake.upload import Intake
from service.machine.lookout import Lookout
from service.machine.open_files import open_file_limit
from service.machine.soundness import Sounding, trouble_with_database, trouble_with_files
from service.settings import Settings
from service.shares import Rates
from service.start.kept_secrets import admin_token, manage_secret
from service.start.places import files_folder
from service.web.connection.connections import ConnectionLimits, Connections
from service.web.following.broadcaster import Broadcaster
from service.web.following.status_board import StatusBoard
from service.web.following.waiting import ChangeWatch
from service.web.guesses import Guesses
from service.web.keys import Keys
from service.web.metrics import HttpMetrics
from service.web.parts import Parts
from service.web.sending.download_limits import CONVERSIONS, DOWNLOADS, DownloadLimit
from service.web.sending.recent_conversions import RecentConversions
from storage.database import Database
from storage.errors import StorageError
from storage.files.local_files import LocalFiles
from storage.group_writer import GroupWriter
from storage.jobs.job_views import Backlog, backlog
from storage.jobs.status_reads import PlainStatusReads
from storage.trouble import Trouble

LIST_THREADS = 4
FILE_THREADS = 16


def callers() -> Callers:
    """Return what tells callers apart; which proxies are believed is said in uvicorn's own variable."""
    return Callers(read_trusted(os.environ.get("FORWARDED_ALLOW_IPS", "")))


def make_parts(
    settings: Settings,
    database: Database,
    store: LocalFiles,
    writer: GroupWriter,
    dispatcher: Dispatcher,
    lookout: Lookout,
) -> Parts:
    """Return the parts of an HTTP service."""
    board = StatusBoard(PlainStatusReads(database), settings.public_url, scans=bool(settings.scan_command))
    limits = Limits(
        settings.max_upload_bytes,
        settings.max_queued_jobs,
        settings.min_free_bytes,
        settings.max_reserved_percent_per_address,
        QueueLimits(settings.max_queued_jobs_per_address, settings.max_queued_bytes_per_address),
    )

    def read_backlog() -> Backlog:
        with database.read() as connection:
            return backlog(connection)

    sink = Sink(store)
    admission = Admission(
        limits,
        free_bytes=lambda: store.space().free_bytes,
        backlog=read_backlog,
        make_room=partial(_make_room, store, sink),
        spare_bytes=partial(_spare_bytes, store),
    )
    retries = RetryLimits(settings.max_attempts, settings.max_retries)
    secret = manage_secret(settings)
    watch = ChangeWatch(
        board, max_waiting=settings.max_waiting_requests, max_per_address=settings.max_waiting_requests_per_address
    )
    events = Broadcaster(
        board,
        watch,
        max_streams=min(settings.max_event_streams, open_file_limit() // 2),
        max_per_address=settings.max_event_streams_per_address,
    )
    metrics = HttpMetrics(database, store)
    who, audit = callers(), AuditQueue(writer.run)
    guesses = Guesses(who, audit.record, metrics.met)
    metrics.event_streams.set_function(lambda: events.open_streams)
    return Parts(
        settings=settings,
        callers=who,
        database=database,
        writer=writer,
        store=store,
        lookout=lookout,
        intake=Intake(admission, Arrivals(), sink, Desk(writer, sink, dispatcher, admission, retries)),
        audit=audit,
        query_rates=Rates(settings.max_queries_per_minute_per_address),
        board=board,
        watch=watch,
        events=events,
        downloads=DownloadLimit(
            DOWNLOADS, in_all=settings.max_downloads, per_address=settings.max_downloads_per_address
        ),
        conversions=DownloadLimit(
            CONVERSIONS, in_all=settings.max_conversions, per_address=settings.max_conversions_per_address
        ),
        recent=RecentConversions(),
        keys=Keys(admin_token=admin_token(settings), secret=secret, guesses=guesses),
        metrics=metrics,
        list_limiter=CapacityLimiter(LIST_THREADS),
        file_limiter=CapacityLimiter(FILE_THREADS),
        health_limiter=CapacityLimiter(1),
        soundings={
            "files": Sounding(partial(_trouble_with_room, store, settings)),
            "database": Sounding(partial(trouble_with_database, database)),
        },
    )


def _trouble_with_room(store: LocalFiles, settings: Settings) -> Trouble | None:
    found = trouble_with_files(files_folder(settings))
    is_short = store.space().free_bytes < settings.min_free_bytes
    return found or (Trouble.ROOM if is_short else None)


def make_connections(settings: Settings, parts: Parts) -> Connections:
    """Return the count of connections; files and the database need the rest of what may be open."""
    most = open_file_limit() * 3 // 4
    total = min(settings.max_connections or most, most)
    limits = ConnectionLimits(total, settings.max_connections_per_address)
    connections = Connections(limits, parts.callers, lambda limit: parts.metrics.limits_met.labels(limit).inc())
    parts.metrics.connections.set_function(lambda: connections.open)
    return connections


def _spare_bytes(store: LocalFiles) -> int:
    """Return how much room would come free without what was set aside."""
    try:
        return sum(file.size_bytes for file in store.quarantine.files())
    except StorageError:
        return 0


def _make_room(store: LocalFiles, sink: Sink, size_bytes: int) -> int:
    """Begin to give up what was set aside, if that makes so much room; return how much it makes."""
    if _spare_bytes(store) < size_bytes:
        return 0
    sink.call(store.quarantine.make_room, size_bytes)
    return size_bytes
