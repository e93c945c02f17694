"""Heads that say of their body what two readers could take for two things, and what else is refused from the head."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.acceptance.patience import until
from tests.acceptance.raw_socket import (
    CHUNKED,
    chunk,
    connected,
    head,
    read_answer,
    read_answers,
    read_to_end,
    status_of,
)
from tests.acceptance.service_process import ServiceProcess

BODY = chunk(b"abc") + chunk(b"")
LENGTH = f"Content-Length: {len(BODY)}"
REFUSED = {
    "length and chunks": (("PUT /f", LENGTH, CHUNKED), 400, "bad_request"),
    "chunks and length": (("PUT /f", CHUNKED, LENGTH), 400, "bad_request"),
    "two lengths": (("PUT /f", LENGTH, "Content-Length: 1"), 400, "bad_request"),
    "one length twice": (("PUT /f", LENGTH, LENGTH), 400, "bad_request"),
    "a list of lengths": (("PUT /f", f"{LENGTH}, {len(BODY)}"), 400, "bad_request"),
    "no number": (("PUT /f", "Content-Length: x"), 400, "bad_request"),
    "a sign": (("PUT /f", f"Content-Length: +{len(BODY)}"), 400, "bad_request"),
    "negative": (("PUT /f", "Content-Length: -1"), 400, "bad_request"),
    "hexadecimal": (("PUT /f", "Content-Length: 0x3"), 400, "bad_request"),
    "empty": (("PUT /f", "Content-Length: "), 400, "bad_request"),
    "beyond 64 bits": (("PUT /f", "Content-Length: 18446744073709551621"), 400, "bad_request"),
    "gzip in chunks": (("PUT /f", "Transfer-Encoding: gzip, chunked"), 501, "transfer_coding"),
    "identity": (("PUT /f", "Transfer-Encoding: identity"), 501, "transfer_coding"),
    "gzip": (("PUT /f", "Transfer-Encoding: gzip"), 501, "transfer_coding"),
    "something": (("PUT /f", "Transfer-Encoding: xchunked"), 501, "transfer_coding"),
    "two codings": (("PUT /f", "Transfer-Encoding: gzip", CHUNKED), 400, "bad_request"),
    "chunked twice": (("PUT /f", CHUNKED, CHUNKED), 400, "bad_request"),
    "chunked, chunked": (("PUT /f", "Transfer-Encoding: chunked, chunked"), 400, "bad_request"),
    "an offer besides": (("PUT /f", LENGTH, CHUNKED, "Connection: Upgrade", "Upgrade: h2c"), 400, "bad_request"),
    "expects what is not met": (("PUT /f", LENGTH, "Expect: a-miracle"), 417, "expectation_failed"),
    "expects two things": (("PUT /f", LENGTH, "Expect: 100-continue, x=y"), 417, "expectation_failed"),
    "expects on two lines": (("PUT /f", LENGTH, "Expect: 100-continue", "Expect: x"), 417, "expectation_failed"),
    "a proxy": (("CONNECT example.com:443",), 405, "method_not_allowed"),
    "a proxy with a body": (("CONNECT example.com:443", LENGTH), 405, "method_not_allowed"),
}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without a worker."""
    process = ServiceProcess(tmp_path_factory.mktemp("idle"), embedded_worker="false")
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture
def nothing_left(idle: ServiceProcess) -> Iterator[None]:
    """Nothing of what the test sent is kept, and nothing stumbled over it."""
    yield
    until(idle.holds_nothing, what="an empty store and table")
    assert [event for event in idle.events() if event["level"] == "error"] == []


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_head_that_cannot_be_believed_is_refused_with_all_that_follows(
    idle: ServiceProcess, kind: str, pieces: int
) -> None:
    (line, *headers), status, code = REFUSED[kind]
    sent = head(line, *headers) + BODY + head("PUT /smuggled", "Content-Length: 1") + b"x"
    with connected(idle) as connection:
        for piece in [sent] if pieces == 1 else [sent[:-60], sent[-60:]]:
            connection.sendall(piece)
        answer = read_answer(connection)
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection)[0] == b""

    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Connection"] == "close"
    assert (answer.headers["Allow"] is None) is (status != 405)


