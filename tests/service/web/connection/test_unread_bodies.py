"""The rest of a body whose request has been answered has a few seconds: nobody reads it, or asks a pace of it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from service.settings import Settings
from service.web.connection.protocol import LimitedProtocol
from tests.acceptance.raw_socket import head, read_answer
from tests.service.web.live_server import LiveServer, live_server
from tests.storage.job_builder import submit

LENGTH = 1_000_000
MOST_BYTES = 200
"""Sent one by one, 50 ms apart, to a service that should be gone after 300 ms."""


@pytest.fixture(params=["uvloop", "asyncio"])
def live(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    monkeypatch.setattr(LimitedProtocol, "rest_timeout_seconds", 0.3)
    with live_server(settings, loop=request.param) as server:
        yield server


def answered(live: LiveServer) -> socket.socket:
    """Return a connection whose request has its answer, and not yet its body."""
    job_id = submit(live.parts.database)
    connection = socket.create_connection(live.address, timeout=20)
    connection.sendall(head(f"POST /jobs/{job_id}/cancel", f"Content-Length: {LENGTH}"))
    assert read_answer(connection).status < 500
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Return whether the service has ended the connection, waiting 50 ms for it."""
    readable, _, _ = select.select([connection], [], [], 0.05)
    try:
        return bool(readable) and connection.recv(1) == b""
    except ConnectionError:
        return True


def bytes_taken(connection: socket.socket) -> int:
    """Return how many bytes were taken, one at a time, until the connection was closed."""
    for count in range(MOST_BYTES):
        if is_closed(connection):
            return count
        try:
            connection.sendall(b"x")
        except ConnectionError:
            return count
    return MOST_BYTES


def test_a_body_that_trickles_behind_its_answer_ends_the_connection(live: LiveServer) -> None:
    with closing(answered(live)) as connection:
        assert bytes_taken(connection) < MOST_BYTES


def test_one_that_comes_in_time_leaves_the_connection_to_the_next_request(live: LiveServer) -> None:
    with closing(answered(live)) as connection:
        connection.sendall(bytes(LENGTH) + head("GET /livez"))
        assert read_answer(connection).status == 200
        assert not any(is_closed(connection) for _ in range(10))


def test_when_it_has_come_the_next_request_has_the_time_of_a_head(live: LiveServer) -> None:
    """The body has put an end to the timer that uvicorn has for idle connections."""
    with closing(answered(live)) as connection:
        (protocol,) = live.connections
        protocol.header_timeout_seconds = 0.3
        connection.sendall(bytes(LENGTH))
        assert any(is_closed(connection) for _ in range(MOST_BYTES))
