"""What waits on a connection is little, whatever a client sends ahead, and costs time in step with its size."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from service.settings import Settings
from service.web.connection import protocol as http_protocol
from service.web.connection.read_ahead import MAX_CALLS_AT_ONCE, MAX_CHUNKS, MAX_WAITING_REQUESTS, Intake, Pieces
from storage.jobs import job_table
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import CHUNKED, chunk, head, read_answer, read_answers, read_to_end
from tests.service.web.live_server import LiveServer, live_server
from tests.storage.job_builder import act, submit

LIVEZ = head("GET /livez")
BLANK = b"\r\n\r\n"
"""As heads end."""
MANY = 1_500
MOST_CALLS = MAX_CALLS_AT_ONCE + 2 * MAX_CHUNKS
"""For pieces of a body between two turns: those that may be before the last piece, and chunks of a byte in that."""


@pytest.fixture(params=["uvloop", "asyncio"])
def live(request: pytest.FixtureRequest, settings: Settings) -> Iterator[LiveServer]:
    with live_server(settings, loop=request.param) as server:
        yield server


def connected(live: LiveServer) -> socket.socket:
    return socket.create_connection(live.address, timeout=20)


def held(live: LiveServer) -> tuple[str, socket.socket]:
    """Return a job and a connection on which a long-poll for it is held."""
    job_id = submit(live.parts.database)
    connection = connected(live)
    connection.sendall(head(f"GET /jobs/{job_id}?wait=25"))
    until(lambda: live.parts.watch._waiting, what="the request held")
    return job_id, connection


def only(live: LiveServer) -> Any:
    (protocol,) = live.connections
    return protocol


def test_of_requests_sent_ahead_eight_wait_and_the_rest_is_not_read(live: LiveServer) -> None:
    job_id, connection = held(live)
    with closing(connection):
        connection.sendall(LIVEZ * MANY)
        protocol = only(live)
        until(lambda: len(protocol.pipeline) >= MAX_WAITING_REQUESTS, what="requests that wait")
        until(lambda: protocol.flow.read_paused, what="the end of reading")
        assert len(protocol.pipeline) == MAX_WAITING_REQUESTS
        assert protocol._intake.left_bytes <= 256 * 1024

        act(live.parts.database, lambda each: job_table.cancel(each, job_id))
        connection.shutdown(socket.SHUT_WR)
        answers = read_answers(read_to_end(connection)[0], *["GET"] * (1 + MANY))

    assert {answer.status for answer in answers} == {200}
    assert 'vacpack_limits_met_total{limit="pipelined_requests"}' in live.parts.metrics.render().decode()


@pytest.mark.parametrize(
    "piece",
    [LIVEZ, head("PUT /f", "Content-Length: 4") + BLANK, head("PUT /f", CHUNKED) + chunk(BLANK) + chunk(b"")],
    ids=["heads", "bodies", "chunks"],
)
def test_requests_sent_ahead_are_answered_in_their_order(live: LiveServer, piece: bytes) -> None:
    method = piece.split()[0].decode()
    job_id, connection = held(live)
    with closing(connection):
        connection.sendall(piece * 50)
        act(live.parts.database, lambda each: job_table.cancel(each, job_id))
        connection.shutdown(socket.SHUT_WR)
        answers = read_answers(read_to_end(connection)[0], "GET", *[method] * 50)

    assert [answer.status for answer in answers] == [200] + [200 if method == "GET" else 202] * 50
    if method == "PUT":
        assert {answer.json["source"]["size_bytes"] for answer in answers[1:]} == {4}


def counted_turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that will hold how many pieces of a body each turn of a connection brings."""
    turns: list[int] = []
    feed = http_protocol.LimitedProtocol._feed

    def counted(protocol: Any) -> None:
        feed(protocol)
        turns.append(protocol._calls)

    monkeypatch.setattr(http_protocol.LimitedProtocol, "_feed", counted)
    return turns


