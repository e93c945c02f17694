"""The front door and what else does not concern one job: manual, limits, health, metrics, and errors in every form."""

from __future__ import annotations

import errno
import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from service.web.documented.schemas import Health, LimitsDocument, Problem
from storage import clock_table
from storage.clock import read_clocks
from storage.errors import JobNotFound, StorageFailed
from storage.files.file_store import Space
from storage.ids import random_id
from storage.jobs import worker_table
from storage.jobs.job_rescue import rescue_lapsed
from tests.service.web.in_process import ADMIN, PAGE, TEXT, InProcess, key_of
from tests.storage.job_builder import Row, act, change_row, one_of_each, running

LIFE = {"host": "h", "pid": 1, "capacity": 1}


# The manual.


def test_anything_but_a_browser_gets_the_manual_with_this_address_in_every_line(app: InProcess) -> None:
    for headers in ({}, TEXT, {"Accept": "application/json"}):
        answer = app.client.get("/", headers=headers | {"Host": "box.lan:8000"})
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["vary"] == "Accept"
        manual = answer.text
        assert "  curl -T big.log http://box.lan:8000/\n" in manual
        assert "  curl -F file=@big.log http://box.lan:8000/uploads\n" in manual
        assert "{" not in manual.replace("${", "")
        assert all(len(line) <= 110 for line in manual.splitlines())


def test_the_manual_tells_all_formats_levels_and_limits(app: InProcess) -> None:
    manual = app.client.get("/").text

    assert "format   auto, zstd, gzip, brotli, xz, zip, tar.zst, tar.gz\n" in manual
    assert "level    fast, balanced, small\n" in manual
    assert "10.7 GB" in manual


def test_the_manual_uses_the_address_that_was_set(start: Callable[..., InProcess]) -> None:
    app = start(public_url="https://up.example")

    assert "curl -T big.log https://up.example/\n" in app.client.get("/").text
    assert "curl -T big.log https://up.example/" in app.client.get("/", headers=PAGE).text


def test_the_limits_are_those_of_the_settings(start: Callable[..., InProcess]) -> None:
    app = start(max_upload_bytes=1234, max_files_per_upload=5)

    document = LimitsDocument.model_validate(app.client.get("/limits").json())

    assert (document.max_upload_bytes, document.max_files_per_upload) == (1234, 5)
    settings = app.parts.settings.model_dump()
    same = set(document.model_dump()) & set(settings)
    assert len(same) >= 8
    assert {name: getattr(document, name) for name in same} == {name: settings[name] for name in same}


# Health.


def register(app: InProcess, worker_id: str | None = None) -> None:
    act(app.parts.database, lambda connection: worker_table.register(connection, worker_id or random_id(), **LIFE))


def test_it_is_alive_whatever_is_missing(app: InProcess) -> None:
    assert app.client.get("/livez").json() == {"status": "ok"}


def test_it_is_ready_with_a_live_worker(app: InProcess) -> None:
    register(app)

    answer = app.client.get("/readyz")

    assert answer.status_code == 200
    assert Health.model_validate(answer.json()).checks == {
        "database": True,
        "files": True,
        "worker": True,
        "accepting": True,
    }


@pytest.mark.parametrize(("step", "told"), [(7_200_000, "ahead of"), (-7_200_000, "behind"), (30_000, None)])
def test_a_clock_that_is_not_believed_is_named_and_leaves_it_ready(app: InProcess, step: int, told: str | None) -> None:
    register(app)
    read = read_clocks()
    stepped = replace(read, wall=read.wall + step)
    act(app.parts.database, lambda connection: clock_table.advance(connection, stepped))

    answer = app.client.get("/readyz")

    assert answer.status_code == 200
    warnings = Health.model_validate(answer.json()).warnings
    line = f"The wall clock is {abs(step) // 1000} s {told} the time that has certainly passed, and not believed yet."
    assert warnings == ([line] if told else [])


def checks_of(app: InProcess) -> dict[str, bool]:
    document = app.refusal("GET", "/readyz", 503, "not_healthy")
    missing = ", ".join(name for name, is_well in document["checks"].items() if not is_well)
    assert document["detail"].startswith(f"Not ready: {missing}.")
    checks: dict[str, bool] = document["checks"]
    return checks


def test_without_a_worker_it_is_not_ready(app: InProcess) -> None:
    assert checks_of(app) == {"database": True, "files": True, "worker": False, "accepting": True}
    assert app.client.get("/readyz").headers["retry-after"] == "5"


def test_a_worker_that_has_been_silent_does_not_count(app: InProcess) -> None:
    register(app)
    with closing(sqlite3.connect(str(app.parts.database.url.database))) as connection, connection:
        connection.execute("UPDATE workers SET heartbeat_at = heartbeat_at - 16000")
    connection.close()

    assert not checks_of(app)["worker"]


