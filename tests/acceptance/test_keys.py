"""Every route that needs a key, with every key there is: none, wrong ones, another job's; in header and query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.asking import Answer, ask, upload
from tests.acceptance.service_process import ServiceProcess

MANAGED = [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")]
ADMIN = ["/jobs", "/jobs?status=queued&q=f&limit=5", "/metrics"]
OPEN = ["", "?wait=0", "/original"]
ADMIN_TOKEN = "a token of the operator's own"

REFUSED = {
    "none": "",
    "wrong": "Bearer wrong",
    "empty": "Bearer ",
    "another scheme": "Basic {key}",
    "another job's": "Bearer {other}",
    "the job's id": "Bearer {id}",
    "not ASCII": "Bearer \xe9\xe9",
}
LET_IN = {"manage key": "Bearer {key}", "lower-case scheme": "bearer {key}", "admin token": "Bearer {admin}"}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without a worker: its jobs stay queued."""
    process = ServiceProcess(tmp_path_factory.mktemp("idle"), embedded_worker="false", admin_token=ADMIN_TOKEN)
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture
def job(idle: ServiceProcess) -> dict[str, Any]:
    return upload(idle.url, b"waiting")


@pytest.fixture(scope="module")
def other(idle: ServiceProcess) -> dict[str, Any]:
    return upload(idle.url, b"another")


def with_key(url: str, method: str, key: str, job: dict[str, Any], other: dict[str, Any]) -> Answer:
    """Send a request with a key in its header."""
    said = key.format(key=job.get("manage_key"), other=other["manage_key"], id=job.get("id"), admin=ADMIN_TOKEN)
    return ask(url, method, **({"Authorization": said} if said else {}))


@pytest.mark.parametrize("key", REFUSED)
@pytest.mark.parametrize(("method", "action"), MANAGED)
def test_nobody_changes_a_job_without_its_key(
    idle: ServiceProcess, job: dict[str, Any], other: dict[str, Any], method: str, action: str, key: str
) -> None:
    answer = with_key(f"{idle.url}/jobs/{job['id']}{action}", method, REFUSED[key], job, other)

    assert (answer.status, answer.json["code"]) == (403, "key_needed")
    assert idle.statuses()[job["id"]] == "queued"


@pytest.mark.parametrize("key", LET_IN)
@pytest.mark.parametrize(("method", "action"), MANAGED)
def test_the_key_and_the_admin_token_change_a_job(
    idle: ServiceProcess, job: dict[str, Any], other: dict[str, Any], method: str, action: str, key: str
) -> None:
    answer = with_key(f"{idle.url}/jobs/{job['id']}{action}", method, LET_IN[key], job, other)

    # A queued job cannot be retried: the request was let in, and is told so.
    assert answer.status == {"/cancel": 200, "/retry": 409, "": 204}[action]


@pytest.mark.parametrize(("method", "action"), MANAGED)
def test_the_key_may_stand_in_the_query(
    idle: ServiceProcess, job: dict[str, Any], other: dict[str, Any], method: str, action: str
) -> None:
    url = f"{idle.url}/jobs/{job['id']}{action}"

    assert ask(f"{url}?key={other['manage_key']}", method).status == 403
    assert ask(f"{url}?key={job['manage_key']}", method).status == {"/cancel": 200, "/retry": 409, "": 204}[action]


@pytest.mark.parametrize("key", [*REFUSED, "manage key"])
@pytest.mark.parametrize("target", ADMIN)
def test_lists_and_metrics_are_for_the_admin(
    idle: ServiceProcess, job: dict[str, Any], other: dict[str, Any], target: str, key: str
) -> None:
    answer = with_key(f"{idle.url}{target}", "GET", (REFUSED | LET_IN)[key], job, other)

    assert (answer.status, answer.json["code"]) == (401, "admin_only")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("target", ADMIN)
def test_the_admin_token_opens_lists_and_metrics(idle: ServiceProcess, other: dict[str, Any], target: str) -> None:
    assert with_key(f"{idle.url}{target}", "GET", LET_IN["admin token"], {}, other).status == 200


@pytest.mark.parametrize("target", OPEN)
def test_the_id_alone_looks_and_downloads(idle: ServiceProcess, job: dict[str, Any], target: str) -> None:
    assert ask(f"{idle.url}/jobs/{job['id']}{target}").status == 200


@pytest.mark.parametrize(("method", "action"), [*MANAGED, ("GET", ""), ("GET", "/result"), ("GET", "/original")])
@pytest.mark.parametrize("job_id", ["a" * 26, "short", "A" * 26, "a" * 25 + "%00", "..%2F..%2Fetc", "a" * 5000])
def test_an_unknown_id_is_the_same_to_everybody(idle: ServiceProcess, method: str, action: str, job_id: str) -> None:
    url = f"{idle.url}/jobs/{job_id}{action}"

    answers = [ask(url, method), ask(url, method, Authorization=f"Bearer {ADMIN_TOKEN}")]

    assert {answer.status for answer in answers} == {404}
    assert answers[0].body == answers[1].body


def test_no_key_is_stored_or_logged(idle: ServiceProcess, job: dict[str, Any]) -> None:
    ask(f"{idle.url}/jobs/{job['id']}/cancel?key={job['manage_key']}", "POST")

    stored = b"".join(path.read_bytes() for path in idle.data_dir.glob("vacpack.db*"))
    assert job["manage_key"].encode() not in stored
    assert job["manage_key"] not in idle.log()
    assert ADMIN_TOKEN not in idle.log()


def test_the_key_is_told_once_only(idle: ServiceProcess, job: dict[str, Any]) -> None:
    assert "manage_key" not in ask(f"{idle.url}/jobs/{job['id']}").json
    assert job["manage_key"].encode() not in ask(f"{idle.url}/jobs/{job['id']}", Accept="text/html").body


def test_the_admin_token_is_made_once_for_its_owner_only(service: ServiceProcess) -> None:
    token = service.data_dir / "admin-token"

    assert token.stat().st_mode & 0o777 == 0o600
    assert service.data_dir.stat().st_mode & 0o777 == 0o700
    assert len(service.admin_token()) == 48
    assert ask(f"{service.url}/jobs", Authorization=f"Bearer {service.admin_token()}").status == 200
