"""Webhooks as Standard Webhooks 1.0 says: signed with every secret, the same bytes each time, judged by status."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import pytest

from service.job_document import document
from service.telling.notify import JITTER, RETRY_PAUSES_SECONDS, Delivery, Message, pause_after
from service.telling.safe_http import SafeClient
from service.telling.webhooks import Webhooks
from service.values.target import read_networks
from service.values.webhook_signature import read_secrets, signature
from storage.database import Database
from storage.jobs.job_views import job_rows
from storage.lifecycle import DeliveryOutcome, JobStatus
from tests.receiver import OK, OPENED, Answer, receiving, silence, status
from tests.storage.job_builder import Row, bring_to

OLD, NEW = (f"whsec_{base64.b64encode(bytes([number] * 24)).decode()}" for number in (1, 2))
LOOPBACK = read_networks(OPENED)
ID = "m" * 26
PUBLIC = "https://up.example"


def webhooks(*, secrets: str = OLD, clock: float = 1_700_000_000.9, timeout: float = 5) -> Webhooks:
    client = SafeClient(LOOPBACK, timeout_seconds=timeout, max_reply_bytes=65536)
    return Webhooks(read_secrets(secrets), client, opened=LOOPBACK, public_url=PUBLIC, clock=lambda: clock)


def ended(database: Database, how: JobStatus = JobStatus.SUCCEEDED) -> Row:
    job_id = bring_to(database, how)
    with database.read() as connection:
        return dict(job_rows(connection, [job_id])[0])


def send(database: Database, answer: Answer = OK, **changes: Any) -> Delivery:
    with receiving(answer) as receiver:
        return webhooks(**changes).send(Message(ID, receiver.url, "en", ended(database)))


def test_the_signature_is_the_one_of_the_standards_own_example() -> None:
    [secret] = read_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "text",
    [
        "shared-word", "whsec_", "whsec_!!!!", "whsec_" + "A" * 28, "whsec_" + "A" * 92,
        "whsek_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", f"{OLD};{NEW}", f"{OLD},x",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and 24 to 64 random bytes") as refusal:
        read_secrets(text)

    assert text not in str(refusal.value) or text == "whsec_"


def test_a_list_of_secrets_may_hold_spaces_and_empty_places() -> None:
    assert read_secrets(f" {OLD} ,, {NEW},") == (bytes([1] * 24), bytes([2] * 24))
    assert read_secrets("") == ()


@pytest.mark.parametrize("how", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_the_body_is_the_status_under_a_type_and_the_time_of_the_end(database: Database, how: JobStatus) -> None:
    row = ended(database, how)
    with receiving() as receiver:
        webhooks().send(Message(ID, receiver.url, "en", row))

    body = json.loads(receiver.received[0].body)
    assert body == {"type": f"job.{how}", "timestamp": body["data"]["finished_at"], "data": document(row, PUBLIC)}
    assert body["data"]["links"]["self"] == f"{PUBLIC}/jobs/{row['id']}"
    assert len(receiver.received[0].body) < 20_000


def test_every_secret_signs_id_timestamp_and_the_exact_bytes(database: Database) -> None:
    with receiving() as receiver:
        webhooks(secrets=f"{OLD},{NEW}").send(Message(ID, receiver.url, "en", ended(database)))

    [request] = receiver.received
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == (ID, "1700000000")
    assert request.headers["content-type"] == "application/json"
    signed = f"{ID}.1700000000.".encode() + request.body
    expected = [
        "v1," + base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), signed, sha256)).decode()
        for secret in (OLD, NEW)
    ]
    assert request.headers["webhook-signature"].split(" ") == expected


def test_another_delivery_sends_the_same_bytes_and_id_with_its_own_time(database: Database) -> None:
    message = Message(ID, "", "en", ended(database))
    with receiving() as receiver:
        for clock in (1_700_000_000, 1_700_000_300):
            webhooks(clock=clock).send(Message(ID, receiver.url, "en", message.job))

    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == ("1700000000", "1700000300")
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(database: Database, code: int) -> None:
    assert send(database, status(code)) == Delivery(DeliveryOutcome.DELIVERED, code)


@pytest.mark.parametrize("code", [301, 302, 304, 308, 400, 401, 404, 429, 500, 503])
def test_all_else_is_tried_again(database: Database, code: int) -> None:
    delivery = send(database, status(code, "Location: http://127.0.0.1:9/"))

    assert (delivery.outcome, delivery.status_code) == (DeliveryOutcome.FAILED, code)


def test_410_is_the_end(database: Database) -> None:
    delivery = send(database, status(410))

    assert (delivery.outcome, delivery.status_code) == (DeliveryOutcome.REFUSED, 410)
    assert pause_after(1, delivery) is None


def test_a_receiver_that_stalls_is_told_as_such(database: Database) -> None:
    assert send(database, silence, timeout=0.3) == Delivery(
        DeliveryOutcome.FAILED, None, "No whole answer came within 0.3 s."
    )


def test_a_url_that_may_not_be_called_any_more_is_a_failure(database: Database) -> None:
    client = SafeClient(timeout_seconds=1, max_reply_bytes=1)
    closed = Webhooks(read_secrets(OLD), client)
    with receiving() as receiver:
        delivery = closed.send(Message(ID, receiver.url, "en", ended(database)))

    assert (delivery.outcome, receiver.connections) == (DeliveryOutcome.FAILED, 0)


def test_no_secret_stands_in_what_is_told_of_a_delivery(database: Database) -> None:
    for answer in (status(500), status(410), silence):
        detail = send(database, answer, timeout=0.3).detail
        assert detail is not None
        assert "whsec" not in detail
        assert "127.0.0.1" not in detail


@pytest.mark.parametrize(("field", "seconds"), [("120", 120), ("0", 0), ("-1", 0), ("soon", 0), ("9" * 12, 0)])
def test_a_pause_the_receiver_asks_for_is_heard(database: Database, field: str, seconds: float) -> None:
    assert send(database, status(503, f"Retry-After: {field}")).pause_seconds == seconds


FAILED = Delivery(DeliveryOutcome.FAILED)


def test_pauses_follow_the_schedule_and_its_jitter_and_then_end() -> None:
    assert RETRY_PAUSES_SECONDS == (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600)
    for tries, pause in enumerate(RETRY_PAUSES_SECONDS, 1):
        drawn = [pause_after(tries, FAILED) or 0 for _ in range(50)]
        assert all(pause <= value <= (1 + JITTER) * pause for value in drawn)
        assert len(set(drawn)) > 40
    assert pause_after(7, FAILED) is None


def test_a_longer_pause_that_was_asked_for_is_kept_up_to_the_longest() -> None:
    assert pause_after(1, Delivery(DeliveryOutcome.FAILED, pause_seconds=900)) == 900
    assert pause_after(1, Delivery(DeliveryOutcome.FAILED, pause_seconds=10**9)) == RETRY_PAUSES_SECONDS[-1]


def test_what_has_arrived_is_not_sent_again() -> None:
    assert pause_after(1, Delivery(DeliveryOutcome.DELIVERED, 200)) is None
