"""Chunks of one byte: what a body costs goes by its bytes, and not by the square of them."""

from __future__ import annotations

from tests.acceptance.asking import Answer
from tests.acceptance.hostile.attacker import hostile_head, hostile_send, statuses, together
from tests.acceptance.hostile.victim import beside_victim
from tests.acceptance.raw_socket import CHUNKED, chunk
from tests.acceptance.service_process import ServiceProcess

UPLOADS, CHUNKS = 8, 60_000
BODY = hostile_head("PUT /uploads/f", CHUNKED) + chunk(b"x") * CHUNKS + chunk(b"")


def test_uploads_in_chunks_of_one_byte_hold_up_nobody(service: ServiceProcess) -> None:
    def send(_: int) -> Answer:
        return hostile_send(service, BODY)

    send(0)
    with beside_victim(service):
        answers = together(send, UPLOADS)

    assert statuses(answers) == {(202, "")}
    assert {answer.json["source"]["size_bytes"] for answer in answers} == {CHUNKS}
