"""A service over a hundred thousand jobs: its start and its requests take as many steps as over a thousand."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from sqlalchemy import Connection

from service.settings import Settings
from service.start.holdings import prepare, served_alone
from service.wiring.running import Service
from service.work.life_lock import LifeLocks
from service.work.sweep import Sweeper
from storage.database import Database, sqlite_url
from tests.service.web.conftest import ADMIN_TOKEN
from tests.service.web.in_process import ADMIN, InProcess, in_process
from tests.storage.job_builder import act
from tests.storage.jobs.test_job_views import fill

FEW, MANY = 1000, 100_000
SLACK = 50
"""Steps that differ anyway: an index of more rows is a page deeper, and a commit may fall into one run or another."""
STEP_INSTRUCTIONS = 10

LEFT_BEHIND = (
    "UPDATE jobs SET lease_expires_at = 1 WHERE status = 'running'",
    "UPDATE jobs SET result_size_bytes = 1, result_name = 'n', result_format = 'zstd' WHERE status = 'succeeded'",
)


class Steps:
    """How many steps SQLite takes, on every connection opened since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self._connect = sqlite3.connect
        for module in (sqlite3, sqlite3.dbapi2):
            monkeypatch.setattr(module, "connect", self._counted)

    def _counted(self, *place: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect(*place, **options)
        connection.set_progress_handler(self._count, STEP_INSTRUCTIONS)
        return connection

    def _count(self) -> int:
        self.taken += 1
        return 0

    def of(self, action: Callable[[], object]) -> int:
        """Run it; return the steps it took."""
        before = self.taken
        action()
        return self.taken - before


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def filled(folder: Path, migrated: Path, count: int, steps: Steps) -> Settings:
    """Return settings over so many ended jobs, a few that wait, and what a killed service leaves behind."""
    folder.mkdir()
    copyfile(migrated, folder / "vacpack.db")
    settings = Settings(
        _env_file=None, data_dir=folder, admin_token=ADMIN_TOKEN, allowed_hosts="testserver", embedded_worker=False,
        min_free_bytes=0,
    )  # fmt: skip
    start(settings, steps.of)
    with closing(Database(sqlite_url(folder / "vacpack.db"))) as database:
        fill(database, count)
        act(database, leave_behind)
    return settings


def leave_behind(connection: Connection) -> None:
    for change in LEFT_BEHIND:
        connection.exec_driver_sql(change)


def start(settings: Settings, measure: Callable[[Callable[[], object]], int]) -> int:
    """Start as ``serve`` does, up to where it would serve, and end; return what was measured of the start."""
    with served_alone(settings) as data_folder:
        services: list[Service] = []

        def begin() -> None:
            prepare(settings)
            services.append(Service(settings, data_folder))
            services[0].sweep_at_start()

        taken = measure(begin)
        asyncio.run(_lived(services[0]))
    return taken


async def _lived(service: Service) -> None:
    await service.start()
    await service.stop()


def test_a_start_takes_no_more_steps_beside_a_hundred_thousand_jobs(
    steps: Steps, migrated_file: Path, tmp_path: Path
) -> None:
    taken = {}
    for count in (FEW, MANY):
        settings = filled(tmp_path / str(count), migrated_file, count, steps)
        taken[count] = start(settings, steps.of)

    assert taken[MANY] <= taken[FEW] * 1.5 + SLACK, taken
    assert scanned(tmp_path / str(MANY), steps) > 2 * (taken[FEW] * 1.5 + SLACK)


def scanned(folder: Path, steps: Steps) -> int:
    """Return what looking at every row once costs: what the tests above would see."""
    with closing(sqlite3.connect(folder / "vacpack.db")) as table:
        return steps.of(lambda: table.execute("SELECT count(*) FROM jobs WHERE bytes_done > 1").fetchall())


REQUESTS: dict[str, Callable[[InProcess], object]] = {
    "status": lambda app: ok(app, "/jobs/" + app.put()["id"]),
    "list": lambda app: ok(app, "/jobs?limit=50"),
    "failed": lambda app: ok(app, "/jobs?limit=50&status=failed"),
    "health": lambda app: app.client.get("/readyz"),
    "metrics": lambda app: ok(app, "/metrics"),
    "front": lambda app: ok(app, "/"),
    "work": lambda app: app.bench.run(),
    "sweep": lambda app: sweeper(app).rows(),
}


def sweeper(app: InProcess) -> Sweeper:
    settings = app.bench.settings
    return Sweeper(app.bench.database, app.bench.store, LifeLocks(Path(settings.locks_dir)), settings)


def ok(app: InProcess, path: str) -> None:
    answer = app.client.get(path, headers=ADMIN)
    assert answer.status_code == 200, answer.text


def test_requests_take_no_more_steps_beside_a_hundred_thousand_jobs(
    steps: Steps, migrated_file: Path, tmp_path: Path
) -> None:
    taken: dict[int, dict[str, int]] = {}
    for count in (FEW, MANY):
        with in_process(filled(tmp_path / str(count), migrated_file, count, steps)) as app:
            app.put()
            taken[count] = {name: steps.of(lambda: action(app)) for name, action in REQUESTS.items()}  # noqa: B023

    for name in REQUESTS:
        assert taken[MANY][name] <= taken[FEW][name] * 1.5 + SLACK, (name, taken)
