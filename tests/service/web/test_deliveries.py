"""Webhooks as uploaders ask for them and see them: the option at the door, deliveries, replays, counts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from service.intake.dispatch import NoDispatcher
from service.telling.notify import Message
from service.telling.webhooks import body_of
from service.values.target import MAX_URL_LENGTH
from service.web.documented.schemas import JobEnded
from storage.messages.deliveries import ClaimedMessage, DeliveryEnd, failed, reschedule, sent
from tests.service.web.in_process import ADMIN, InProcess, key_of
from tests.storage.job_builder import Row, act
from tests.storage.messages.test_deliveries import found
from tests.storage.messages.test_deliveries import taken as take_one

Start = Callable[..., InProcess]
SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
HOOK = "https://a.example/hook?x=1"


@pytest.fixture
def app(start: Start) -> InProcess:
    """A service that sends webhooks, in principle: nothing drains its outbox."""
    return start(webhook_secrets=SECRET)


def shown(app: InProcess, receipt: Row) -> list[Row]:
    answer = app.client.get(f"/jobs/{receipt['id']}/deliveries", headers=key_of(receipt))
    assert answer.status_code == 200, answer.text
    messages: list[Row] = answer.json()["messages"]
    return messages


def taken(app: InProcess) -> ClaimedMessage:
    return take_one(app.bench.database, "w", lease=60_000)


def by_query(app: InProcess, url: str) -> Any:
    return app.client.put("/uploads/a.txt", content=b"hello", params={"callback_url": url})


def by_raw_post(app: InProcess, url: str) -> Any:
    return app.client.post("/uploads", content=b"hello", params={"callback_url": url})


def by_short_put(app: InProcess, url: str) -> Any:
    return app.client.put("/a.txt", content=b"hello", params={"callback_url": url})


def by_field_before_the_file(app: InProcess, url: str) -> Any:
    files = [("callback_url", (None, url)), ("file", ("a.txt", b"hello"))]
    return app.client.post("/uploads", files=files)


def by_field_after_the_file(app: InProcess, url: str) -> Any:
    files = [("file", ("a.txt", b"hello")), ("callback_url", (None, url))]
    return app.client.post("/uploads", files=files)


DOORS = pytest.mark.parametrize(
    "ask", [by_query, by_raw_post, by_short_put, by_field_before_the_file, by_field_after_the_file]
)
Ask = Callable[[InProcess, str], Any]


@DOORS
def test_every_door_takes_the_option_and_the_end_of_the_job_leaves_the_message(app: InProcess, ask: Ask) -> None:
    answer = ask(app, HOOK)
    assert answer.status_code == 202, answer.text
    assert shown(app, answer.json()) == []
    app.bench.run()

    [message] = shown(app, answer.json())
    assert (message["kind"], message["target"], message["type"]) == ("webhook", HOOK, "job.succeeded")
    assert (message["status"], message["ended_at"], message["deliveries"]) == ("pending", None, [])
    due, made = (datetime.fromisoformat(message[name]) for name in ("next_delivery_at", "created_at"))
    # The clock is asked for each: a millisecond may end in between.
    assert abs(due - made) <= timedelta(milliseconds=5)


@DOORS
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "ftp://a.example/", "https://a.example:22/", "x", "https://" + "a" * MAX_URL_LENGTH]
)
def test_every_door_refuses_what_may_not_be_called_and_keeps_nothing(app: InProcess, ask: Ask, url: str) -> None:
    answer = ask(app, url)

    assert (answer.status_code, answer.json()["code"], answer.json()["option"]) == (422, "bad_option", "callback_url")
    assert app.bench.stored_keys() == set()


@DOORS
def test_without_secrets_every_door_refuses_and_says_what_is_missing(start: Start, ask: Ask) -> None:
    app = start()
    answer = ask(app, HOOK)

    assert (answer.status_code, answer.json()["code"]) == (422, "option_not_offered")
    assert app.client.get("/limits").json()["max_callback_urls"] == 0
    assert "callback_url" not in app.client.get("/").text
    assert "VACPACK_WEBHOOK_SECRETS" in answer.json()["detail"]


def test_where_it_is_offered_limits_and_manual_say_so(app: InProcess) -> None:
    assert app.client.get("/limits").json()["max_callback_urls"] == 1
    assert "callback_url" in app.client.get("/").text


def test_a_field_that_was_left_empty_asks_for_nothing(start: Start) -> None:
    app = start()
    answer = by_field_before_the_file(app, "")

    assert answer.status_code == 202
    assert shown(app, answer.json()) == []


def test_an_opened_network_is_taken_at_the_door(start: Start) -> None:
    app = start(webhook_secrets=SECRET, webhook_allow_networks="127.0.0.0/8")

    assert by_query(app, "http://127.0.0.1:9000/").status_code == 202
    assert by_query(app, "http://10.0.0.1:9000/").status_code == 422


def test_a_repeat_with_the_same_idempotency_key_subscribes_once(app: InProcess) -> None:
    options = {"callback_url": HOOK, "idempotency_key": "k"}
    first, second = app.put(**options), app.put(**options)
    assert first["id"] == second["id"]
    app.bench.run()

    assert len(shown(app, first)) == 1


def test_each_delivery_is_shown(app: InProcess) -> None:
    receipt = app.done(callback_url=HOOK)
    broken = DeliveryEnd("failed", 500, "The receiver answered 500.")
    database = app.bench.database
    first = taken(app)
    [message] = shown(app, receipt)
    assert message["next_delivery_at"] is None
    assert message["deliveries"][0]["outcome"] is None
    act(database, lambda connection: reschedule(connection, first, broken, pause_milliseconds=0))
    second = taken(app)
    act(database, lambda connection: sent(connection, second, DeliveryEnd("delivered", 204, None)))

    [message] = shown(app, receipt)
    assert (message["id"], message["status"], message["next_delivery_at"]) == (first.id, "sent", None)
    assert [(one["number"], one["outcome"], one["status_code"], one["detail"]) for one in message["deliveries"]] == [
        (1, "failed", 500, "The receiver answered 500."),
        (2, "delivered", 204, None),
    ]
    assert all(one["started_at"] <= one["ended_at"] for one in message["deliveries"])


def test_a_replay_makes_the_message_due_and_shows_it(app: InProcess) -> None:
    receipt = app.done(callback_url=HOOK)
    message = taken(app)
    act(app.bench.database, lambda connection: failed(connection, message, DeliveryEnd("failed", 500, None)))
    answer = app.client.post(f"/jobs/{receipt['id']}/deliveries/{message.id}/replay", headers=key_of(receipt))

    assert answer.status_code == 202
    [after] = answer.json()["messages"]
    assert (after["id"], after["status"], after["ended_at"]) == (message.id, "pending", None)
    assert taken(app).delivery == 2


def test_a_replay_wakes_the_worker(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = app.done(callback_url=HOOK)
    [message] = shown(app, receipt)
    wakes: list[bool] = []
    monkeypatch.setattr(NoDispatcher, "wake", lambda _: wakes.append(True))
    app.client.post(f"/jobs/{receipt['id']}/deliveries/{message['id']}/replay", headers=key_of(receipt))

    assert wakes == [True]


def test_what_is_under_way_or_was_asked_for_too_often_is_not_sent_again(app: InProcess) -> None:
    receipt = app.done(callback_url=HOOK)
    [message] = shown(app, receipt)
    replay = f"/jobs/{receipt['id']}/deliveries/{message['id']}/replay"
    for _ in range(20):
        assert app.client.post(replay, headers=key_of(receipt)).status_code == 202

    app.refusal("POST", replay, 409, "too_many_replays", headers=key_of(receipt))
    other = app.done(callback_url=HOOK)
    [second] = shown(app, other)
    assert {taken(app).id, taken(app).id} == {message["id"], second["id"]}
    replay = f"/jobs/{other['id']}/deliveries/{second['id']}/replay"
    app.refusal("POST", replay, 409, "delivery_under_way", headers=key_of(other))


def test_only_the_manage_key_and_the_admin_see_deliveries_and_replay(app: InProcess) -> None:
    receipt = app.done(callback_url=HOOK)
    other = app.put()
    [message] = shown(app, receipt)
    url = f"/jobs/{receipt['id']}/deliveries"
    replay = f"{url}/{message['id']}/replay"
    for headers in ({}, key_of(other), {"Authorization": "Bearer x"}):
        app.refusal("GET", url, 403, "key_needed", headers=headers)
        app.refusal("POST", replay, 403, "key_needed", headers=headers)

    assert app.client.get(url, headers=ADMIN).status_code == 200
    assert app.client.head(url, headers=key_of(receipt)).status_code == 200
    assert app.client.post(replay, headers=ADMIN).status_code == 202


def test_what_is_not_there_is_not_found(app: InProcess) -> None:
    receipt, other = app.done(callback_url=HOOK), app.done(callback_url=HOOK)
    [foreign] = shown(app, other)
    base = f"/jobs/{receipt['id']}/deliveries"

    app.refusal("POST", f"{base}/{foreign['id']}/replay", 404, "message_not_found", headers=key_of(receipt))
    app.refusal("POST", f"{base}/nothing/replay", 404, "message_not_found", headers=key_of(receipt))
    app.refusal("GET", f"/jobs/{'a' * 26}/deliveries", 404, "job_not_found", headers=ADMIN)
    app.refusal("GET", "/jobs/x/deliveries", 404, "job_not_found", headers=ADMIN)


def test_deleting_the_job_takes_its_messages_with_it(app: InProcess) -> None:
    receipt = app.done(callback_url=HOOK)
    app.client.delete(f"/jobs/{receipt['id']}", headers=key_of(receipt))

    app.refusal("GET", f"/jobs/{receipt['id']}/deliveries", 404, "job_not_found", headers=ADMIN)
    assert found(app.bench.database) is None


def test_metrics_count_what_waits_and_what_ended(app: InProcess) -> None:
    app.done(callback_url=HOOK)
    app.done(callback_url=HOOK)
    message = taken(app)
    act(app.bench.database, lambda connection: sent(connection, message, DeliveryEnd("delivered", 204, None)))
    text = app.client.get("/metrics", headers=ADMIN).text

    assert 'vacpack_messages_pending{kind="webhook"} 1.0' in text
    assert 'vacpack_messages_pending{kind="email"} 0.0' in text
    assert 'vacpack_deliveries_total{kind="webhook",outcome="delivered"} 1.0' in text


def test_what_is_sent_is_what_the_description_says(app: InProcess) -> None:
    receipt = app.done(callback_url=HOOK)
    message = taken(app)
    row = json.loads(message.payload) | {"queue_position": None}
    sent_body = json.loads(body_of(Message(message.id, HOOK, "en", row), ""))
    told = JobEnded.model_validate(sent_body, strict=False)
    described = app.client.get("/openapi.json").json()["webhooks"]["job-ended"]["post"]

    assert (told.type, told.data.id) == ("job.succeeded", receipt["id"])
    assert [one["name"] for one in described["parameters"]] == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert set(described["responses"]) == {"204", "410"}
