"""The receiver of docs/messages.md, as printed: it takes what the service sends and refuses what anybody else does."""

from __future__ import annotations

import base64
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.values.webhook_signature import signature
from tests.acceptance.asking import ask, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.receiver import OPENED

PAGE = Path(__file__).parents[2] / "docs" / "messages.md"
PRINTED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECRET, OTHER = bytes(range(32)), bytes(32)
BODY = b'{"type": "job.succeeded"}'


def written(secret: bytes) -> str:
    return "whsec_" + base64.b64encode(secret).decode()


@dataclass(frozen=True)
class PrintedReceiver:
    """The program from the page while it runs; only its port was changed, as 9000 may be taken."""

    url: str
    output: Path

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def post(self, *signatures: str, name: str = "m1", sent_at: int | None = None, body: bytes = BODY) -> int:
        moment = str(int(time.time()) if sent_at is None else sent_at)
        return ask(
            self.url,
            "POST",
            body,
            webhook_id=name,
            webhook_timestamp=moment,
            webhook_signature=" ".join(signatures),
        ).status


def program() -> str:
    [code] = PRINTED.findall(PAGE.read_text())
    return str(code)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[PrintedReceiver]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    script, output = tmp_path / "receiver.py", tmp_path / "output"
    script.write_text(program().replace("9000", str(port)))
    environment = {**os.environ, "WEBHOOK_SECRET": written(SECRET)}
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, script], env=environment, stdout=out, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
    try:
        until(lambda: is_open(port), what="the receiver")
        yield PrintedReceiver(f"http://127.0.0.1:{port}/", output)
    finally:
        process.kill()
        process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_program_has_fifteen_lines() -> None:
    assert len([line for line in program().splitlines() if line]) == 15


def test_it_takes_what_the_service_sends_also_while_secrets_are_exchanged(
    receiver: PrintedReceiver, start_service: StartService
) -> None:
    secrets = f"{written(OTHER)},{written(SECRET)}"
    service = start_service(webhook_secrets=secrets, webhook_allow_networks=OPENED)
    job = upload(service.url, b"hello " * 1000, options=f"callback_url={receiver.url}")
    [line] = until(receiver.lines, what="the webhook")

    key = f"Bearer {job['manage_key']}"
    [message] = until(
        lambda: [
            one
            for one in ask(f"{service.url}/jobs/{job['id']}/deliveries", Authorization=key).json["messages"]
            if one["status"] == "sent"
        ],
        what="the record of it",
    )
    assert line == f"{message['id']} job.succeeded"
    assert [one["status_code"] for one in message["deliveries"]] == [204]


def test_it_refuses_what_is_not_signed_with_its_secret_or_is_old(receiver: PrintedReceiver) -> None:
    now = int(time.time())
    genuine = signature(SECRET, "m1", now, BODY)
    old = signature(SECRET, "m1", now - 400, BODY)

    assert receiver.post(genuine, sent_at=now) == 204
    assert receiver.post(signature(OTHER, "m1", now, BODY), genuine, sent_at=now) == 204
    assert receiver.post(signature(OTHER, "m1", now, BODY), sent_at=now) == 401
    assert receiver.post(genuine, sent_at=now, body=BODY + b" ") == 401
    assert receiver.post(genuine, sent_at=now, name="m2") == 401
    assert receiver.post(genuine, sent_at=now + 1) == 401
    assert receiver.post(old, sent_at=now - 400) == 401
    assert receiver.post("v1,", sent_at=now) == 401
    assert receiver.lines() == ["m1 job.succeeded"] * 2
