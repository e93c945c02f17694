"""What stands round every request: its id, who may send it, its count, and the last answer."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from service.web.metrics import HttpMetrics
from service.web.middleware import RequestScope
from service.web.request_id import request_id
from service.web.sites import Sites
from tests.service.web.in_process import ADMIN, InProcess

SECRET = "/srv/secret/path: SELECT * FROM jobs"


class Answering:
    """An application that answers 204, or breaks."""

    def __init__(self, *, breaks: bool = False, breaks_late: bool = False) -> None:
        self._breaks = breaks
        self._breaks_late = breaks_late
        self.seen_ids: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen_ids.append(request_id.get())
        if self._breaks:
            raise RuntimeError(SECRET)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if self._breaks_late:
            raise RuntimeError(SECRET)
        await send({"type": "http.response.body", "body": b"fine"})


@pytest.fixture
def scoped(app: InProcess) -> Callable[..., TestClient]:
    metrics: HttpMetrics = app.parts.metrics

    def scope(inner: Answering) -> TestClient:
        return TestClient(
            RequestScope(inner, metrics, Sites(allowed_hosts="testserver")), raise_server_exceptions=False
        )

    return scope


@pytest.mark.parametrize("given", ["abc-123_X.y", "a", "x" * 64])
def test_a_given_id_is_kept_and_sent_back(scoped: Callable[..., TestClient], given: str) -> None:
    inner = Answering()

    answer = scoped(inner).get("/", headers={"X-Request-Id": given})

    assert answer.headers["x-request-id"] == given
    assert inner.seen_ids == [given]


@pytest.mark.parametrize("given", [None, "", "x" * 65, "two words", "a\x1b[2J", "caf\u00e9", "<b>"])
def test_a_missing_or_odd_id_is_replaced(scoped: Callable[..., TestClient], given: str | None) -> None:
    inner = Answering()
    headers = {} if given is None else {"X-Request-Id": given.encode("latin-1")}

    answer = scoped(inner).get("/", headers=headers)

    assert re.fullmatch("[0-9a-f-]+", answer.headers["x-request-id"])
    assert inner.seen_ids == [answer.headers["x-request-id"]]


def test_ids_that_are_made_differ(scoped: Callable[..., TestClient]) -> None:
    client = scoped(Answering())

    assert len({client.get("/").headers["x-request-id"] for _ in range(20)}) == 20


def test_an_error_nobody_expected_is_a_problem_without_a_word_of_it(
    scoped: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vacpack.http"):
        answer = scoped(Answering(breaks=True)).get("/somewhere")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal_error"
    assert not {"secret", "SELECT", "Traceback", "RuntimeError"} & set(re.split(r"\W", answer.text))
    # It is told to the operator instead, with its trace.
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert SECRET in str(record.exc_info)


def test_an_answer_under_way_is_not_followed_by_another(scoped: Callable[..., TestClient]) -> None:
    answer = scoped(Answering(breaks_late=True)).get("/")

    assert b"internal_error" not in answer.content


OTHER = "https://evil.example"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_page_of_another_site_can_change_nothing(app: InProcess, method: str) -> None:
    receipt = app.put()
    url = {"POST": f"/jobs/{receipt['id']}/cancel", "PUT": "/x", "DELETE": f"/jobs/{receipt['id']}"}[method]

    app.refusal(method, url, 403, "cross_site", params={"key": receipt["manage_key"]}, headers={"Origin": OTHER})

    assert app.status(receipt)["status"] == "queued"


def test_a_page_of_another_site_may_link_to_a_job(app: InProcess) -> None:
    receipt = app.put()

    assert app.client.get(f"/jobs/{receipt['id']}", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_requests_are_counted_by_method_and_status(app: InProcess) -> None:
    app.client.get("/livez")
    app.client.get("/nothing/there")
    app.client.request("BREW", "/livez")

    counted = app.client.get("/metrics", headers=ADMIN).text
    assert 'vacpack_requests_total{method="GET",status="200"} 1.0' in counted
    assert 'vacpack_requests_total{method="GET",status="404"} 1.0' in counted
    # Anybody can make up methods, and each would be a new series.
    assert 'vacpack_requests_total{method="other",status="405"} 1.0' in counted
    assert "BREW" not in counted


def test_what_changes_is_logged_and_what_is_read_only_at_debug(
    app: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vacpack.http"):
        app.client.get("/livez")
        app.client.put("/uploads/a.txt", content=b"x")

    told = [(record.method, record.path, record.status) for record in caplog.records if record.msg == "request"]  # type: ignore[attr-defined]
    assert told == [("PUT", "/uploads/a.txt", 202)]


def test_the_last_answer_is_a_whole_problem_document(scoped: Callable[..., TestClient]) -> None:
    document = json.loads(scoped(Answering(breaks=True)).get("/").content)

    assert set(document) == {"type", "title", "status", "detail", "code"}
