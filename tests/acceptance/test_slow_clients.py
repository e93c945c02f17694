"""Clients that stall, trickle and drop: closed in time, nothing left of them, and nobody else kept waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.acceptance.asking import ask, succeeded, upload
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import CHUNKED, FORM, chunk, connected, head, part, read_answer, read_to_end, reset
from tests.acceptance.service_process import ServiceProcess

HEADER_SECONDS = 1.5
SILENCE_SECONDS = 1.0
SOON_SECONDS = 2.0
"""What a busy machine may add to a deadline."""

RAW = head("PUT /f.bin", "Content-Length: 3000000")
CUT = {
    "raw": RAW + bytes(1_500_000),
    "chunked": head("PUT /f.bin", CHUNKED) + chunk(bytes(1_500_000)) + b"8000\r\n" + bytes(100),
    "form": head("POST /uploads", FORM, "Content-Length: 3000000")
    + part("file", bytes(10_000), filename="a")
    + part("file", bytes(1_500_000), filename="b"),
    "nothing yet": RAW,
}
"""Uploads up to where their client stops, some way into the second MiB of the file on the disk."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    process = ServiceProcess(
        tmp_path_factory.mktemp("impatient"),
        header_timeout_seconds=HEADER_SECONDS,
        receive_timeout_seconds=SILENCE_SECONDS,
        embedded_worker="false",
    )
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No file, no job and no error line is left of any of them."""
    yield
    if "impatient" in request.fixturenames:
        service: ServiceProcess = request.getfixturevalue("impatient")
        until(service.holds_nothing, what="an empty store and table")
        assert [event for event in service.events() if event["level"] == "error"] == []


def seconds_until_closed(connection: socket.socket, send_on: Callable[[], None]) -> float:
    """Return after how long the service closed, while ``send_on`` is called ten times a second."""
    began = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() - began < 30:
        try:
            send_on()
            if not connection.recv(65536):
                break
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
    return time.monotonic() - began


def test_a_connection_that_sends_nothing_is_closed(impatient: ServiceProcess) -> None:
    with connected(impatient) as connection:
        answer, seconds = read_to_end(connection)

    assert answer == b""
    assert HEADER_SECONDS - 0.1 < seconds < HEADER_SECONDS + SOON_SECONDS


def test_headers_that_trickle_are_closed_at_the_deadline(impatient: ServiceProcess) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"PUT /f HTTP/1.1\r\nHost: localhost\r\n")
        seconds = seconds_until_closed(connection, lambda: connection.sendall(b"X-Slow: 1\r\n"))

    assert HEADER_SECONDS - 0.1 < seconds < HEADER_SECONDS + SOON_SECONDS


def test_the_next_headers_on_a_connection_have_the_same_deadline(impatient: ServiceProcess) -> None:
    with connected(impatient) as connection:
        connection.sendall(head("GET /livez"))
        assert read_answer(connection).status == 200
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        seconds = seconds_until_closed(connection, lambda: connection.sendall(b"X-Slow: 1\r\n"))

    assert HEADER_SECONDS - 0.1 < seconds < HEADER_SECONDS + SOON_SECONDS


@pytest.mark.parametrize("cut", CUT)
def test_a_body_that_stalls_is_given_up(impatient: ServiceProcess, cut: str) -> None:
    with connected(impatient) as connection:
        connection.sendall(CUT[cut])
        began = time.monotonic()
        answer = read_answer(connection)
        seconds = time.monotonic() - began
        _, until_closed = read_to_end(connection)

    assert (answer.status, answer.json["code"]) == (408, "receive_timeout")
    assert SILENCE_SECONDS - 0.1 < seconds + until_closed < SILENCE_SECONDS + 2 + SOON_SECONDS


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("cut", CUT)
def test_a_client_that_drops_leaves_nothing(
    impatient: ServiceProcess, cut: str, leave: Callable[[socket.socket], None]
) -> None:
    with connected(impatient) as connection:
        connection.sendall(CUT[cut])
        if cut != "nothing yet":
            until(impatient.stored, what="its part in the store")
        leave(connection)

    until(impatient.holds_nothing, seconds=SILENCE_SECONDS + SOON_SECONDS, what="an empty store")


def test_a_client_that_stops_sending_but_listens_is_told(impatient: ServiceProcess) -> None:
    with connected(impatient) as connection:
        connection.sendall(CUT["raw"])
        connection.shutdown(socket.SHUT_WR)
        _, seconds = read_to_end(connection)

    assert seconds < SILENCE_SECONDS + SOON_SECONDS


@pytest.mark.parametrize("line", [b"X-Long: " + b"x" * 512_000 + b"\r\n\r\n", b"X-One: of many\r\n" * 32_000 + b"\r\n"])
def test_half_a_megabyte_of_headers_is_refused(impatient: ServiceProcess, line: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(line)
        answer, seconds = read_to_end(connection)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"headers_too_large" in answer
    assert seconds < SOON_SECONDS


def test_many_slow_clients_hold_up_nobody(impatient: ServiceProcess) -> None:
    with ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(connected(impatient))
            connection.sendall([b"", b"GET /livez HTTP/1.1\r\n", CUT["nothing yet"] + b"x"][number % 3])
        began = time.monotonic()

        assert ask(f"{impatient.url}/livez").status == 200

        assert time.monotonic() - began < 5 * SOON_SECONDS


def test_a_slow_but_steady_upload_is_not_cut(impatient: ServiceProcess) -> None:
    with connected(impatient) as connection:
        connection.sendall(head("PUT /steady.bin", "Content-Length: 40"))
        for _ in range(40):
            connection.sendall(b"x")
            time.sleep(SILENCE_SECONDS / 10)
        answer = read_answer(connection)
    assert answer.status == 202
    key = f"Bearer {answer.json['manage_key']}"
    assert ask(f"{impatient.url}/jobs/{answer.json['id']}", "DELETE", Authorization=key).status == 204


def test_a_client_that_does_not_read_its_download_holds_up_nobody(service: ServiceProcess) -> None:
    data = bytes(range(256)) * 40_000
    job = succeeded(service.url, upload(service.url, data)["id"])
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(connected(service))
            connection.sendall(head(f"GET /jobs/{job['id']}/original"))

        answer = ask(f"{service.url}/jobs/{job['id']}/original")

    assert answer.body == data
    assert [event for event in service.events() if event["level"] == "error"] == []