def test_a_worker_that_let_a_lease_run_out_does_not_count_until_that_is_taken_up(app: InProcess) -> None:
    register(app)
    assert app.client.get("/readyz").status_code == 200
    running(app.parts.database, lease=-1)

    assert checks_of(app) == {"database": True, "files": True, "worker": False, "accepting": True}

    act(app.parts.database, rescue_lapsed)
    assert app.client.get("/readyz").status_code == 200


def test_a_service_about_to_stop_is_not_ready(app: InProcess) -> None:
    register(app)
    app.parts.watch.drain()

    assert checks_of(app) == {"database": True, "files": True, "worker": True, "accepting": False}


def test_a_disk_below_its_reserve_is_not_ready(start: Callable[..., InProcess]) -> None:
    app = start(min_free_bytes=2**60)
    register(app)

    assert checks_of(app) == {"database": True, "files": False, "worker": True, "accepting": True}


@pytest.mark.parametrize(("broken", "missing"), [("store", {"files"}), ("database", {"database", "files", "worker"})])
def test_what_cannot_be_reached_is_not_ready(
    app: InProcess, monkeypatch: pytest.MonkeyPatch, broken: str, missing: set[str]
) -> None:
    register(app)

    def failing(*_: Any) -> Any:
        if broken == "store":
            raise StorageFailed("EIO /srv/secret")
        raise OperationalError("SELECT secret", {}, sqlite3.OperationalError("disk I/O error"))

    target = {"store": (app.parts.store, "space"), "database": (app.parts.database, "read")}
    monkeypatch.setattr(*target[broken], failing)

    assert {name for name, is_well in checks_of(app).items() if not is_well} == missing
    assert "secret" not in app.client.get("/readyz").text


def not_ready(app: InProcess) -> Row:
    document = app.refusal("GET", "/readyz", 503, "not_healthy")
    return {name: document[name] for name in ("checks", "reasons", "detail")}


@pytest.mark.parametrize(
    ("number", "name", "words"),
    [
        (errno.ENOSPC, "room", "Files: no room is left on the disk (room)."),
        (errno.EROFS, "read_only", "Files: the disk is mounted read-only (read_only)."),
        (errno.EACCES, "not_writable", "Files: the folder may not be written (not_writable)."),
        (errno.EIO, "disk", "Files: the disk reports errors (disk)."),
    ],
)
def test_files_that_cannot_be_written_are_named(
    app: InProcess, monkeypatch: pytest.MonkeyPatch, number: int, name: str, words: str
) -> None:
    register(app)

    def fail(_: object) -> None:
        raise OSError(number, "/srv/secret")

    monkeypatch.setattr("service.machine.soundness.write_probe", fail)

    answer = not_ready(app)

    assert answer["reasons"] == {"files": name}
    assert answer["checks"] == {"database": True, "files": False, "worker": True, "accepting": True}
    assert answer["detail"] == f"Not ready: files. {words}"


