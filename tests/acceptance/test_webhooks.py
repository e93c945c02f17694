"""Webhooks of a real service: they arrive, signed, whatever is killed meanwhile, and hold nothing else up."""

from __future__ import annotations

import base64
import hmac
import json
import random
import time
from hashlib import sha256
from typing import Any

import pytest

from tests.acceptance.asking import ask, running, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess, end
from tests.receiver import OPENED, Receiver, in_turn, receiving, silence, status
from tests.service.payloads import mixed, text

SECRET = bytes(range(32))
SETTINGS = {
    "webhook_secrets": "whsec_" + base64.b64encode(SECRET).decode(),
    "webhook_allow_networks": OPENED,
    "poll_seconds": 0.2,
}


def messages(service: ServiceProcess, job: dict[str, Any]) -> list[dict[str, Any]]:
    answer = ask(f"{service.url}/jobs/{job['id']}/deliveries", Authorization=f"Bearer {job['manage_key']}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["messages"]
    return found


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.received]


def submit(
    service: ServiceProcess, receiver: Receiver, data: bytes = b"hello " * 1000, more: str = ""
) -> dict[str, Any]:
    return upload(service.url, data, options=f"callback_url={receiver.url.replace('?', '%3F')}{more}")


def arrived(service: ServiceProcess, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the job's messages once all of them have arrived."""

    def all_sent() -> list[dict[str, Any]] | None:
        found = messages(service, job)
        return found if found and all(one["status"] == "sent" for one in found) else None

    return until(all_sent, what="the arrival of every message")


def test_a_finished_job_calls_its_receiver_signed_and_at_once(start_service: StartService) -> None:
    with receiving() as receiver:
        service = start_service(**SETTINGS)
        job = submit(service, receiver)
        document = succeeded(service.url, job["id"])
        began = time.monotonic()
        [message] = arrived(service, job)
        took = time.monotonic() - began

    [request] = receiver.received
    assert json.loads(request.body) == {
        "type": "job.succeeded",
        "timestamp": document["finished_at"],
        "data": document,
    }
    assert request.headers["webhook-id"] == message["id"]
    signed = f"{message['id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.digest(SECRET, signed, sha256)).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(request.at - int(request.headers["webhook-timestamp"])) < 30
    assert took < 10
    assert SETTINGS["webhook_secrets"] not in service.log()
    assert receiver.url not in service.log()


def test_a_failed_delivery_is_tried_again_after_five_seconds_with_the_same_bytes(start_service: StartService) -> None:
    with receiving(in_turn(status(503), status(200))) as receiver:
        service = start_service(**SETTINGS)
        job = submit(service, receiver)
        [message] = arrived(service, job)

    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert second.at - first.at >= 5
    assert [one["status_code"] for one in message["deliveries"]] == [503, 200]


def test_a_cancelled_job_tells_of_it(start_service: StartService) -> None:
    with receiving() as receiver:
        service = start_service(**SETTINGS, worker_jobs=1)
        busy = submit(service, receiver, mixed(60_000_000), "&format=xz&level=small")
        running(service.url, busy["id"])
        queued = submit(service, receiver)
        for job in (queued, busy):
            ask(f"{service.url}/jobs/{job['id']}/cancel", "POST", Authorization=f"Bearer {job['manage_key']}")
            arrived(service, job)

    assert {(body["type"], body["data"]["id"]) for body in bodies(receiver)} == {
        ("job.cancelled", queued["id"]),
        ("job.cancelled", busy["id"]),
    }


def test_a_replay_sends_the_same_message_again(start_service: StartService) -> None:
    with receiving(in_turn(status(410), status(200))) as receiver:
        service = start_service(**SETTINGS)
        job = submit(service, receiver)
        succeeded(service.url, job["id"])
        until(lambda: [one["status"] for one in messages(service, job)] == ["failed"])
        [message] = messages(service, job)
        replay = f"{service.url}/jobs/{job['id']}/deliveries/{message['id']}/replay"
        assert ask(replay, "POST", Authorization=f"Bearer {job['manage_key']}").status == 202
        arrived(service, job)

    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_a_network_that_was_closed_again_is_not_called(start_service: StartService) -> None:
    with receiving(status(500)) as receiver:
        service = start_service(**SETTINGS)
        job = submit(service, receiver)
        until(lambda: receiver.received)
        until(lambda: messages(service, job)[0]["deliveries"][0]["outcome"] == "failed")
        service.kill()
        called = receiver.connections
        service.settings["VACPACK_WEBHOOK_ALLOW_NETWORKS"] = ""
        service.start()
        until(lambda: len(messages(service, job)[0]["deliveries"]) == 2)
        until(lambda: messages(service, job)[0]["deliveries"][1]["outcome"] == "failed")

    assert receiver.connections == called


def test_receivers_that_stall_hold_up_neither_jobs_nor_the_messages_of_others(start_service: StartService) -> None:
    with receiving(silence) as stalled, receiving() as quick:
        service = start_service(**SETTINGS)
        for _ in range(30):
            submit(service, stalled)
        until(lambda: stalled.connections >= 2)
        began = time.monotonic()
        jobs = [submit(service, quick, text(50_000, number)) for number in range(5)]
        for job in jobs:
            succeeded(service.url, job["id"])
            arrived(service, job)
        took = time.monotonic() - began

        # One stalled delivery takes 10 s, and there are thirty.
        assert took < 8
        assert stalled.connections <= 4


def test_a_kill_at_any_moment_neither_loses_nor_strands_a_message(start_service: StartService) -> None:
    chance = random.Random(7)
    slow = status(200)

    def answer(connection: Any, received: Any) -> None:
        # Long enough to be killed in: before the receiver has it, while it has it, before that is written down.
        time.sleep(chance.uniform(0, 0.15))
        slow(connection, received)

    jobs: list[dict[str, Any]] = []
    with receiving(answer) as receiver:
        service = start_service(**SETTINGS)
        for number in range(14):
            jobs += [submit(service, receiver, text(20_000, 10 * number + index)) for index in range(4)]
            time.sleep(chance.uniform(0, 0.4))
            if number % 3 == 2:
                service.kill()
                service.start()
            else:
                end(service.worker_pid())
        for job in jobs:
            [message] = arrived(service, job)
            assert message["type"] == "job.succeeded"
        expected = {messages(service, job)[0]["id"] for job in jobs}

    ids = receiver.ids()
    assert set(ids) == expected
    assert {body["data"]["id"] for body in bodies(receiver)} == {job["id"] for job in jobs}
    by_id = dict(zip(ids, (request.body for request in receiver.received), strict=True))
    assert all(by_id[name] == request.body for name, request in zip(ids, receiver.received, strict=True))


@pytest.mark.parametrize("moment", ["before it answers", "long before the retry"])
def test_a_whole_service_killed_with_a_message_under_way_sends_it_after_its_start(
    start_service: StartService, moment: str
) -> None:
    first = silence if moment == "before it answers" else status(500)
    with receiving(in_turn(first, status(200))) as receiver:
        service = start_service(**SETTINGS)
        job = submit(service, receiver)
        until(lambda: receiver.received)
        service.kill()
        service.start()
        [message] = arrived(service, job)

    assert len(receiver.received) == 2
    assert [one["outcome"] for one in message["deliveries"]][-1] == "delivered"


def test_a_job_whose_grave_is_short_stays_until_its_message_has_arrived(start_service: StartService) -> None:
    with receiving(in_turn(status(500), status(200))) as receiver:
        service = start_service(**SETTINGS, grave_seconds=0, sweep_seconds=0.2)
        job = submit(service, receiver, more="&expires=1s")
        until(lambda: len(receiver.received) == 2)
        until(lambda: not service.rows("SELECT 1 FROM jobs"), what="the pruning")

    first, second = bodies(receiver)
    assert first == second
    assert first["data"]["id"] == job["id"]


def test_a_stalled_receiver_does_not_hold_a_shutdown_up(start_service: StartService) -> None:
    with receiving(silence) as receiver:
        service = start_service(**SETTINGS)
        submit(service, receiver)
        until(lambda: receiver.received)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 8

        receiver.answer = status(200)
        service.start()
        until(lambda: len(receiver.received) == 2)
