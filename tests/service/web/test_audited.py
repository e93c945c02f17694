"""Every request for an audited action leaves one event, whatever its answer; and ``GET /audit`` tells them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.web import jobs as jobs_routes
from service.web.audited import audited
from service.work.life_lock import LifeLocks
from service.work.sweep import Sweeper
from storage.audit_table import Action
from storage.errors import StorageFailed
from storage.files.local_files import LocalFiles
from storage.lifecycle import MessageKind
from storage.messages.outbox import Subscriber, subscribe
from tests.service.web.in_process import ADMIN, InProcess, events, from_address, key_of
from tests.storage.job_builder import act, change_row, everything, row_of

UNKNOWN = "z" * 26
WRONG = {"Authorization": "Bearer wrong"}

Start = Callable[..., InProcess]


def told(app: InProcess) -> list[tuple[str, str, int | None]]:
    return [(event["action"], event["actor"], event["status"]) for event in events(app)]


def details(app: InProcess) -> Any:
    """Return the details of the last event."""
    return json.loads(events(app)[-1]["details"])


def test_the_life_of_a_job_is_told_by_who_changed_it(app: InProcess) -> None:
    job = app.put()
    app.client.post(f"/jobs/{job['id']}/cancel", headers=key_of(job))
    app.client.post(f"/jobs/{job['id']}/retry", headers=ADMIN)
    app.client.delete(f"/jobs/{job['id']}", params={"key": job["manage_key"]})

    assert told(app) == [
        ("job.submitted", "anonymous", 202),
        ("job.cancelled", "manage_key", 200),
        ("job.retried", "admin", 202),
        ("job.deleted", "manage_key", 204),
    ]
    assert {event["job_id"] for event in events(app)} == {job["id"]}


def test_an_event_names_the_request_and_where_it_came_from(app: InProcess) -> None:
    answer = app.client.get("/jobs", headers=ADMIN | {"X-Request-Id": "my-request"})

    [event] = events(app)
    assert answer.headers["x-request-id"] == "my-request"
    assert (event["request_id"], event["client"], event["job_id"]) == ("my-request", "127.0.0.1", None)


def test_lists_and_searches_are_told_apart_with_what_was_asked_for(app: InProcess) -> None:
    app.client.get("/jobs", params={"status": "queued", "limit": "7"}, headers=ADMIN)
    assert details(app) == {"status": "queued", "limit": "7"}
    app.client.get("/jobs", params={"q": "日志"}, headers=ADMIN)
    assert details(app) == {"q": "日志"}

    assert told(app) == [("jobs.listed", "admin", 200), ("jobs.searched", "admin", 200)]


def test_downloads_are_audited_in_every_form(app: InProcess) -> None:
    job = app.done(format="zstd")
    app.client.get(f"/jobs/{job['id']}/result")
    app.client.get(f"/jobs/{job['id']}/result", params={"format": "gzip"})
    app.client.get(f"/jobs/{job['id']}/original", headers=ADMIN)
    app.client.get(f"/jobs/{job['id']}/original", headers={"Range": "bytes=0-1"})
    app.client.head(f"/jobs/{job['id']}/result")

    assert told(app)[1:] == [
        ("result.downloaded", "job_id", 200),
        ("result.downloaded", "job_id", 200),
        ("original.downloaded", "admin", 200),
        ("original.downloaded", "job_id", 200),
        ("result.downloaded", "job_id", 200),
    ]
    assert [json.loads(event["details"]) for event in events(app)[1:]] == [
        {},
        {"format": "gzip"},
        {},
        {},
        {"method": "HEAD"},
    ]
    assert {event["job_id"] for event in events(app)} == {job["id"]}


def test_what_is_polled_is_not_audited(app: InProcess) -> None:
    job = app.put()
    for url in (f"/jobs/{job['id']}", f"/jobs?ids={job['id']}", "/limits", "/readyz", "/", "/metrics"):
        app.client.get(url, headers=ADMIN)

    assert told(app) == [("job.submitted", "anonymous", 202)]


def test_sending_a_message_again_and_looking_at_messages_are_audited(app: InProcess) -> None:
    job = app.put()
    seq = row_of(app.parts.database, job["id"])["seq"]
    somebody = Subscriber(MessageKind.WEBHOOK, "https://example.org/", "example.org", "en")
    act(app.parts.database, lambda connection: subscribe(connection, seq, (somebody,)))
    app.client.post(f"/jobs/{job['id']}/cancel", headers=key_of(job))
    url = f"/jobs/{job['id']}/deliveries"
    [message] = app.client.get(url, headers=key_of(job)).json()["messages"]
    events(app)

    assert app.client.post(f"{url}/{message['id']}/replay", headers=ADMIN).status_code == 202
    assert details(app) == {"message": message["id"]}
    assert app.client.post(f"{url}/{UNKNOWN}/replay", headers=key_of(job)).status_code == 404

    assert told(app)[2:] == [
        ("deliveries.read", "manage_key", 200),
        ("message.replayed", "admin", 202),
        ("message.replayed", "manage_key", 404),
    ]


@pytest.mark.parametrize(
    ("method", "url", "headers", "expected", "error"),
    [
        ("GET", "/jobs", {}, ("jobs.listed", "anonymous", 401), "admin_only"),
        ("GET", "/jobs?q=a", WRONG, ("jobs.searched", "anonymous", 401), "admin_only"),
        ("GET", "/audit", WRONG, ("audit.read", "anonymous", 401), "admin_only"),
        ("GET", "/jobs?limit=9999", ADMIN, ("jobs.listed", "admin", 422), "bad_option"),
        ("GET", "/jobs?status=strange", ADMIN, ("jobs.listed", "admin", 422), "bad_option"),
        ("GET", "/audit?action=strange", ADMIN, ("audit.read", "admin", 422), "bad_option"),
        ("GET", f"/jobs/{UNKNOWN}/result", {}, ("result.downloaded", "job_id", 404), "job_not_found"),
        ("GET", "/jobs/strange/original", {}, ("original.downloaded", "anonymous", 404), "job_not_found"),
        ("GET", "/jobs/JOB/result", {}, ("result.downloaded", "job_id", 409), "not_ready"),
        ("GET", "/jobs/JOB/result?format=zip", {}, ("result.downloaded", "job_id", 422), "bad_option"),
        ("POST", "/jobs/JOB/cancel", {}, ("job.cancelled", "job_id", 403), "key_needed"),
        ("DELETE", "/jobs/JOB", WRONG, ("job.deleted", "job_id", 403), "key_needed"),
        ("DELETE", f"/jobs/{UNKNOWN}", ADMIN, ("job.deleted", "admin", 404), "job_not_found"),
        ("POST", "/jobs/JOB/retry", ADMIN, ("job.retried", "admin", 409), "not_retryable"),
        ("PUT", "/uploads/a?format=strange", {}, ("job.submitted", "anonymous", 422), "bad_option"),
        ("POST", "/uploads", ADMIN | {"Content-Encoding": "gzip"}, ("job.submitted", "admin", 415), "content_encoding"),
    ],
)
def test_what_is_refused_is_audited_once_with_its_status_and_code(
    app: InProcess, method: str, url: str, headers: dict[str, str], expected: tuple[str, str, int], error: str
) -> None:
    job = app.put()

    answer = app.client.request(method, url.replace("JOB", job["id"]), headers=headers)

    assert answer.status_code == expected[2]
    assert answer.json()["code"] == error
    assert told(app)[1:] == [expected]
    assert details(app)["error"] == error


def test_a_refusal_for_its_state_is_told_of_who_holds_the_key(app: InProcess) -> None:
    job = app.done()

    app.client.post(f"/jobs/{job['id']}/cancel", headers=key_of(job))

    assert told(app)[1:] == [("job.cancelled", "manage_key", 409)]


def test_an_upload_repeated_under_its_key_says_that_it_made_nothing(app: InProcess) -> None:
    for _ in range(2):
        job = app.client.put("/uploads/a", content=b"a", headers={"Idempotency-Key": '"once"'}).json()

    assert told(app) == [("job.submitted", "anonymous", 202)] * 2
    assert details(app) == {"repeat": True}
    assert {event["job_id"] for event in events(app)} == {job["id"]}


def test_an_error_of_the_program_is_audited_as_500(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(jobs_routes, "list_jobs", fail)

    assert app.client.get("/jobs", headers=ADMIN).status_code == 500
    assert told(app) == [("jobs.listed", "admin", 500)]
    assert details(app) == {"error": "internal_error"}


def test_a_store_that_fails_is_audited(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    job = app.done()

    def fail(*_: object) -> None:
        raise StorageFailed("input/output error")

    monkeypatch.setattr(LocalFiles, "open", fail)

    assert app.client.get(f"/jobs/{job['id']}/result").status_code == 500
    assert told(app)[1:] == [("result.downloaded", "job_id", 500)]
    assert details(app) == {"error": "storage_failed"}


def test_no_secret_is_kept(app: InProcess) -> None:
    job = app.put(b"what the file holds", name="the-file-name.txt")
    app.client.get("/jobs", params={"q": "x", "key": "the-admin-token-of-tests"})
    app.client.get("/audit", params={"key": "the-admin-token-of-tests"})
    app.client.post(f"/jobs/{job['id']}/cancel", params={"key": job["manage_key"]})

    kept = str(events(app))
    assert len(events(app)) == 4
    for secret in ("the-admin-token-of-tests", job["manage_key"], "what the file holds", "the-file-name"):
        assert secret not in kept


def test_nothing_that_a_refused_query_asked_for_is_kept(app: InProcess) -> None:
    app.client.get("/jobs", params={"q": "x" * 5000, "status": "queued"}, headers=ADMIN)
    app.client.head("/jobs", params={"q": "x"})

    assert told(app) == [("jobs.searched", "admin", 422), ("jobs.searched", "anonymous", 401)]
    assert [json.loads(event["details"]) for event in events(app)] == [{"error": "bad_option"}, {"error": "admin_only"}]


def test_an_address_that_asks_too_often_is_refused_and_others_are_not(start: Start) -> None:
    app = start(max_queries_per_minute_per_address=3)
    url = f"/jobs/{UNKNOWN}/result"
    flood, other, here = (from_address(host) for host in ("192.0.2.1", "192.0.2.2", "127.0.0.1"))

    statuses = [app.client.get(url, headers=flood).status_code for _ in range(5)]

    assert statuses == [404, 404, 404, 429, 429]
    assert app.client.get(url, headers=other).status_code == 404
    assert [app.client.get(url, headers=here).status_code for _ in range(5)] == [404] * 5
    answer = app.client.get("/jobs", headers=flood)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_queries")
    assert 0 < int(answer.headers["Retry-After"]) <= 20
    assert len(told(app)) == 3 + 1 + 5
    metrics = app.client.get("/metrics", headers=ADMIN).text
    assert 'vacpack_limits_met_total{limit="max_queries_per_minute_per_address"} 3.0' in metrics


def test_changes_that_are_refused_leave_no_more_events_than_queries(start: Start) -> None:
    app = start(max_queries_per_minute_per_address=3)

    for _ in range(10):
        app.client.put("/uploads/a?format=strange", headers=from_address("192.0.2.1"))
    app.client.put("/uploads/a", content=b"x", headers=from_address("192.0.2.1"))

    statuses = [status for *_, status in told(app)]
    assert statuses.count(202) == 1
    # A slow machine may be at it for long enough to be allowed another.
    assert 3 <= statuses.count(422) == len(statuses) - 1 < 10


def test_what_changes_nothing_is_not_audited_where_only_the_reserve_is_left(start: Start) -> None:
    app = start(min_free_bytes=2**60)

    app.client.get("/jobs", headers=ADMIN)
    app.client.put("/uploads/a", content=b"x")

    assert told(app) == []
    assert 'vacpack_audit_skipped_total{reason="disk_full"} 2.0' in app.client.get("/metrics", headers=ADMIN).text


def test_queries_can_be_left_out_and_changes_cannot(start: Start) -> None:
    app = start(audit_queries=False)
    job = app.put()
    for url in ("/jobs", "/jobs?q=a", "/audit", f"/jobs/{job['id']}/result"):
        app.client.get(url, headers=ADMIN)
    app.client.delete(f"/jobs/{job['id']}")
    events(app)
    app.client.delete(f"/jobs/{job['id']}", headers=key_of(job))

    assert told(app) == [
        ("job.submitted", "anonymous", 202),
        ("job.deleted", "job_id", 403),
        ("job.deleted", "manage_key", 204),
    ]


def declare(app: InProcess, handler: Callable[..., Any]) -> None:
    """Have a route of the test's own audited, as any route can be."""
    router = APIRouter()
    router.get("/declared/{job_id}", dependencies=[Depends(audited(Action.AUDIT_READ))])(handler)
    app.application.router.routes[:0] = router.routes


