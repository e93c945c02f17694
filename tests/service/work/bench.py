"""A bench to work at: a real database, a real folder of files, jobs with real sources, and waiting with conditions."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_hexdigest

from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS
from service.work.attempt import Attempt
from service.work.processor import Processor, RetryPauses
from service.work.result_maker import Tools
from service.work.work_settings import WorkSettings
from storage.database import Database
from storage.files.file_store import FileStore
from storage.files.local_files import LocalFiles
from storage.ids import Key, new_source_key
from storage.jobs import job_table
from tests.service.payloads import text
from tests.storage import job_builder
from tests.storage.job_builder import Row, act, new_source, row_of

PATIENCE_SECONDS = 90.0
WORKER = "w" * 26
SOURCE_FIELDS = ("key", "sha256", "media_type", "size_bytes", "checksum")


def gated(gate: Path) -> bytes:
    """Return a file that ``misbehaving_child`` works on until ``gate`` exists."""
    return b"GATE %s\n" % str(gate).encode() + text(100_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def until(condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until the condition holds; return how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


@dataclass(frozen=True)
class Bench:
    """What a test works with."""

    database: Database
    store: LocalFiles
    settings: WorkSettings

    @property
    def files_dir(self) -> Path:
        return Path(self.settings.files_dir)

    def with_settings(self, **changes: Any) -> Bench:
        return replace(self, settings=replace(self.settings, **changes))

    def keep(self, content: bytes) -> Key:
        """Store a source."""
        part = self.store.create(new_source_key())
        part.write([content])
        part.commit()
        return part.key

    def submit(self, *contents: bytes, names: tuple[str, ...] = ("a.log",), **changes: Any) -> str:
        """Queue a job of these files, fast unless said otherwise; return its id. ``changes`` are to sources or job."""
        of_source = {name: changes.pop(name) for name in SOURCE_FIELDS if name in changes}
        sources = []
        for content, name in zip(contents, names, strict=True):
            checksum = xxh3_64_hexdigest(content)
            fields: Row = {"key": self.keep(content), "name": name, "size_bytes": len(content), "checksum": checksum}
            sources.append(new_source(**fields | of_source))
        return job_builder.submit(self.database, **{"level": "fast", "sources": tuple(sources), **changes})

    def claim(self) -> tuple[Any, Attempt]:
        """Claim what is next."""
        job = job_builder.claim(self.database, WORKER)
        assert job is not None
        return job, Attempt(job.size_bytes)

    def processor(self, store: FileStore | None = None, **tools: Any) -> Processor:
        """Return a processor without pauses between attempts."""
        table: Row = {"store": store or self.store, "codecs": CODECS, "archives": ARCHIVES} | tools
        return Processor(self.database, Tools(**table), RetryPauses(0, 0))

    def run(self, store: FileStore | None = None, **tools: Any) -> Row:
        """Claim what is next, process it here and now, and return its row."""
        job, attempt = self.claim()
        self.processor(store, **tools).process(job, attempt)
        return self.row(job.id)

    def row(self, job_id: str) -> Row:
        return row_of(self.database, job_id)

    def status(self, job_id: str) -> str:
        status: str = self.row(job_id)["status"]
        return status

    def is_ended(self, job_id: str) -> bool:
        return self.status(job_id) not in ("queued", "running")

    def cancel(self, job_id: str) -> None:
        act(self.database, lambda connection: job_table.cancel(connection, job_id))

    def stored(self, key: str) -> bytes:
        with self.store.open(Key(key)) as file:
            return file.read()

    def stored_keys(self) -> set[str]:
        """Return the keys of all stored files."""
        return {file.key for file in self.store.files()}

    def parts(self) -> list[Path]:
        """Return the files that are being written."""
        return list(self.files_dir.glob("*.part"))
