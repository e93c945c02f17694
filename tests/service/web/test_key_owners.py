"""An ``Idempotency-Key`` belongs to the address that used it; the manage key to who has the bytes."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Any

from tests.service.web.in_process import InProcess, from_address

CONTENT = b"hello " * 20_000
DIGEST = {"Repr-Digest": f"sha-256=:{b64encode(sha256(CONTENT).digest()).decode()}:"}
KEY = {"Idempotency-Key": '"nightly"'}


def put(app: InProcess, host: str, content: bytes = CONTENT, **headers: str) -> Any:
    return app.client.put("/a.txt", content=content, headers=from_address(host) | KEY | headers)


def test_a_key_of_another_address_is_another_key(app: InProcess) -> None:
    first = put(app, "192.0.2.1")

    other = put(app, "192.0.2.2", b"another body")

    assert (first.status_code, other.status_code) == (202, 202)
    assert other.json()["id"] != first.json()["id"]
    assert put(app, "192.0.2.1").json()["id"] == first.json()["id"]


def test_a_key_is_good_in_all_of_an_ipv6_network(app: InProcess) -> None:
    first, again, other = (put(app, host) for host in ("2001:db8::1", "2001:db8::2", "2001:db8:1::1"))

    assert first.json() == again.json()
    assert other.json()["id"] != first.json()["id"]


def test_a_repeat_by_its_head_alone_is_told_the_job_and_not_its_manage_key(app: InProcess) -> None:
    first = put(app, "192.0.2.1", **DIGEST).json()

    for accept in ("application/json", "text/html", "text/plain"):
        again = put(app, "192.0.2.1", **DIGEST, Accept=accept)
        assert (again.status_code, again.headers["Vacpack-Job-Id"]) == (202, first["id"])
        assert "Vacpack-Manage-Key" not in again.headers
        assert "set-cookie" not in again.headers
        assert first["manage_key"] not in again.text


def test_a_repeat_that_brings_the_body_is_given_the_manage_key(app: InProcess) -> None:
    assert put(app, "192.0.2.1").json()["manage_key"] == put(app, "192.0.2.1").json()["manage_key"]


def test_on_this_machine_a_head_alone_is_enough(app: InProcess) -> None:
    first = put(app, "127.0.0.1", **DIGEST).json()

    assert put(app, "127.0.0.1", **DIGEST).json() == first


def test_a_form_s_key_is_its_address_s_own_too(app: InProcess) -> None:
    def post(host: str) -> Any:
        files, data = {"file": ("a", b"x")}, {"idempotency_key": "page"}
        headers = from_address(host) | {"Accept": "text/html"}
        return app.client.post("/uploads", data=data, files=files, headers=headers).headers["Vacpack-Job-Id"]

    assert post("192.0.2.1") == post("192.0.2.1")
    assert post("192.0.2.2") != post("192.0.2.1")