def test_a_route_is_audited_by_declaring_it(app: InProcess) -> None:
    async def handler() -> dict[str, str]:
        return {"said": "nothing of the audit"}

    declare(app, handler)

    assert app.client.get(f"/declared/{UNKNOWN}").status_code == 200
    assert told(app) == [("audit.read", "job_id", 200)]


def test_a_response_with_a_background_of_its_own_is_audited_all_the_same(app: InProcess) -> None:
    done: list[str] = []

    async def handler() -> Response:
        return Response(status_code=203, background=BackgroundTask(done.append, "its own"))

    declare(app, handler)

    assert app.client.get(f"/declared/{UNKNOWN}").status_code == 203
    assert done == ["its own"]
    assert told(app) == [("audit.read", "job_id", 203)]


def test_a_route_s_own_tasks_run_beside_the_event(app: InProcess) -> None:
    done: list[str] = []

    async def handler(background: BackgroundTasks) -> None:
        background.add_task(done.append, "its own")

    declare(app, handler)
    app.client.get(f"/declared/{UNKNOWN}")

    assert done == ["its own"]
    assert told(app) == [("audit.read", "job_id", 200)]


def test_a_stream_that_breaks_is_audited_as_cut_off(app: InProcess) -> None:
    async def pieces() -> Any:
        yield b"some of it"
        raise ZeroDivisionError

    async def handler(request: Request) -> Response:
        return StreamingResponse(pieces())

    declare(app, handler)
    app.client.get(f"/declared/{UNKNOWN}")

    assert told(app) == [("audit.read", "job_id", 200)]
    assert details(app) == {"cut_off": True}


