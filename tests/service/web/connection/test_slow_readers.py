"""Answers that nobody takes: the connection is dropped, and who reads slowly enough to go on is left alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from service.settings import Settings
from service.web.connection.slow_readers import SendPace
from service.work.work_settings import work_settings
from storage.files.local_files import LocalFiles
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import head, read_to_end
from tests.service.payloads import noise
from tests.service.web.live_server import LiveServer, live_server
from tests.service.work.bench import Bench

SIZE = 24_000_000
"""More than the buffers between hold."""
WAYS = {
    "stored": ("GET /jobs/{id}/result", ()),
    "decoded": ("GET /jobs/{id}/original", ()),
    "transcoded": ("GET /jobs/{id}/result?format=gzip", ()),
}

dropped: list[str] = []


@pytest.fixture(params=["uvloop", "asyncio"])
def live(request: pytest.FixtureRequest, settings: Settings) -> Iterator[LiveServer]:
    dropped.clear()
    pace = SendPace(min_bytes_per_second=1000, rate_seconds=0.5, told=lambda: dropped.append("connection"))
    with live_server(settings, loop=request.param, send_pace=pace) as server:
        yield server


@pytest.fixture
def job_id(live: LiveServer, settings: Settings) -> str:
    with closing(connected(live)) as connection:
        connection.sendall(head("PUT /noise.bin?format=zstd&level=fast", f"Content-Length: {SIZE}"))
        connection.sendall(noise(SIZE))
        connection.shutdown(socket.SHUT_WR)
        answer, _ = read_to_end(connection)
    assert isinstance(live.parts.store, LocalFiles)
    row = Bench(live.parts.database, live.parts.store, work_settings(settings)).run()
    assert (answer[9:12], row["status"]) == (b"202", "succeeded")
    return str(row["id"])


def connected(live: LiveServer) -> socket.socket:
    connection = socket.socket()
    # Small, so that what is not read is soon felt.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.settimeout(60)
    connection.connect(live.address)
    return connection


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_nobody_reads_ends_with_its_connection(live: LiveServer, job_id: str, way: str) -> None:
    line, headers = WAYS[way]
    with ExitStack() as stack:
        silent = [stack.enter_context(closing(connected(live))) for _ in range(4)]
        for connection in silent:
            connection.sendall(head(line.format(id=job_id), *headers))
            assert connection.recv(12) == b"HTTP/1.1 200"
        until(lambda: not live.connections, what="the end of all connections")
    assert len(dropped) == 4


def test_many_small_answers_that_nobody_reads_end_too(live: LiveServer) -> None:
    """Each fits into a buffer; together they do not, and closing would wait for them."""
    with closing(connected(live)) as connection:
        connection.settimeout(0.2)
        with suppress(OSError):
            # Until nothing more is taken.
            for _ in range(10_000):
                connection.sendall(head("GET /openapi.json") * 20)
        until(lambda: not live.connections, what="the end of the connection")
    assert dropped == ["connection"]


def test_who_reads_slowly_gets_it_all(live: LiveServer, job_id: str) -> None:
    with closing(connected(live)) as connection:
        connection.sendall(head(f"GET /jobs/{job_id}/result", "Range: bytes=0-3999999", "Connection: close"))
        received = 0
        # So small pieces that most of it is still on its way when the client is looked at.
        while piece := connection.recv(1000):
            received += len(piece)
    assert received > 4_000_000
    assert dropped == []


def test_a_client_that_waits_for_an_answer_is_not_one_that_does_not_read(live: LiveServer) -> None:
    with closing(connected(live)) as connection:
        connection.sendall(head("PUT /later.txt", "Content-Length: 1") + b"x")
        location = connection.recv(4000).decode().partition("location: ")[2].split()[0]
    with closing(connected(live)) as connection:
        # Longer than an answer may take to be taken.
        connection.sendall(head(f"GET {location}?wait=2", "Connection: close"))
        assert read_to_end(connection)[0].startswith(b"HTTP/1.1 200")
    assert dropped == []
