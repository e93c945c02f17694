"""Names and fields that cost their readers most: work on the event loop is bounded, whatever one request holds."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.acceptance.hostile.attacker import hostile_ask, hostile_head, hostile_send, statuses, together
from tests.acceptance.hostile.victim import beside_victim
from tests.acceptance.raw_socket import END, FORM, connected, part, read_answer
from tests.acceptance.service_process import ServiceProcess
from tests.acceptance.test_memory import MIB
from tests.service.payloads import text

MARKS = "a" + "\u0315\u0300" * 1500
PARTS, FORMS, HEADS = 50, 10, 60

WORST_FIELDS = {
    "semicolons of a type": "Content-Type: multipart/form-data" + ";" * 7900,
    "semicolons of a disposition": "Content-Disposition: attachment" + ";a=b" * 1900,
    "a name of marks": f"Content-Disposition: attachment; filename*=UTF-8''a{'%CC%95%CC%80' * 600}",
    "a name in punycode": f"Content-Disposition: attachment; filename*=punycode''{'a' * 7900}",
    "types that are taken": "Accept: " + "a/b;q=0.1," * 790,
    "languages": "Accept-Language: " + "a-b;q=0.1," * 790,
    "codings": "Accept-Encoding: " + "x;q=0.1," * 980,
    "tags": "If-None-Match: " + '"a",' * 1900,
    "digests": "Repr-Digest: " + "sha-256=:AAAA:," * 520,
    "cookies": "Cookie: " + "vacpack_manage=a;" * 470,
}


HELD, JUNK = 40, 7
"""Requests, and lines of tags in each before the one that counts."""


def form_of_marks() -> bytes:
    body = b"".join(part("file", b"x", filename=MARKS) for _ in range(PARTS)) + END
    return hostile_head("POST /uploads", FORM, f"Content-Length: {len(body)}") + body


def test_forms_with_names_of_combining_marks_hold_up_nobody(service: ServiceProcess) -> None:
    form = form_of_marks()
    hostile_send(service, form)

    with beside_victim(service):
        answers = together(lambda _: hostile_send(service, form), FORMS)

    assert statuses(answers) == {(202, "")}


def test_heads_with_the_worst_of_every_field_hold_up_nobody(service: ServiceProcess) -> None:
    fields = list(WORST_FIELDS.values())
    targets = ("PUT /uploads/f", "GET /", "POST /uploads")

    def send(number: int) -> int:
        line = targets[number % len(targets)]
        return hostile_send(service, hostile_head(line, fields[number % len(fields)], "Content-Length: 0")).status

    together(send, len(fields))
    with beside_victim(service):
        answered = together(send, HEADS)

    assert max(answered) < 500


@pytest.mark.parametrize("marks", ["%CC%80", "%CC%95%CC%80"])
def test_targets_of_combining_marks_hold_up_nobody(service: ServiceProcess, marks: str) -> None:
    request = hostile_head(f"PUT /uploads/a{marks * (7000 // len(marks))}", "Content-Length: 1") + b"x"
    hostile_send(service, request)

    with beside_victim(service):
        answers = together(lambda _: hostile_send(service, request), HEADS)

    assert statuses(answers) == {(202, "")}


def test_held_requests_with_thousands_of_tags_hold_up_nobody(service: ServiceProcess) -> None:
    key = {"Authorization": f"Bearer {service.admin_token()}"}
    job = hostile_ask(service, "/uploads/f?format=xz&level=small", "PUT", text(24 * MIB)).json
    tags = [f"If-None-Match: {WORST_FIELDS['tags'].partition(': ')[2]}"] * JUNK

    with beside_victim(service) as victim, ExitStack() as stack:
        held = [stack.enter_context(connected(service)) for _ in range(HELD)]
        for connection in held:
            connection.sendall(hostile_head(f"GET /jobs/{job['id']}?wait=20", *tags))
        victim.goes_on()
        assert hostile_ask(service, f"/jobs/{job['id']}", "DELETE", **key).status == 204
        assert {read_answer(connection).status for connection in held} <= {200, 404}