def test_an_answer_is_not_held_up_by_its_event(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database refuses every event, and nobody who asks notices."""

    async def refuse(_: object) -> None:
        raise StorageFailed("no room")

    monkeypatch.setattr(app.parts.audit, "_run", refuse)

    assert [app.client.get("/jobs", headers=ADMIN).status_code for _ in range(20)] == [200] * 20
    assert everything(app.parts.database)["audit_events"] == []


def page(app: InProcess, **asked: object) -> Any:
    answer = app.client.get("/audit", params=asked, headers=ADMIN)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def test_the_audit_is_read_newest_first_page_by_page(app: InProcess) -> None:
    made = [app.put()["id"] for _ in range(5)]

    first = page(app, action="job.submitted", limit=2)
    second = page(app, action="job.submitted", limit=2, cursor=first["next_cursor"])
    third = page(app, action="job.submitted", limit=2, cursor=second["next_cursor"])

    assert [event["job"] for event in first["events"] + second["events"] + third["events"]] == made[::-1]
    assert third["next_cursor"] is None
    assert first["events"][0]["details"]["source_size_bytes"] == 6000


def test_the_audit_of_one_job_outlives_it(app: InProcess) -> None:
    job, other = app.put(), app.put()
    app.client.delete(f"/jobs/{job['id']}", headers=key_of(job))

    assert [event["action"] for event in page(app, job=job["id"])["events"]] == ["job.deleted", "job.submitted"]
    assert [event["job"] for event in page(app, job=other["id"], action="job.submitted")["events"]] == [other["id"]]


def test_reading_the_audit_is_audited(app: InProcess) -> None:
    page(app, action="audit.read", limit=3)

    assert told(app) == [("audit.read", "admin", 200)]
    assert details(app) == {"action": "audit.read", "limit": "3"}


def test_an_unknown_action_names_those_there_are(app: InProcess) -> None:
    problem = app.refusal("GET", "/audit?action=jobs.guessed", 422, "bad_option", headers=ADMIN)

    assert problem["allowed"] == [str(action) for action in Action]
    assert all(action in problem["detail"] for action in Action)


def test_a_job_that_is_none_is_refused(app: InProcess) -> None:
    app.refusal("GET", "/audit?job=strange", 422, "bad_option", headers=ADMIN)


def test_the_audit_needs_the_admin_token(app: InProcess) -> None:
    job = app.put()

    for headers in ({}, WRONG, key_of(job)):
        app.refusal("GET", "/audit", 401, "admin_only", headers=headers)
    app.refusal("PUT", "/audit", 405, "method_not_allowed", content=b"not a file")


def test_what_expires_is_told_as_the_system_s_doing(app: InProcess) -> None:
    job = app.done()
    change_row(app.parts.database, job["id"], expires_at=1)

    settings = app.bench.settings
    Sweeper(app.bench.database, app.bench.store, LifeLocks(Path(settings.locks_dir)), settings).rows()

    [event] = page(app, action="job.expired")["events"]
    assert (event["job"], event["actor"], event["status"], event["client"]) == (job["id"], "system", None, None)
