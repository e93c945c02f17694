"""Somebody else's Idempotency-Key: it opens nothing, and stops nothing."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from http.client import HTTPMessage

from tests.acceptance.hostile.attacker import hostile_ask, hostile_head
from tests.acceptance.hostile.victim import VICTIM, beside_victim
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected, head, read_answer
from tests.acceptance.service_process import ServiceProcess

DATA = b"mine " * 100_000
LINES = (
    f"Content-Length: {len(DATA)}",
    'Idempotency-Key: "nightly"',
    f"Repr-Digest: sha-256=:{b64encode(sha256(DATA).digest()).decode()}:",
)
OWN = head("PUT /uploads/f.log", f"X-Forwarded-For: {VICTIM}", *LINES)
FOREIGN = hostile_head("PUT /uploads/f.log", *LINES)


def key_of(headers: HTTPMessage) -> str | None:
    return headers["Vacpack-Manage-Key"]


def test_a_key_that_another_address_uses_gives_it_nothing_and_stops_nothing(service: ServiceProcess) -> None:
    with beside_victim(service), connected(service) as own:
        before = service.stored()
        own.sendall(OWN + DATA[: len(DATA) // 2])
        until(lambda: service.stored() - before, what="the upload under way")
        for _ in range(20):
            with connected(service) as foreign:
                foreign.sendall(FOREIGN)
        taken = hostile_ask(service, "/uploads/f.log", "PUT", b"other", Idempotency_Key='"nightly"')
        own.sendall(DATA[len(DATA) // 2 :])
        mine = read_answer(own)

    assert (mine.status, taken.status) == (202, 202)
    assert mine.json["id"] != taken.json["id"]
    assert key_of(mine.headers) != key_of(taken.headers)


def test_whose_key_it_is_has_it_still_after_others_tried(service: ServiceProcess) -> None:
    with connected(service) as own:
        own.sendall(OWN + DATA)
        first = read_answer(own)
    foreign = hostile_ask(service, "/uploads/f.log", "PUT", DATA, Idempotency_Key='"nightly"')
    with connected(service) as own:
        own.sendall(OWN + DATA)
        again = read_answer(own)

    assert again.json["id"] == first.json["id"]
    assert key_of(again.headers) == key_of(first.headers)
    assert foreign.status in (202, 422)
    assert first.json["id"] not in foreign.body.decode()
