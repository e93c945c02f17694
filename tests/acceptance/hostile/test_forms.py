"""Forms that are large everywhere but in their files: refused when they have had what a form needs, and not later."""

from __future__ import annotations

import pytest

from tests.acceptance.hostile.attacker import hostile_head, hostile_send, together
from tests.acceptance.hostile.victim import beside_victim
from tests.acceptance.raw_socket import END, FORM, part
from tests.acceptance.service_process import ServiceProcess
from tests.acceptance.test_memory import MIB

FORMS_SENT = 6
FIELDS = 100_000
FILE = part("file", b"x", filename="a")
LINE = f"X-Long: {'x' * 7000}\r\n"
BODIES = {
    "epilogue": FILE + END + bytes(16 * MIB),
    "lines in the epilogue": FILE + END + b"\r\n" * (8 * MIB),
    "preamble": b"x" * (16 * MIB) + b"\r\n" + FILE + END,
    "lines in the preamble": b"--lim\r\n" * (2 * MIB) + FILE + END,
    "part headers": part("a", b"", headers=LINE) * 2300 + FILE + END,
    "short part headers": part("a", b"", headers="A: b\r\n" * 4000) + FILE + END,
    "empty fields": part("a", b"") * FIELDS + FILE + END,
    "empty files": part("file", b"", filename="") * FIELDS + FILE + END,
}
URLENCODED = {"fields": b"a=&" * FIELDS, "one field": b"a=" + b"%41" * (4 * MIB), "separators": b"&" * (8 * MIB)}


def attacked(service: ServiceProcess, content_type: str, body: bytes) -> None:
    request = hostile_head("POST /uploads", content_type, f"Content-Length: {len(body)}") + body
    hostile_send(service, request)
    with beside_victim(service):
        answers = together(lambda _: hostile_send(service, request), FORMS_SENT)
    assert {answer.status for answer in answers} <= {400, 413, 415, 422}, answers[0].body
    assert not service.stored()


@pytest.mark.parametrize("where", BODIES)
def test_a_form_s_bytes_are_counted_wherever_they_are(service: ServiceProcess, where: str) -> None:
    attacked(service, FORM, BODIES[where])


@pytest.mark.parametrize("what", URLENCODED)
def test_so_are_those_of_a_form_without_files(service: ServiceProcess, what: str) -> None:
    attacked(service, "Content-Type: application/x-www-form-urlencoded", URLENCODED[what])
