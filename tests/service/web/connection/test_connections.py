"""Connections are counted, in all and per address, and who is refused is told."""

from __future__ import annotations

import json
import logging

import pytest

from service.caller import Callers
from service.errors import ADDRESS_SHARE, TOO_MANY_CONNECTIONS, ServiceError
from service.web.connection.connections import ConnectionLimits, Connections, refusal_bytes


def connections(met: list[str], *, in_all: int = 100, per_address: int = 100) -> Connections:
    return Connections(ConnectionLimits(in_all, per_address), Callers(), met.append)


def test_no_more_are_let_in_than_may_be_open_whoever_they_are() -> None:
    met = list[str]()
    counted = connections(met, in_all=2)
    assert [counted.enter("127.0.0.1"), counted.enter("192.0.2.1")] == [None, None]

    refusal = counted.enter("192.0.2.2")
    assert refusal is not None
    assert (refusal.kind, met) == (TOO_MANY_CONNECTIONS, ["max_connections"])

    counted.leave("192.0.2.2")
    counted.leave("192.0.2.1")
    assert counted.enter("192.0.2.2") is None


def test_one_address_has_its_share_and_this_machine_all() -> None:
    met = list[str]()
    counted = connections(met, per_address=1)
    assert counted.enter("2001:db8::1") is None

    refusal = counted.enter("2001:db8::2")
    assert refusal is not None
    assert (refusal.kind, met) == (ADDRESS_SHARE, ["max_connections_per_address"])
    assert [counted.enter(host) for host in ("127.0.0.1", "127.0.0.1", "2001:db8:1::1", None, None)] == [None] * 5


def test_a_flood_of_refusals_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    counted = connections([], in_all=0)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            counted.enter("192.0.2.1")

    assert [record.message for record in caplog.records] == ["connections are refused"]


def test_a_refusal_is_a_whole_answer() -> None:
    head, _, body = refusal_bytes(ServiceError(TOO_MANY_CONNECTIONS, "No.", headers={"Retry-After": "5"})).partition(
        b"\r\n\r\n"
    )

    assert head.splitlines()[0] == b"HTTP/1.1 503 Too many connections are open"
    assert b"Retry-After: 5" in head.splitlines()
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["code"] == "too_many_connections"