REFUSED_OF_A_BROWSER = {
    "a long field": (("GET /", f"X-A: {'a' * 9000}"), 431, "headers_too_large"),
    "many fields": (("GET /", *["X-A: a"] * 101), 431, "headers_too_large"),
    "many parameters": ((f"GET /?{'a&' * 101}",), 414, "target_too_long"),
    "two hosts": (("GET /", "Host: elsewhere"), 400, "bad_request"),
    "a proxy": (("CONNECT example.com:443",), 405, "method_not_allowed"),
    "a coding": (("PUT /f", "Transfer-Encoding: gzip"), 501, "transfer_coding"),
}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("kind", REFUSED_OF_A_BROWSER)
def test_who_likes_pages_is_refused_in_words_before_there_are_any(idle: ServiceProcess, kind: str) -> None:
    (line, *headers), status, code = REFUSED_OF_A_BROWSER[kind]
    with connected(idle) as connection:
        connection.sendall(head(line, "Accept: text/html,*/*;q=0.8", *headers))
        answer = read_answer(connection)

    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert answer.body.decode().startswith(f"{status} {code}: ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9"])
def test_another_version_of_http_is_refused(idle: ServiceProcess, version: str) -> None:
    with connected(idle) as connection:
        connection.sendall(f"PUT /f {version}\r\nContent-Length: 3\r\n\r\nabc".encode())
        answer = read_answer(connection)

    assert (answer.status, answer.json["code"]) == (505, "http_version")


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "noise",
    [b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"],
)
def test_what_is_not_http_is_a_bad_request(idle: ServiceProcess, noise: bytes) -> None:
    with connected(idle) as connection:
        connection.sendall(noise)
        answer = read_answer(connection)
        assert read_to_end(connection)[1] < 5

    assert (answer.status, answer.json["code"]) == (400, "bad_request")