def test_a_body_in_chunks_of_one_byte_arrives_whole_and_in_turns(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = counted_turns(monkeypatch)
    content = bytes(range(256)) * 1000
    with closing(connected(live)) as connection:
        connection.sendall(head("PUT /f.bin", CHUNKED, "Want-Repr-Digest: sha-256=1"))
        connection.sendall(b"".join(chunk(bytes([byte])) for byte in content) + chunk(b""))
        answer = read_answer(connection)

    assert (answer.status, answer.json["source"]["size_bytes"]) == (202, len(content))
    assert sum(turns) >= len(content)
    assert max(turns) <= MOST_CALLS


def test_chunks_of_one_byte_behind_large_ones_arrive_in_turns_too(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = counted_turns(monkeypatch)
    body = (chunk(bytes(200_000)) + chunk(b"x") * 20_000) * 3 + chunk(b"")
    with closing(connected(live)) as connection:
        connection.sendall(head("PUT /f.bin", CHUNKED))
        connection.sendall(body)
        answer = read_answer(connection)

    assert (answer.status, answer.json["source"]["size_bytes"]) == (202, 3 * 220_000)
    assert sum(turns) >= 60_000
    assert max(turns) <= MOST_CALLS


def test_pieces_are_few_and_their_bytes_in_order() -> None:
    pieces = Pieces(b"<")
    for number in range(100_000):
        pieces.add(bytes([number % 256]))

    assert pieces.count < 1000
    assert len(pieces) == 100_001
    assert bytes(pieces) == b"<" + bytes(number % 256 for number in range(100_000))


def test_one_large_piece_is_not_copied() -> None:
    piece = bytes(100_000)

    assert bytes(Pieces(piece)) is piece


def in_pieces(sent: bytes, cut: int) -> list[bytes]:
    """Have a body in chunks, and what follows it, come in parts of ``cut`` bytes; return the pieces."""
    intake, pieces = Intake(), list[bytes]()
    intake.begin_body(has_chunks=True)
    for at in range(0, len(sent), cut):
        intake.add(sent[at : at + cut])
        while intake.left_bytes:
            pieces.append(bytes(intake.next_piece(None)))
    return pieces


BODIES = {
    "plain": chunk(b"abc") + chunk(b"\r\n\r\n" * 9) + chunk(b""),
    "extensions": b"3;a=b\r\nabc\r\n0;c\r\n\r\n",
    "fields behind": b"0A\r\n0\r\n\r\n0\r\n\r\r\n000\r\nA: b\r\nC: d\r\n\r\n",
    "many": chunk(b"0") * (3 * MAX_CHUNKS) + chunk(b""),
    "nothing": chunk(b""),
}


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7, 11, 64, 100_000])
@pytest.mark.parametrize("kind", BODIES)
def test_no_piece_reaches_from_chunks_into_what_follows(kind: str, cut: int) -> None:
    body = BODIES[kind]
    pieces = in_pieces(body + LIVEZ, cut)

    assert b"".join(pieces) == body + LIVEZ
    ends = list(itertools.accumulate(map(len, pieces)))
    assert len(body) in ends
    assert max(piece.count(b"\r\n") for piece in pieces) <= 2 * MAX_CHUNKS + 2


def test_the_intake_cuts_behind_heads_and_bodies() -> None:
    intake = Intake()
    intake.add(LIVEZ + LIVEZ[:-1])
    intake.add(b"\nbody" + LIVEZ)

    assert [bytes(intake.next_piece(left)) for left in (None, None, 4, None)] == [LIVEZ, LIVEZ, b"body", LIVEZ]
    assert intake.left_bytes == 0


@pytest.mark.parametrize("cut", range(1, len(LIVEZ)))
def test_the_intake_finds_an_end_that_came_in_two(cut: int) -> None:
    intake = Intake()
    intake.add(LIVEZ[:cut])
    begin = bytes(intake.next_piece(None))
    intake.add(LIVEZ[cut:] + LIVEZ)

    assert begin + bytes(intake.next_piece(None)) == LIVEZ
    assert bytes(intake.next_piece(None)) == LIVEZ
