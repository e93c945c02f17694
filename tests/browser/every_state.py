"""A service that holds a job in every state a page can show, for as long as it is looked at."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.acceptance.asking import ask, ended, job_at, upload
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import noise, text

LONG_NAME = f"{'a_very_long_name_without_a_place_to_break' * 5}.log"

STATES = ("queued", "running", "succeeded", "kept", "failed", "cancelled")
NAMES = {state: f"{state}.log" for state in STATES} | {"running": LONG_NAME}
ON_THE_WAY = ("uploading.bin", "countdown.bin", "refused.bin", "stopped.bin", "waiting.bin")
NOWHERE = f"/jobs/{'a' * 26}"


@dataclass(frozen=True)
class EveryState:
    """The service, and the receipts of its jobs by state, newest first; ``kept`` is the one kept as it came."""

    service: ServiceProcess
    jobs: dict[str, dict[str, Any]]

    @property
    def memory(self) -> dict[str, Any]:
        """What a browser that uploaded all of them remembers, as Playwright's ``storage_state``."""
        kept = [{"id": job["id"], "name": job["name"], "key": job["manage_key"]} for job in self.jobs.values()]
        local = [{"name": "vacpack.jobs", "value": json.dumps(kept)}]
        return {"cookies": [], "origins": [{"origin": self.service.url, "localStorage": local}]}

    def page_of(self, state: str) -> str:
        """Return the path of a job's page."""
        return f"/jobs/{self.jobs[state]['id']}"


@contextmanager
def every_state(
    folder: Path,
    names: dict[str, str],
    contents: dict[str, bytes] | None = None,
    *,
    least_percent: float = 0,
    **settings: object,
) -> Iterator[EveryState]:
    """Bring a job into each state, under these names; the running one is stopped when so much of it is done."""
    service = ServiceProcess(folder, embedded_worker=False, **settings)
    worker = ServiceProcess(folder / "worker", worker_jobs=1, max_attempts=1, lease_seconds=3600)
    worker.data_dir = service.data_dir
    try:
        service.start()
        files = {state: text(300_000, seed=at) for at, state in enumerate(STATES)} | {"kept": noise(300_000)}
        jobs = _jobs(service, worker, names, files | (contents or {}))
        jobs["running"] = _running(service, names["running"], least_percent)
        queued = f"{service.url}/uploads/{names['queued']}", files["queued"]
        jobs["queued"] = until(lambda: _stopped(worker, *queued), what="a stop between two writes")
        yield EveryState(service, {state: jobs[state] for state in STATES})
    finally:
        worker.kill()
        service.kill()


def _jobs(
    service: ServiceProcess, worker: ServiceProcess, names: dict[str, str], files: dict[str, bytes]
) -> dict[str, dict[str, Any]]:
    def uploaded(state: str) -> dict[str, Any]:
        return upload(service.url, files[state], names[state])

    jobs = {"cancelled": uploaded("cancelled")}
    authorization = f"Bearer {jobs['cancelled']['manage_key']}"
    assert ask(jobs_url(service, jobs["cancelled"], "cancel"), "POST", Authorization=authorization).status == 200

    before = service.stored()
    jobs["failed"] = uploaded("failed")
    for key in service.stored() - before:
        (service.data_dir / "files" / key).write_bytes(b"damaged")
    jobs["kept"] = uploaded("kept")
    jobs["succeeded"] = uploaded("succeeded")
    worker.launch("work")
    for state, status in (("failed", "failed"), ("kept", "succeeded"), ("succeeded", "succeeded")):
        assert ended(service.url, jobs[state]["id"])["status"] == status
    return jobs


def _running(service: ServiceProcess, name: str, least_percent: float) -> dict[str, Any]:
    job = upload(service.url, noise(20_000_000), name, options="format=xz&level=small")

    def is_far() -> bool:
        progress = job_at(service.url, job["id"])["progress"]
        return progress["bytes_per_second"] is not None and progress["percent"] > least_percent

    until(is_far, what="progress")
    return job


def _stopped(worker: ServiceProcess, url: str, data: bytes) -> dict[str, Any] | None:
    """Stop the worker, which holds its job as it is for the hour of its lease, and return what is uploaded then.

    None where it holds the database's lock too: it goes on, to be stopped again.
    """
    os.killpg(worker.process.pid, signal.SIGSTOP)
    answer = ask(url, "PUT", data)
    if answer.status == 202:
        job: dict[str, Any] = answer.json
        return job
    os.killpg(worker.process.pid, signal.SIGCONT)
    return None


def jobs_url(service: ServiceProcess, job: dict[str, Any], change: str) -> str:
    """Return the address that changes a job."""
    return f"{service.url}/jobs/{job['id']}/{change}"


def open_list(open_page: Callable[..., Page], states: EveryState, folder: Path, **options: Any) -> Page:
    """The upload page with a row in every state there is, those on their way to the server too."""
    page = open_page(base_url=states.service.url, storage_state=states.memory, **options)
    expect(page.locator("#rows .row")).to_have_count(len(STATES))
    page.route("**/uploads?*", hold)
    page.locator("#file").set_input_files([a_file(folder, name) for name in ON_THE_WAY])
    for name, status in (("countdown", "busy"), ("refused", "failed"), ("stopped", "uploading")):
        expect(row(page, f"{name}.bin", status)).to_be_visible()
    row(page, "stopped.bin").locator("[data-act=cancel]").click()
    for name, status in (("stopped", "stopped"), ("uploading", "uploading"), ("waiting", "uploading")):
        expect(row(page, f"{name}.bin", status)).to_be_visible()
    return page


def hold(route: Route) -> None:
    """Answer uploads by their names; those without an answer go on for as long as the test."""
    refusal = {"countdown": (503, "queue_full"), "refused": (507, "storage_full")}
    for name, (status, code) in refusal.items():
        if f"filename={name}.bin" in route.request.url:
            route.fulfill(status=status, headers={"Retry-After": "3000"}, body=json.dumps({"code": code}))


def a_file(folder: Path, name: str) -> Path:
    """Write a small file of this name and return where it is."""
    path = folder / name
    path.write_bytes(b"a line\n" * 10_000)
    return path


def row(page: Page, name: str, status: str | None = None) -> Locator:
    """Return the row of a file, in this status if one is given."""
    state = f"[data-status={status}]" if status else ""
    return page.locator(f".row{state}", has=page.get_by_text(name, exact=True))
