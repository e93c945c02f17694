"""What owners do to their jobs: cancel, run again, delete, let expire; in every status, and with the right key only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.asking import Answer, ask, ended, job_at, running, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import text

SLOW = text(24_000_000)
"""Takes xz at its best level many seconds."""
SLOW_OPTIONS = "format=xz&level=small"
HARD = b"".join(text(100_000, seed) for seed in range(240))
"""Repeats nothing, so that every format takes its time for it at its best level."""


def act(service: ServiceProcess, job: dict[str, Any], action: str) -> Answer:
    """Cancel, retry or delete a job as its owner."""
    key = f"Bearer {job['manage_key']}"
    if action == "delete":
        return ask(f"{service.url}/jobs/{job['id']}", "DELETE", Authorization=key)
    return ask(f"{service.url}/jobs/{job['id']}/{action}", "POST", Authorization=key)


def results_of(service: ServiceProcess, job: dict[str, Any]) -> set[str]:
    """Return the files that attempts at a job have stored, or are storing."""
    return {name for name in service.stored() if name.startswith(f"r-{job['id']}")}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without a worker: its jobs stay queued."""
    process = ServiceProcess(tmp_path_factory.mktemp("idle"), embedded_worker="false")
    try:
        yield process.start()
    finally:
        process.kill()


def test_a_queued_job_is_cancelled_at_once(idle: ServiceProcess) -> None:
    job = upload(idle.url, b"waiting")

    answer = act(idle, job, "cancel")

    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert answer.json["expires_at"] is not None
    assert ask(f"{idle.url}/jobs/{job['id']}/original").body == b"waiting"
    assert act(idle, job, "cancel").status == 200, "cancelling again changes nothing"


@pytest.mark.parametrize("target", ["xz", "zstd"])
def test_a_running_job_stops_within_a_second_and_leaves_no_output(service: ServiceProcess, target: str) -> None:
    job = upload(service.url, HARD, options=f"format={target}&level=small")
    running(service.url, job["id"])
    until(lambda: results_of(service, job), what="its output")
    began = time.monotonic()

    answer = act(service, job, "cancel")
    assert (answer.status, answer.json["cancel_requested"]) == (202, True)
    status = ended(service.url, job["id"])["status"]
    until(lambda: not results_of(service, job), seconds=1, what="the partial output gone")

    assert time.monotonic() - began < 1
    assert status == "cancelled"


def test_a_cancelled_job_runs_again_when_it_is_told_to(service: ServiceProcess) -> None:
    job = upload(service.url, SLOW, options=SLOW_OPTIONS)
    running(service.url, job["id"])
    act(service, job, "cancel")
    assert ended(service.url, job["id"])["status"] == "cancelled"

    answer = act(service, job, "retry")

    assert (answer.status, answer.json["status"], answer.json["error"]) == (202, "queued", None)
    running(service.url, job["id"])
    assert act(service, job, "delete").status == 204


def test_only_what_has_failed_or_was_cancelled_runs_again(service: ServiceProcess) -> None:
    job = upload(service.url, b"fine")
    succeeded(service.url, job["id"])

    assert [(answer := act(service, job, action)).json["code"] for action in ("retry", "cancel")] == [
        "not_retryable",
        "not_cancellable",
    ]
    assert answer.json["job_status"] == "succeeded"


@pytest.mark.parametrize("status", ["running", "succeeded", "cancelled"])
def test_a_job_is_deleted_whatever_its_status(service: ServiceProcess, status: str) -> None:
    slow = status != "succeeded"
    job = upload(service.url, SLOW if slow else b"quick", options=SLOW_OPTIONS if slow else "")
    (running if slow else succeeded)(service.url, job["id"])
    if status == "cancelled":
        act(service, job, "cancel")
        ended(service.url, job["id"])
    keys = {
        row["key"] for row in service.rows("SELECT key FROM sources JOIN jobs ON job_seq = seq WHERE id = ?", job["id"])
    }

    assert act(service, job, "delete").status == 204

    assert ask(f"{service.url}/jobs/{job['id']}").status == 404
    until(lambda: not results_of(service, job) | (keys & service.stored()), what="its files gone")
    assert act(service, job, "delete").status == 404


def test_a_queued_job_is_deleted_with_its_file(idle: ServiceProcess) -> None:
    before = idle.stored()
    job = upload(idle.url, b"waiting")

    assert act(idle, job, "delete").status == 204

    assert idle.stored() == before
    assert ask(f"{idle.url}/jobs/{job['id']}/original").status == 404


def test_an_expired_job_says_so_and_holds_nothing(start_service: StartService) -> None:
    service = start_service(sweep_seconds=0.2)
    job = upload(service.url, text(100_000), options="expires=1s")
    url = f"{service.url}/jobs/{job['id']}"
    ended(service.url, job["id"])

    until(lambda: ask(url).status == 410, seconds=5, what="expiry")

    for target in ("", "/result", "/original"):
        assert (answer := ask(url + target)).status == 410
        assert answer.json["code"] == "job_expired"
    until(lambda: not service.stored(), what="an empty store")
    assert ask(f"{service.url}/jobs?ids={job['id']}").json == {"jobs": [], "missing": [job["id"]]}
    assert act(service, job, "delete").status == 204
    assert ask(url).status == 404


def test_a_pruned_job_was_never_there(start_service: StartService) -> None:
    service = start_service(sweep_seconds=0.2, grave_seconds=0)
    job = upload(service.url, b"short-lived", options="expires=1s")
    ended(service.url, job["id"])

    until(lambda: ask(f"{service.url}/jobs/{job['id']}").status == 404, seconds=10, what="pruning")

    until(service.holds_nothing, what="an empty store and table")


def test_a_job_that_still_waits_does_not_expire(idle: ServiceProcess) -> None:
    job = upload(idle.url, b"waiting", options="expires=1s")

    time.sleep(1.5)

    assert job_at(idle.url, job["id"])["status"] == "queued"
