"""Clients that end their sending and wait for answers: each whole request is answered, and no connection stays."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from service.settings import Settings
from service.web.connection import half_closed
from service.web.following import broadcaster
from service.web.following.event_format import COMMENT
from service.work.work_settings import work_settings
from storage.files.local_files import LocalFiles
from storage.jobs import job_table
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import (
    CHUNKED,
    END,
    FORM,
    chunk,
    head,
    part,
    read_answer,
    read_answers,
    read_to_end,
    status_of,
)
from tests.service.payloads import noise, text
from tests.service.web.live_server import LiveServer, live_server
from tests.service.work.bench import Bench
from tests.storage.job_builder import act, everything, finish, running, submit

CONTENT = text(3_000_000)
LIVEZ = head("GET /livez")


@pytest.fixture(params=["uvloop", "asyncio"])
def live(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    monkeypatch.setattr(half_closed, "PING_SECONDS", 0.5)
    monkeypatch.setattr(broadcaster, "COMMENT_SECONDS", 0.5)
    with live_server(settings, loop=request.param) as server:
        yield server
        until(lambda: not server.connections, what="the end of all connections")


@pytest.fixture
def bench(live: LiveServer, settings: Settings) -> Bench:
    assert isinstance(live.parts.store, LocalFiles)
    return Bench(live.parts.database, live.parts.store, work_settings(settings))


def waiting(live: LiveServer) -> int:
    """Return how many requests are held."""
    return len(live.parts.watch._waiting)


def connected(live: LiveServer) -> socket.socket:
    return socket.create_connection(live.address, timeout=20)


def half_closed_after(live: LiveServer, *sent: bytes) -> bytes:
    """Send, end the sending, and return all that comes until the service closes."""
    with closing(connected(live)) as connection:
        for piece in sent:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return read_to_end(connection)[0]


def read_up_to(connection: socket.socket, what: bytes, times: int = 1) -> None:
    """Read, and leave nothing of what has come, until this has come so often."""
    came = b""
    while came.count(what) < times:
        piece = connection.recv(65536)
        assert piece, came
        came += piece


def answers_in(came: bytes, *methods: str) -> list[tuple[int, bytes]]:
    """Return status and body of each answer; there must be no more than are named."""
    return [(answer.status, answer.body) for answer in read_answers(came, *methods)]


FORM_BODY = part("file", CONTENT, filename="a") + END
UPLOADS = {
    "raw": [head("PUT /f.bin", f"Content-Length: {len(CONTENT)}"), CONTENT],
    "in one piece": [head("PUT /f.bin", "Content-Length: 3") + b"abc"],
    "empty": [head("PUT /f.bin", "Content-Length: 0")],
    "chunked": [head("PUT /f.bin", CHUNKED), chunk(CONTENT), chunk(b"")],
    "form": [head("POST /uploads", FORM, f"Content-Length: {len(FORM_BODY)}"), FORM_BODY],
    "last": [head("PUT /f.bin", "Content-Length: 3", "Connection: close"), b"abc"],
    "HTTP/1.0": [b"PUT /f.bin HTTP/1.0\r\nContent-Length: 3\r\n\r\n", b"abc"],
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_an_upload_that_came_whole_gets_its_receipt(live: LiveServer, kind: str) -> None:
    ((status, _),) = answers_in(half_closed_after(live, *UPLOADS[kind]), "PUT")

    assert status == 202
    assert len(everything(live.parts.database)["jobs"]) == 1


def test_an_upload_that_waits_for_100_continue_gets_both(live: LiveServer) -> None:
    with closing(connected(live)) as connection:
        connection.sendall(head("PUT /f.bin", "Content-Length: 3", "Expect: 100-continue"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        connection.shutdown(socket.SHUT_WR)
        assert status_of(read_to_end(connection)[0]) == 202


CUT = {
    "in the head": [b"PUT /f.bin HTTP/1.1\r\nContent-Le"],
    "before the body": [head("PUT /f.bin", "Content-Length: 3")],
    "in the body": [head("PUT /f.bin", f"Content-Length: {len(CONTENT)}"), CONTENT[:-1]],
    "before the last chunk": [head("PUT /f.bin", CHUNKED), chunk(CONTENT)],
    "in the last chunk": [head("PUT /f.bin", CHUNKED), chunk(CONTENT), b"0\r\n"],
    "in a form": [head("POST /uploads", FORM, f"Content-Length: {len(FORM_BODY)}"), FORM_BODY[:-1]],
    "waiting for 100": [head("PUT /f.bin", "Content-Length: 3", "Expect: 100-continue")],
}


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("kind", CUT)
def test_one_that_did_not_is_abandoned_and_those_before_it_are_answered(
    live: LiveServer, bench: Bench, kind: str, before: int
) -> None:
    came = half_closed_after(live, LIVEZ * before + CUT[kind][0], *CUT[kind][1:])

    came = came.removesuffix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert [status for status, _ in answers_in(came, *["GET"] * before)] == [200] * before
    until(lambda: not live.connections, what="the end of the connection")
    until(lambda: not bench.stored_keys() and not bench.parts(), what="an empty store")
    assert everything(live.parts.database)["jobs"] == []


def test_an_idle_connection_is_closed_at_once(live: LiveServer) -> None:
    assert half_closed_after(live) == b""
    with closing(connected(live)) as connection:
        connection.sendall(LIVEZ)
        assert read_answer(connection).status == 200
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection)[0] == b""


@pytest.mark.parametrize("count", [2, 50])
def test_requests_sent_together_are_all_answered(live: LiveServer, count: int) -> None:
    upload = UPLOADS["in one piece"][0]

    came = half_closed_after(live, (LIVEZ + upload) * count)

    assert [status for status, _ in answers_in(came, *["GET", "PUT"] * count)] == [200, 202] * count
    assert len(everything(live.parts.database)["jobs"]) == count


@pytest.mark.parametrize("after", [[], [LIVEZ]], ids=["alone", "with another behind it"])
@pytest.mark.parametrize("target", ["/jobs/{id}?wait=20", "/jobs?ids={id}&wait=20"])
def test_a_long_poll_is_held_and_answered(live: LiveServer, target: str, after: list[bytes]) -> None:
    job = running(live.parts.database)
    with closing(connected(live)) as connection:
        connection.sendall(b"".join([head(f"GET {target.format(id=job.id)}"), *after]))
        connection.shutdown(socket.SHUT_WR)
        until(lambda: waiting(live), what="the request held")
        finish(live.parts.database, job)
        answers = answers_in(read_to_end(connection)[0], *["GET"] * (1 + len(after)))

    assert [status for status, _ in answers] == [200] * len(answers)
    assert b'"succeeded"' in answers[0][1]


@pytest.mark.parametrize("what", ["result", "original", "result?format=gzip"])
def test_a_large_download_comes_whole(live: LiveServer, bench: Bench, what: str) -> None:
    content = noise(20_000_000)
    job_id = bench.submit(content, format="zstd" if "gzip" in what else "auto")
    bench.run()

    ((status, body),) = answers_in(half_closed_after(live, head(f"GET /jobs/{job_id}/{what}")), "GET")

    assert status == 200
    assert (gzip.decompress(body) if "gzip" in what else body) == content


def test_a_stream_goes_on_to_its_end(live: LiveServer) -> None:
    job = running(live.parts.database)
    with closing(connected(live)) as connection:
        connection.sendall(head(f"GET /jobs/{job.id}/events"))
        connection.shutdown(socket.SHUT_WR)
        until(lambda: live.parts.events.open_streams == 1)
        finish(live.parts.database, job)
        came = read_to_end(connection)[0]

    assert b"event: done" in came
    assert came.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("ends_sending_first", [True, False])
@pytest.mark.parametrize("pipelined", [b"", LIVEZ], ids=["alone", "with another behind it"])
def test_a_client_that_has_gone_is_told_from_one_that_waits(
    live: LiveServer, ends_sending_first: bool, pipelined: bytes
) -> None:
    job_id = submit(live.parts.database)
    patient, gone = connected(live), connected(live)
    for connection in (patient, gone):
        connection.sendall(head(f"GET /jobs/{job_id}?wait=25") + pipelined)
    until(lambda: waiting(live) == 2)
    patient.shutdown(socket.SHUT_WR)
    if ends_sending_first:
        gone.shutdown(socket.SHUT_WR)

    gone.close()

    until(lambda: waiting(live) == 1, seconds=10, what="one forgotten")
    act(live.parts.database, lambda connection: job_table.cancel(connection, job_id))
    with closing(patient):
        came = read_to_end(patient)[0]
    assert came.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    answers = answers_in(came, *["GET"] * (2 if pipelined else 1))
    assert [status for status, _ in answers] == [200] * len(answers)
    assert b'"cancelled"' in answers[0][1]


@pytest.mark.parametrize("pipelined", [b"", LIVEZ], ids=["alone", "with another behind it"])
@pytest.mark.parametrize("before", [b"", LIVEZ], ids=["first", "after another"])
def test_a_stream_whose_client_has_gone_is_told_from_one_that_is_listened_to(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch, before: bytes, pipelined: bytes
) -> None:
    monkeypatch.setattr(broadcaster, "COMMENT_SECONDS", 3600)
    job = running(live.parts.database)
    patient, gone = connected(live), connected(live)
    for connection in (patient, gone):
        connection.sendall(before + head(f"GET /jobs/{job.id}/events") + pipelined)
    read_up_to(gone, b"}\n\n")
    until(lambda: live.parts.events.open_streams == 2)
    patient.shutdown(socket.SHUT_WR)

    # It has read all there was: one that has not resets the connection, which tells at once.
    gone.close()

    until(lambda: live.parts.events.open_streams == 1, seconds=10, what="the end of one stream")
    finish(live.parts.database, job)
    with closing(patient):
        came = read_to_end(patient)[0]
    assert b"event: done" in came
    assert came.count(COMMENT) > 1


def test_a_stream_that_is_listened_to_with_an_open_connection_is_not_pinged(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster, "COMMENT_SECONDS", 3600)
    job = running(live.parts.database)
    with closing(connected(live)) as connection, closing(connected(live)) as other:
        for each in (connection, other):
            each.sendall(head(f"GET /jobs/{job.id}/events"))
        until(lambda: live.parts.events.open_streams == 2)
        other.shutdown(socket.SHUT_WR)
        read_up_to(other, COMMENT, times=3)
        finish(live.parts.database, job)
        assert COMMENT not in read_to_end(connection)[0]


def test_a_stop_does_not_wait_for_who_has_ended_its_sending(settings: Settings) -> None:
    with live_server(settings) as live:
        job_id = submit(live.parts.database)
        connection = connected(live)
        connection.sendall(head(f"GET /jobs/{job_id}?wait=25"))
        connection.shutdown(socket.SHUT_WR)
        until(lambda: waiting(live) == 1)
        reader = threading.Thread(target=lambda: answers.append(read_to_end(connection)[0]))
        answers: list[bytes] = []
        reader.start()
    reader.join()
    connection.close()

    assert [status_of(answer) for answer in answers] == [200]
