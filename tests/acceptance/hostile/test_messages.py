"""An upload that is cancelled and run again in a loop, and uploads by the dozen: few messages, whoever is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.acceptance.asking import job_at
from tests.acceptance.conftest import StartService
from tests.acceptance.hostile.attacker import hostile_ask
from tests.acceptance.hostile.victim import beside_victim
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.acceptance.test_email import sending_to
from tests.acceptance.test_webhooks import SETTINGS
from tests.mail_server import Inbox, serving
from tests.receiver import receiving
from tests.service.payloads import text

RETRIES, MESSAGES, UPLOADS = 6, 5, 20
LARGE = text(24 * 1024**2)
"""More than is compressed before it is cancelled."""


@contextmanager
def mailbox() -> Iterator[tuple[dict[str, Any], str, list[Any]]]:
    inbox = Inbox()
    with serving(inbox) as port:
        yield sending_to(port), "notify_email=ann@mail.example", inbox.letters


@contextmanager
def hook() -> Iterator[tuple[dict[str, Any], str, list[Any]]]:
    with receiving() as receiver:
        yield SETTINGS, f"callback_url={receiver.url.replace('?', '%3F')}", receiver.received


def loop(service: ServiceProcess, option: str) -> int:
    """Cancel a job and run it again until that is refused; return how often it was run again."""
    job = hostile_ask(service, f"/uploads/f?format=xz&level=small&{option}", "PUT", LARGE).json
    key = {"Authorization": f"Bearer {job['manage_key']}"}
    for number in range(10 * RETRIES):
        assert hostile_ask(service, f"/jobs/{job['id']}/cancel", "POST", **key).status in (200, 202)
        until(lambda: job_at(service.url, job["id"])["status"] == "cancelled", what="its cancel")
        again = hostile_ask(service, f"/jobs/{job['id']}/retry", "POST", **key)
        if again.status != 202:
            assert again.json["code"] == "too_many_retries"
            return number
    return 10 * RETRIES


@pytest.mark.parametrize("told", [mailbox, hook])
def test_who_is_told_gets_few_messages_however_often_a_job_ends(start_service: StartService, told: Any) -> None:
    with told() as (settings, option, arrived):
        limits = {"max_retries": RETRIES, "max_messages_per_target_per_hour": MESSAGES}
        service = start_service(**settings | limits | {"worker_jobs": 2})
        with beside_victim(service):
            run_again = loop(service, option)
            made = [hostile_ask(service, f"/uploads/f?{option}", "PUT", b"x").json["id"] for _ in range(UPLOADS)]
            until(lambda: not set(made) & unfinished(service), what="the end of all")
            until(lambda: not service.rows("SELECT 1 FROM outbox WHERE status = 'pending'"), what="no message waiting")

    assert run_again == RETRIES
    assert 0 < len(arrived) <= MESSAGES


def unfinished(service: ServiceProcess) -> set[str]:
    return {row["id"] for row in service.rows("SELECT id FROM jobs WHERE finished_at IS NULL")}
