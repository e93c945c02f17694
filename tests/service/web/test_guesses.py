"""Keys and tokens that open nothing: seen, and slowed for who tries often, without keeping anybody else out."""

from __future__ import annotations

import logging

import pytest
from starlette.testclient import TestClient

from tests.service.web.in_process import ADMIN, PAGE, InProcess, events, in_ascii, key_of

WRONG = {"Authorization": "Bearer no-token-of-anybody"}
DOORS = [
    ("GET", "/metrics"),
    ("GET", "/readyz"),
    ("GET", "/jobs"),
    ("GET", "/audit"),
    ("DELETE", "/jobs/{id}"),
    ("POST", "/jobs/{id}/cancel"),
]


def stranger(app: InProcess, address: str = "198.51.100.7") -> TestClient:
    """Return a client that comes from elsewhere, to the same service."""
    client = TestClient(in_ascii(app.application), client=(address, 50000))
    client.portal = app.client.portal
    return client


@pytest.mark.parametrize(("method", "path"), [*DOORS, ("GET", "/jobs/{id}")])
def test_who_tries_often_has_to_wait_whatever_is_brought_then(app: InProcess, method: str, path: str) -> None:
    receipt = app.put()
    url, client = path.format(id=receipt["id"]), stranger(app)

    tried = [client.request(method, url, headers=WRONG | PAGE).status_code for _ in range(12)]
    right = client.request(method, url, headers=ADMIN)

    # There is no worker, so that nothing is ready.
    assert set(tried[:10]) <= {200, 401, 403, 503}
    assert tried[10:] == [429, 429]
    # Without a page nobody asks what a key opens there.
    assert right.status_code == (200 if (method, path) == ("GET", "/jobs/{id}") else 429)
    assert app.status(receipt)["status"] == "queued"


def test_a_limited_try_says_when_to_come_back(app: InProcess) -> None:
    client = stranger(app)
    for _ in range(10):
        client.get("/metrics", headers=WRONG)

    answer = client.get("/metrics", headers=ADMIN)

    assert answer.json()["code"] == "too_many_guesses"
    assert 1 <= int(answer.headers["retry-after"]) <= 7
    assert 'vacpack_limits_met_total{limit="guesses"} 1.0' in app.client.get("/metrics", headers=ADMIN).text


def test_others_and_requests_without_a_key_go_on(app: InProcess) -> None:
    receipt, client = app.put(), stranger(app, "2001:db8::1")
    for _ in range(20):
        client.get("/metrics", headers=WRONG)

    # The same /64 is the same host; another is another.
    assert stranger(app, "2001:db8::2").get("/metrics", headers=ADMIN).status_code == 429
    assert stranger(app, "2001:db8:0:1::1").get("/metrics", headers=ADMIN).status_code == 200
    assert client.get(f"/jobs/{receipt['id']}").status_code == 200
    assert client.put("/b.txt", content=b"x").status_code == 202
    assert app.client.get("/metrics", headers=ADMIN).status_code == 200


def test_right_keys_are_no_tries(app: InProcess) -> None:
    receipt, client = app.put(), stranger(app)

    for _ in range(30):
        assert client.get("/metrics", headers=ADMIN).status_code == 200
        assert client.get(f"/jobs/{receipt['id']}/deliveries", headers=key_of(receipt)).status_code == 200
        assert client.get("/metrics").status_code == 401


def test_tries_are_told_in_the_log_and_the_audit(app: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vacpack.http"):
        stranger(app).get("/metrics", headers=WRONG)

    [record] = [each for each in caplog.records if each.message == "a key or token was refused"]
    assert (record.client, record.path) == ("198.51.100.7", "/metrics")  # type: ignore[attr-defined]
    assert "no-token-of-anybody" not in caplog.text
    told = [event for event in events(app) if event["action"] == "key.refused"]
    assert [(event["client"], event["status"]) for event in told] == [("198.51.100.7", 401)]


def test_a_flood_of_tries_fills_neither_log_nor_audit(app: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vacpack.http"):
        for number in range(200):
            stranger(app, f"198.51.100.{number}").get("/metrics", headers=WRONG)

    assert len([each for each in caplog.records if each.message == "a key or token was refused"]) < 100


def test_an_address_that_is_none_is_not_kept(app: InProcess) -> None:
    """What a proxy passes on may be any text."""
    stranger(app, "<script>" + "a" * 4000).get("/jobs", headers=WRONG)

    assert {event["client"] for event in events(app)} == {None}