def test_a_database_that_cannot_be_written_is_named(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    register(app)

    def fail(_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise OperationalError("UPDATE clock", {}, error)

    monkeypatch.setattr("service.machine.soundness.write_seen", fail)

    assert not_ready(app)["reasons"] == {"database": "room"}


def test_a_disk_that_hangs_is_named_within_two_seconds_and_costs_one_thread(
    app: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr("service.machine.soundness.write_probe", lambda _: gate.wait())
    register(app)
    try:
        answers = [not_ready(app) for _ in range(5)]
        hanging = [thread for thread in threading.enumerate() if thread.name == "sounding"]
    finally:
        gate.set()

    assert len(hanging) == 1
    assert [answer["reasons"] for answer in answers] == [{"files": "hanging"}] * 5
    assert "Files: the disk does not answer (hanging)." in answers[0]["detail"]


# Metrics.


def metrics_of(app: InProcess) -> dict[str, float]:
    text = app.client.get("/metrics", headers=ADMIN).text
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    }


def test_metrics_are_for_the_admin(app: InProcess) -> None:
    app.refusal("GET", "/metrics", 401, "admin_only")
    app.refusal("GET", "/metrics", 401, "admin_only", headers=key_of(app.put()))
    assert app.client.get("/metrics", headers=ADMIN).headers["content-type"].startswith("text/plain; version=0.0.4")
    # An address stands in logs and histories.
    app.refusal("GET", "/metrics", 401, "admin_only", params={"key": "the-admin-token-of-tests"})


def test_metrics_tell_what_waits_and_for_how_long(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics_of(app)["vacpack_jobs_queued"] == 0
    assert metrics_of(app)["vacpack_oldest_queued_seconds"] == 0
    first, _ = app.put(), app.put()
    created_at = app.bench.row(first["id"])["created_at"]
    change_row(app.parts.database, first["id"], created_at=created_at - 60_000)
    app.put()
    monkeypatch.setattr(type(app.parts.store), "space", lambda _: Space(free_bytes=123, total_bytes=456))

    told = metrics_of(app)

    assert told["vacpack_jobs_queued"] == 3
    assert 60 <= told["vacpack_oldest_queued_seconds"] < 120
    assert (told["vacpack_disk_free_bytes"], told["vacpack_disk_total_bytes"]) == (123, 456)
    app.bench.claim()
    assert (metrics_of(app)["vacpack_jobs_queued"], metrics_of(app)["vacpack_jobs_running"]) == (2, 1)


def test_metrics_tell_attempts_their_time_and_bytes_by_format_and_failures_by_code(app: InProcess) -> None:
    app.done(b"x" * 10_000, format="gzip")
    app.done(b"x" * 10_000, format="gzip")
    one_of_each(app.parts.database)

    told = metrics_of(app)

    gzip = '{error_code="",format="gzip",outcome="succeeded"}'
    labels = next(name for name in told if name.startswith("vacpack_attempts_total{") and "gzip" in name).partition(
        "{"
    )[2]
    assert sorted(labels.rstrip("}").split(",")) == sorted(gzip.strip("{}").split(","))
    assert told[f"vacpack_attempts_total{{{labels}"] == 2
    assert told[f"vacpack_source_bytes_total{{{labels}"] == 20_000
    assert 0 < told[f"vacpack_result_bytes_total{{{labels}"] < 1000
    assert 0 <= told[f"vacpack_attempt_seconds_total{{{labels}"] < 60
    failed = [
        value for name, value in told.items() if name.startswith("vacpack_attempts_total") and "codec_failed" in name
    ]
    assert failed == [1]


# Errors.


@pytest.mark.parametrize("url", ["/nothing/there", "/jobs/x/y/z", "/static/none.css", "/favicon.ico/x", "/some.txt"])
def test_an_address_that_is_none_is_a_problem(app: InProcess, url: str) -> None:
    answer = app.client.get(url)

    assert answer.status_code == 404
    document = Problem.model_validate(answer.json())
    assert document.code == "not_found"
    assert "GET / tells" in document.detail
    assert "/docs" in document.detail
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("url", ["/uplaods", "/some.txt", "/uploads/some.txt", "/nothing/there", "/static"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PATCH"])
def test_a_mistyped_address_is_not_there_for_any_method(app: InProcess, method: str, url: str) -> None:
    answer = app.client.request(method, url)

    assert answer.status_code == 404
    assert "allow" not in answer.headers
    if method != "HEAD":
        assert answer.json()["code"] == "not_found"


def test_a_mistyped_address_shows_a_person_the_way_on(app: InProcess) -> None:
    page, line = (app.client.get("/uplaods", headers=headers) for headers in (PAGE, TEXT))

    assert 'href="/"' in page.text
    assert 'href="/docs"' in page.text
    assert line.text.startswith("404 not_found: GET / tells how to send a file, /docs all there is")
    assert line.text.count("\n") == 1


def test_what_browsers_and_crawlers_ask_for_is_there(app: InProcess) -> None:
    icon, robots = app.client.get("/favicon.ico"), app.client.get("/robots.txt")

    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
    assert icon.content == app.client.get("/static/icon.svg").content
    assert (robots.status_code, robots.text) == (200, "User-agent: *\nDisallow: /\n")
    assert app.client.put("/robots.txt", content=b"a file of that name").status_code == 202


def test_a_last_slash_means_nothing_where_it_can_mean_nothing(app: InProcess) -> None:
    job = app.done()
    url = f"/jobs/{job['id']}"

    assert app.client.get(f"{url}/").json() == app.client.get(url).json()
    assert app.client.get(f"{url}/result/").content == app.client.get(f"{url}/result").content
    assert app.client.get("/limits/").json() == app.client.get("/limits").json()
    assert app.client.get("/docs//", headers=PAGE).text == app.client.get("/docs", headers=PAGE).text
    assert app.client.post("/uploads/", files={"file": b"x"}).status_code == 202
    assert app.client.put("/uploads/", content=b"x").json()["name"] == "upload"
    app.refusal("GET", "/jobs/", 401, "admin_only")
    app.refusal("GET", "/uplaods/", 404, "not_found")


@pytest.mark.parametrize(
    ("method", "url", "allowed"),
    [
        ("POST", "/", "GET, HEAD, PUT"),
        ("PATCH", "/jobs/" + "a" * 26, "DELETE, GET, HEAD"),
        ("GET", "/uploads", "POST, PUT"),
        ("OPTIONS", "/some.txt", "PUT"),
        ("POST", "/static/icon.svg", "GET, HEAD"),
        ("POST", "/robots.txt", "GET, HEAD, PUT"),
        ("DELETE", "/jobs/", "GET, HEAD"),
        ("PUT", "/jobs", "GET, HEAD"),
        ("PUT", "/static", ""),
        ("DELETE", "/jobs/" + "a" * 26 + "/result", "GET, HEAD"),
    ],
)
def test_a_method_that_does_not_fit_is_told_which_do(app: InProcess, method: str, url: str, allowed: str) -> None:
    app.refusal(method, url, 405, "method_not_allowed")

    assert app.client.request(method, url).headers["allow"] == allowed


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("/nothing/there", 404, "not_found"),
        ("/jobs/" + "a" * 26, 404, "job_not_found"),
        ("/jobs", 401, "admin_only"),
        ("/jobs?limit=0", 422, "bad_option"),
        ("/readyz", 503, "not_healthy"),
    ],
)
def test_every_error_has_three_forms(app: InProcess, url: str, status: int, code: str) -> None:
    document, line, page = (app.client.get(url, headers=headers) for headers in ({}, TEXT, PAGE))

    assert {answer.status_code for answer in (document, line, page)} == {status}
    assert document.json()["code"] == code
    assert re.fullmatch(f"{status} {code}: [^\n]+\n", line.text)
    assert line.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"{status} {code}" in page.text
    assert {answer.headers["vary"] for answer in (document, line)} == {"Accept"}
    assert page.headers["vary"] == "Accept, Accept-Language, Cookie"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("SELECT secret", {}, sqlite3.OperationalError("database is locked")), 503, "database_busy"),
        (DBAPIError("SELECT", None, sqlite3.OperationalError("disk I/O error in /srv/secret")), 503, "database_busy"),
        (StorageFailed("EIO /srv/secret"), 500, "storage_failed"),
        (JobNotFound("secret"), 404, "job_not_found"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
def test_what_breaks_below_is_told_without_its_words(
    app: InProcess, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    receipt = app.put()

    def failing(_: Any) -> Any:
        raise error

    monkeypatch.setattr(app.parts.board, "get", failing)

    document = app.refusal("GET", f"/jobs/{receipt['id']}", status, code)
    assert "secret" not in str(document)
    assert app.client.get(f"/jobs/{receipt['id']}").headers.get("retry-after") == ("5" if status == 503 else None)


def test_a_whole_job_table_that_is_away_does_not_break_what_needs_none(
    app: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Any:
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("locked"))

    monkeypatch.setattr(app.parts.database, "read", failing)

    assert [app.client.get(url).status_code for url in ("/", "/limits", "/livez")] == [200] * 3
    app.refusal("GET", "/metrics", 503, "database_busy", headers=ADMIN)
    app.refusal("GET", "/jobs", 503, "database_busy", headers=ADMIN)


STRANGERS = [
    {"X-Forwarded-For": "198.51.100.7"},
    {"Forwarded": "for=198.51.100.7"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "::"},
]


@pytest.mark.parametrize("headers", STRANGERS)
def test_strangers_are_told_only_whether_it_is_ready(app: InProcess, headers: dict[str, str]) -> None:
    refused = app.refusal("GET", "/readyz", 503, "not_healthy", headers=headers)
    register(app)

    assert refused == {
        "type": "about:blank",
        "title": refused["title"],
        "status": 503,
        "detail": "Not ready.",
        "code": "not_healthy",
    }
    assert app.client.get("/readyz", headers=headers).json() == {"status": "ok"}
    assert app.client.get("/readyz", headers=headers | ADMIN).json()["checks"]["worker"] is True


def test_where_people_come_by_a_proxy_only_the_admin_is_told_more(start: Callable[..., InProcess]) -> None:
    app = start(public_url="http://testserver")
    register(app)

    assert app.client.get("/readyz").json() == {"status": "ok"}
    assert "checks" in app.client.get("/readyz", headers=ADMIN).json()


def test_strangers_are_not_told_which_release_answers(app: InProcess) -> None:
    for path in ("/", "/limits", "/docs", "/openapi.json", "/livez", "/readyz", "/nothing/here"):
        for form in ({}, PAGE, TEXT):
            answer = app.client.get(path, headers=form)
            assert version("vacpack") not in f"{answer.text}{answer.headers}", path
            assert "server" not in answer.headers
