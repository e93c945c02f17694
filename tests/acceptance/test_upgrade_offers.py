"""Clients that offer another protocol with their request: the offer is not taken up, and all that they sent is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, sha256, succeeded
from tests.acceptance.curl import curl
from tests.acceptance.raw_socket import CHUNKED, END, FORM, chunk, connected, head, part, read_answer, read_answers
from tests.acceptance.service_process import ServiceProcess

DATA = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10
"""Bytes that would be an answer each, if they were taken for requests."""
JDK = (
    "Connection: Upgrade, HTTP2-Settings",
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
    "Upgrade: h2c",
    "User-Agent: Java-http-client/17.0.15",
)
"""What the HttpClient of Java 17 sends with every first request, unless it is told to speak HTTP/1.1."""
OFFERS = {
    "h2c": JDK,
    "websocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA", "Sec-WebSocket-Version: 13"),
    "several": ("Connection: keep-alive", "Connection: UPGRADE", "Upgrade: TLS/1.0, h2c", "Upgrade: foo/2"),
}


def in_one(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)


def head_first(connection: socket.socket, sent: bytes) -> None:
    end = sent.index(b"\r\n\r\n") + 4
    connection.sendall(sent[:end])
    connection.sendall(sent[end:])


def byte_by_byte(connection: socket.socket, sent: bytes) -> None:
    for byte in sent:
        connection.sendall(bytes([byte]))


WAYS = [in_one, head_first, byte_by_byte]
FORM_BODY = part("file", DATA, filename="f.bin") + END
UPLOADS = {
    "length": (("PUT /uploads/f.bin", f"Content-Length: {len(DATA)}"), DATA),
    "chunks": (("PUT /uploads/f.bin", CHUNKED), chunk(DATA[:7]) + chunk(DATA[7:]) + chunk(b"")),
    "form": (("POST /uploads", FORM, f"Content-Length: {len(FORM_BODY)}"), FORM_BODY),
}


@pytest.mark.parametrize("send", WAYS)
@pytest.mark.parametrize("kind", UPLOADS)
@pytest.mark.parametrize("offer", OFFERS)
def test_an_upload_with_an_offer_is_stored_whole_and_the_connection_goes_on(
    service: ServiceProcess, offer: str, kind: str, send: Callable[[socket.socket, bytes], None]
) -> None:
    (line, *headers), body = UPLOADS[kind]
    with connected(service) as connection:
        send(connection, head(line, *headers, *OFFERS[offer]) + body + head("GET /livez"))
        receipt, after = read_answers(connection, "PUT", "GET")

    assert receipt.status == 202
    assert receipt.json["source"]["size_bytes"] == len(DATA)
    assert after.json == {"status": "ok"}
    assert ask(f"{service.url}/jobs/{receipt.json['id']}/original").body == DATA


def test_requests_that_all_make_an_offer_are_all_answered(service: ServiceProcess) -> None:
    uploads = [head("PUT /f", *JDK, f"Content-Length: {len(DATA)}") + DATA, head("GET /livez", *JDK)] * 200
    with connected(service) as connection:
        connection.sendall(b"".join(uploads))
        answers = read_answers(connection, *["PUT", "GET"] * 200)

    assert [answer.status for answer in answers] == [202, 200] * 200
    assert {answer.json["source"]["size_bytes"] for answer in answers[::2]} == {len(DATA)}


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_with_an_expectation_gets_100_continue_and_the_receipt(service: ServiceProcess, offer: str) -> None:
    with connected(service) as connection:
        connection.sendall(head("PUT /f", *OFFERS[offer], f"Content-Length: {len(DATA)}", "Expect: 100-continue"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(DATA)
        assert read_answer(connection).json["source"]["size_bytes"] == len(DATA)


@pytest.mark.parametrize("target", ["/", "/livez", "/jobs/" + "a" * 26, "/jobs/" + "a" * 26 + "/events", "/static/x"])
@pytest.mark.parametrize("offer", OFFERS)
def test_whatever_is_asked_for_an_offer_changes_nothing(service: ServiceProcess, offer: str, target: str) -> None:
    plain = ask(service.url + target)
    with connected(service) as connection:
        for _ in range(2):
            connection.sendall(head(f"GET {target}", *OFFERS[offer]))
            answer = read_answer(connection)
            assert answer.status == plain.status
            assert answer.headers["Upgrade"] is None


def test_one_that_is_the_last_of_its_connection_ends_it(service: ServiceProcess) -> None:
    with connected(service) as connection:
        connection.sendall(head("PUT /f", "Connection: close, Upgrade", "Upgrade: h2c", "Content-Length: 3") + b"abc")
        assert read_answer(connection).json["source"]["size_bytes"] == 3
        assert connection.recv(1) == b""


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_curl_that_offers_http2_gets_all_it_sent_back(service: ServiceProcess, tmp_path: Path, size: int) -> None:
    data = (DATA * (size // len(DATA) + 1))[:size]
    (tmp_path / "f.bin").write_bytes(data)
    for way in (["-T", "f.bin", "-H", "Expect:"], ["-T", "f.bin"], ["-F", "file=@f.bin", f"{service.url}/uploads"]):
        target = [] if "-F" in way else [f"{service.url}/uploads/"]
        done = curl("--http2", *way, *target, folder=tmp_path)

        assert (done.code, done.status) == (0, 202), done
        succeeded(service.url, done.json["id"])
        assert ask(f"{service.url}/jobs/{done.json['id']}/original").sha256 == sha256(data)
