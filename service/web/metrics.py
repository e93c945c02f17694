"""What ``/metrics`` tells (Prometheus): counted here for HTTP, read from the database for jobs and work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import RowMapping

from service.failures import WorkerEnd
from storage.clock import observed, read_clocks, unproven
from storage.clock_table import read
from storage.database import Database
from storage.files.file_store import FileStore
from storage.jobs.job_views import backlog, overdue_leases
from storage.jobs.result_damage import damaged_results
from storage.jobs.work_totals import totals
from storage.jobs.worker_table import paused
from storage.lifecycle import DeliveryOutcome, MessageKind
from storage.messages.deliveries import delivery_counts
from storage.messages.outbox import pending
from storage.trouble import Trouble


class UploadOutcome(StrEnum):
    """What became of uploads; of one that was refused, the code of its refusal is told."""

    ACCEPTED = "accepted"
    ABANDONED = "abandoned"
    """By its client."""
    FAILED = "failed"


LIMITS_OF_JOBS = {"cpu_limit": "max_job_cpu_seconds", "memory_limit": "max_job_memory_bytes"}
"""Limits by the code of the failure of who meets them."""


class HttpMetrics:
    """Counters of one process's requests, and the registry that answers a scrape."""

    def __init__(self, database: Database, store: FileStore) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("vacpack_requests", "Requests answered.", ("method", "status"), registry=self.registry)
        self.refused = Counter(
            "vacpack_refused", "Requests refused for who sent them, by code.", ("code",), registry=self.registry
        )
        self.uploads = Counter("vacpack_uploads", "Uploads by outcome.", ("outcome",), registry=self.registry)
        self.received_bytes = Counter("vacpack_received_bytes", "Bytes of accepted uploads.", registry=self.registry)
        self.receiving = Gauge("vacpack_uploads_in_progress", "Uploads arriving now.", registry=self.registry)
        self.workers_replaced = Counter(
            "vacpack_workers_replaced", "Workers that ended without being told to.", ("reason",), registry=self.registry
        )
        # Each is told from the start, as 0.
        for reason in WorkerEnd:
            self.workers_replaced.labels(reason)
        self.connections = Gauge("vacpack_connections", "Connections open now.", registry=self.registry)
        self.event_streams = Gauge("vacpack_event_streams", "Event streams open now.", registry=self.registry)
        self.limits_met = Counter(
            "vacpack_limits_met",
            "Times a limit was met, by the name of its setting.",
            ("limit",),
            registry=None,
        )
        self.registry.register(_LimitCollector(self.limits_met, database))
        self.audit_skipped = Counter(
            "vacpack_audit_skipped",
            "Requests that changed nothing and were not audited.",
            ("reason",),
            registry=self.registry,
        )
        self.receive_seconds = Histogram(
            "vacpack_receive_seconds",
            "Time from an upload's first byte to its 202.",
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800),
            registry=self.registry,
        )
        self.registry.register(_JobCollector(database, store))

    def met(self, limit: str) -> None:
        """Count that a client met the limit of this name: the code of its refusal, where there is one."""
        self.limits_met.labels(limit).inc()

    def render(self) -> bytes:
        """Return the text a scrape is answered with. Blocks: it reads the database."""
        return generate_latest(self.registry)


class _LimitCollector(Collector):
    """Tells the limits that clients met here, and with them those that workers found met."""

    def __init__(self, met: Counter, database: Database) -> None:
        self._met = met
        self._database = database

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        [family] = self._met.collect()
        with self._database.read() as connection:
            ended, delivered = totals(connection), delivery_counts(connection)
        for code, limit in LIMITS_OF_JOBS.items():
            times = sum(row["jobs"] for row in ended if row["error_code"] == code)
            family.add_sample("vacpack_limits_met_total", {"limit": limit}, times)
        unsent = sum(row["deliveries"] for row in delivered if row["outcome"] == DeliveryOutcome.LIMITED)
        family.add_sample("vacpack_limits_met_total", {"limit": "max_messages_per_target_per_hour"}, unsent)
        yield family


class _JobCollector(Collector):
    """Reads what the rows say: true for all processes, and across restarts."""

    def __init__(self, database: Database, store: FileStore) -> None:
        self._database = database
        self._store = store

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with self._database.read() as connection:
            waiting, overdue = backlog(connection), overdue_leases(connection)
            counted = totals(connection)
            damaged = damaged_results(connection)
            messages, deliveries = pending(connection), delivery_counts(connection)
            waiting_workers = paused(connection)
            ahead = unproven(observed(read(connection), read_clocks()))
        space = self._store.space()
        set_aside = [file.size_bytes for file in self._store.quarantine.files()]
        gauges = {
            "vacpack_jobs_queued": ("Jobs that wait.", waiting.queued),
            "vacpack_jobs_running": ("Jobs that run.", waiting.running),
            "vacpack_leases_overdue": ("Running jobs whose worker has let their lease run out.", overdue),
            "vacpack_oldest_queued_seconds": ("Age of the job that has waited longest.", waiting.oldest_queued_seconds),
            "vacpack_results_damaged": ("Results that were found damaged or lost.", damaged),
            "vacpack_disk_free_bytes": ("Room left for files.", space.free_bytes),
            "vacpack_disk_total_bytes": ("Size of the disk that holds the files.", space.total_bytes),
            "vacpack_clock_step_seconds": ("How far the wall clock is ahead of proven time.", ahead / 1000),
            "vacpack_database_wal_bytes": ("Size of the write-ahead log.", self._database.wal_bytes()),
            "vacpack_reserve_bytes": ("Room kept for what makes room.", self._database.reserve.size_bytes()),
            "vacpack_quarantined_files": ("Files that no row names, kept aside.", len(set_aside)),
            "vacpack_quarantined_bytes": ("Room that they take.", sum(set_aside)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        labels = ("format", "outcome", "error_code")
        counters = {
            "jobs": CounterMetricFamily("vacpack_attempts", "Attempts that ended.", labels=labels),
            "milliseconds": CounterMetricFamily("vacpack_attempt_seconds", "Time of ended attempts.", labels=labels),
            "bytes_in": CounterMetricFamily("vacpack_source_bytes", "Bytes read by ended attempts.", labels=labels),
            "bytes_out": CounterMetricFamily("vacpack_result_bytes", "Bytes of their results.", labels=labels),
        }
        for row in counted:
            for name, family in counters.items():
                value = row[name] / 1000 if name == "milliseconds" else row[name]
                family.add_metric([row[label] for label in labels], value)
        yield from counters.values()
        yield _of_pauses(waiting_workers)
        yield from _of_messages(messages, deliveries)


def _of_pauses(waiting: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily("vacpack_workers_paused", "Workers that claim nothing.", labels=("waiting_for",))
    for trouble in Trouble:
        family.add_metric([trouble], waiting.get(trouble, 0))
    return family


def _of_messages(waiting: Mapping[str, int], deliveries: Iterable[RowMapping]) -> Iterator[Metric]:
    pending_family = GaugeMetricFamily("vacpack_messages_pending", "Messages still to be sent.", labels=("kind",))
    for kind in MessageKind:
        pending_family.add_metric([kind], waiting.get(kind, 0))
    yield pending_family
    ended = CounterMetricFamily("vacpack_deliveries", "Deliveries that ended.", labels=("kind", "outcome"))
    for row in deliveries:
        ended.add_metric([row["kind"], row["outcome"]], row["deliveries"])
    yield ended