@pytest.mark.usefixtures("nothing_left")
def test_the_refusal_comes_in_the_form_that_the_client_likes(idle: ServiceProcess) -> None:
    with connected(idle) as connection:
        connection.sendall(head("PUT /f", LENGTH, CHUNKED.replace("chunked", "gzip"), "Accept: text/plain"))
        first = read_answer(connection)
    with connected(idle) as connection:
        connection.sendall(head("PUT /f", "Transfer-Encoding: gzip", "Accept: text/plain") + BODY)
        second = read_answer(connection)

    assert first.status == 400
    assert second.body.startswith(b"501 transfer_coding: ")


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("door", ["PUT /f", "PUT /", "POST /uploads", "PUT /uploads/f"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_upload_that_does_not_say_its_length_is_refused(idle: ServiceProcess, door: str, version: str) -> None:
    with connected(idle) as connection:
        connection.sendall(f"{door} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode() + b"bytes without a frame")
        answer = read_answer(connection)

    assert (answer.status, answer.json["code"]) == (411, "length_required")


def lines(*fields: str | bytes) -> bytes:
    """Return a head of these lines, whatever they end with."""
    return b"".join(field if isinstance(field, bytes) else f"{field}\r\n".encode() for field in fields)


GET, HOST = "GET /livez HTTP/1.1", "Host: a"
STRICT = {
    "no Host": (lines(GET, ""), 400, "bad_request"),
    "two Hosts": (lines(GET, HOST, HOST, ""), 400, "bad_request"),
    "two Hosts of 1.0": (lines("GET /livez HTTP/1.0", HOST, "host: b", ""), 400, "bad_request"),
    "a Host with a user": (lines(GET, "Host: a@b", ""), 400, "bad_request"),
    "a Host with a path": (lines(GET, "Host: x/../admin", ""), 400, "bad_request"),
    "a Host with a query": (lines(GET, "Host: x?y", ""), 400, "bad_request"),
    "a list of Hosts": (lines(GET, "Host: a b", ""), 400, "bad_request"),
    "a port that is none": (lines(GET, "Host: a:b", ""), 400, "bad_request"),
    "a backslash": (lines(GET, "Host: a\\b", ""), 400, "bad_request"),
    "HTTP/1.2": (lines("GET /livez HTTP/1.2", HOST, ""), 400, "bad_request"),
    "HTTP/3.0": (lines("GET /livez HTTP/3.0", HOST, ""), 400, "bad_request"),
    "HTTP/0.9": (lines("GET /livez HTTP/0.9", HOST, ""), 505, "http_version"),
    "RTSP": (lines("GET /livez RTSP/1.0", HOST, ""), 505, "http_version"),
    "ICE": (lines("SOURCE /livez ICE/1.0", HOST, ""), 505, "http_version"),
    "no version": (lines("GET /livez", HOST, ""), 505, "http_version"),
    "a folded field": (lines(GET, HOST, "X: a", " b", ""), 400, "bad_request"),
    "folded with a tab": (lines(GET, HOST, "X: a", "\tb", ""), 400, "bad_request"),
    "folded at once": (lines(GET, f" {HOST}", ""), 400, "bad_request"),
    "a bare CR": (lines(GET, HOST, "X: a\rb", ""), 400, "bad_request"),
    "a bare LF": (lines(GET, HOST, b"X: a\n", ""), 400, "bad_request"),
    "LF alone": (b"GET /livez HTTP/1.1\nHost: a\n\n", 400, "bad_request"),
    "a NUL": (lines(GET, HOST, "X: a\0b", ""), 400, "bad_request"),
    "a NUL in a name": (lines(GET, HOST, "X\0: a", ""), 400, "bad_request"),
    "a blank before the colon": (lines(GET, HOST, "X : a", ""), 400, "bad_request"),
    "no name": (lines(GET, HOST, ": a", ""), 400, "bad_request"),
    "no colon": (lines(GET, HOST, "X", ""), 400, "bad_request"),
    "a chunk's size with a sign": (head("PUT /f", CHUNKED) + b"-3\r\nabc\r\n0\r\n\r\n", 400, "bad_request"),
    "a chunk's size with 0x": (head("PUT /f", CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n", 400, "bad_request"),
    "a chunk's size without end": (head("PUT /f", CHUNKED) + b"f" * 17 + b"\r\nabc", 400, "bad_request"),
    "a chunk after LF alone": (head("PUT /f", CHUNKED) + b"3\nabc\r\n0\r\n\r\n", 400, "bad_request"),
    "a chunk before LF alone": (head("PUT /f", CHUNKED) + b"3\r\nabc\n0\r\n\r\n", 400, "bad_request"),
    "a chunk longer than it says": (head("PUT /f", CHUNKED) + b"2\r\nabc\r\n0\r\n\r\n", 400, "bad_request"),
    "a long field": (head("GET /livez", "X: " + "x" * 8192), 431, "headers_too_large"),
    "a long name": (head("GET /livez", "X" * 8190 + ": xyz"), 431, "headers_too_large"),
    "many fields": (head("GET /livez", *["X: x"] * 100), 431, "headers_too_large"),
    "a long field after the body": (
        head("PUT /f", CHUNKED) + b"0\r\nX: " + b"x" * 8192 + b"\r\n\r\n",
        431,
        "headers_too_large",
    ),
    "many fields after the body": (
        head("PUT /f", CHUNKED) + b"0\r\n" + b"X: x\r\n" * 101 + b"\r\n",
        431,
        "headers_too_large",
    ),
    "extensions longer than the body": (
        head("PUT /f", CHUNKED) + (b"1;" + b"x" * 8000 + b"\r\nx\r\n") * 10,
        431,
        "headers_too_large",
    ),
    "a long address": (head("GET /" + "x" * 16 * 1024), 414, "target_too_long"),
    "many parameters": (head("GET /livez?" + "&" * 100), 414, "target_too_long"),
    "a long query": (head("GET /?" + "x" * 16 * 1024), 414, "target_too_long"),
}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("kind", STRICT)
def test_a_head_that_is_not_as_it_should_be_is_refused(idle: ServiceProcess, kind: str, pieces: int) -> None:
    sent, status, code = STRICT[kind]
    length = -(-len(sent) // pieces)
    with connected(idle) as connection:
        for at in range(0, len(sent), length):
            connection.sendall(sent[at : at + length])
        answer = read_answer(connection)

    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["Connection"] == "close"


TAKEN = {
    "a field just so long": head("GET /livez", "X: " + "x" * 8191),
    "just so many fields": head("GET /livez", *["X: x"] * 99),
    "just so long an address": head("GET /livez?" + "x" * (16 * 1024 - len("/livez?"))),
    "HTTP/1.0 without a Host": b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "an address of IPv6": lines(GET, "Host: [::1]:8000", ""),
    "a port": lines(GET, "Host: localhost:80", ""),
    "no name": lines(GET, "Host:", ""),
    "blank lines before": b"\r\n\r\n" + head("GET /livez"),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_head_that_just_is_is_taken(idle: ServiceProcess, kind: str) -> None:
    with connected(idle) as connection:
        connection.sendall(TAKEN[kind])
        assert read_answer(connection).status == 200


def test_a_body_in_many_chunks_with_short_extensions_is_taken(idle: ServiceProcess) -> None:
    with connected(idle) as connection:
        connection.sendall(head("PUT /f", CHUNKED) + b"1;a=b\r\nx\r\n" * 20_000 + chunk(b""))
        assert read_answer(connection).json["source"]["size_bytes"] == 20_000


BROKEN = {
    "noise": b"\r\nhello\r\n\r\n",
    "a bad head": head("PUT /f", LENGTH, CHUNKED) + BODY,
    "a bad coding": head("PUT /f", "Transfer-Encoding: gzip, chunked") + BODY,
    "bad chunks": head("PUT /f", CHUNKED) + chunk(b"x") + b"zz\r\n",
    "a proxy": head("CONNECT a.example:1"),
    "no host": head("PUT http:///a", "Content-Length: 3") + b"abc",
    "no port": head("PUT http://x:99999/a", CHUNKED) + BODY,
    "no address": head("PUT http://[bad/a", "Content-Length: 3", "Connection: Upgrade", "Upgrade: h2c") + b"abc",
    "a head above the limit": head("GET /", "X: " + "x" * 70_000),
    "a head far above it": head("GET /", "X: " + "x" * 400_000),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_is_refused_after_the_answers_to_what_was_sent_before(idle: ServiceProcess, kind: str) -> None:
    """A refusal in the wrong place would be taken for the answer to the upload, which is a job by then."""
    before = len(idle.statuses())
    with connected(idle) as connection:
        connection.sendall(head("PUT /f", "Content-Length: 3") + b"abc" + head("GET /livez") + BROKEN[kind])
        answers = read_answers(read_to_end(connection)[0], "PUT", "GET", "GET")

    assert [answer.status for answer in answers[:2]] == [202, 200]
    assert answers[2].status in (400, 405, 431, 501)
    assert len(idle.statuses()) == before + 1


def test_an_expectation_is_met_once_for_http_1_1_and_never_for_1_0(idle: ServiceProcess) -> None:
    for version, said in (("1.1", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 "), ("1.0", b"HTTP/1.1 202 ")):
        for expected in ("100-continue", "100-Continue", "100-continue, 100-continue"):
            with connected(idle) as connection:
                line = f"PUT /f HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n"
                connection.sendall(f"{line}Expect: {expected}\r\n\r\n".encode())
                if version == "1.1":
                    assert connection.recv(12, 2) == b"HTTP/1.1 100"
                connection.sendall(b"abc")
                came = read_to_end(connection)[0]
            assert came.startswith(said), expected
            assert came.count(b"HTTP/1.1 ") == said.count(b"HTTP/1.1 ")


def test_an_expectation_of_http_1_0_is_ignored(idle: ServiceProcess) -> None:
    with connected(idle) as connection:
        connection.sendall(b"PUT /f HTTP/1.0\r\nContent-Length: 3\r\nExpect: a-miracle\r\n\r\nabc")
        assert status_of(read_to_end(connection)[0]) == 202


TARGETS = {
    "http://files.example": "upload",
    "http://files.example?filename=b.txt": "b.txt",
    "http://files.example/a%20b.txt": "a b.txt",
}


@pytest.mark.parametrize("offer", [(), ("Connection: Upgrade", "Upgrade: h2c")], ids=["plain", "upgrade"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_may_be_a_url(idle: ServiceProcess, target: str, offer: tuple[str, ...]) -> None:
    with connected(idle) as connection:
        connection.sendall(head(f"PUT {target}", "Content-Length: 3", *offer) + b"abc")
        answer = read_answer(connection)

    assert (answer.status, answer.json.get("name")) == (202, TARGETS[target])
