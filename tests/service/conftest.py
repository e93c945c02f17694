"""A bench of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.work.work_settings import WorkSettings
from storage.database import Database
from storage.files.file_owner import FileOwner
from storage.files.local_files import LocalFiles
from tests.service.work.bench import Bench


@pytest.fixture
def settings(tmp_path: Path, database_path: Path) -> WorkSettings:
    return WorkSettings(
        database_url=f"sqlite:///{database_path}",
        files_dir=str(tmp_path / "files"),
        locks_dir=str(tmp_path / "locks"),
        worker_jobs=2,
        worker_niceness=0,
        lease_milliseconds=20_000,
        heartbeat_seconds=0.1,
        poll_seconds=1.0,
        sweep_seconds=1.0,
        orphan_grace_seconds=3600,
        grave_milliseconds=1000,
        audit_retention_milliseconds=3_600_000,
        max_worker_losses=2,
        retry_pause_seconds=0.05,
        retry_pause_max_seconds=1.0,
        shutdown_grace_seconds=4.0,
        log_format="text",
        log_level="warning",
    )


@pytest.fixture
def bench(database: Database, settings: WorkSettings) -> Iterator[Bench]:
    folder = Path(settings.files_dir)
    with closing(FileOwner(database, folder)) as owner:
        yield Bench(database, LocalFiles(folder, check=owner.check), settings)
