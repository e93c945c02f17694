"""Requests to addresses of strangers, against real servers on loopback that do their worst."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.telling.safe_http import NoReply, Reply, SafeClient
from service.values.target import read_networks, read_target
from tests.receiver import OPENED, Answer, Received, Receiver, dripping, receiving, silence, status

LOOPBACK = read_networks(OPENED)
LIMIT = 4096
NAMED = "http://hooks.example:{port}/"
NOWHERE = "The host's name leads to no address that may be called from here."


def client(
    *addresses: str, timeout: float = 5.0, opened: str = OPENED, trust: ssl.SSLContext | None = None
) -> SafeClient:
    """Return a client for which every name leads to these addresses."""
    return SafeClient(
        read_networks(opened),
        timeout_seconds=timeout,
        max_reply_bytes=LIMIT,
        trust=trust,
        resolve=lambda host, port: addresses or [host],
    )


def post(sender: SafeClient, url: str, body: bytes = b"{}") -> Reply:
    # The target is read as where everything is open: what holds here is the check before the connection.
    return sender.post(read_target(url, read_networks("0.0.0.0/0, ::/0")), {"X-Test": "yes"}, body)


def test_a_request_arrives_whole_and_the_answer_comes_back() -> None:
    with receiving(status(202, "Retry-After: 7")) as receiver:
        reply = post(client(), receiver.url, b"x" * 100_000)

    [request] = receiver.received
    assert (reply.status_code, reply.headers["retry-after"]) == (202, "7")
    assert request.line == "POST /hook?from=vacpack HTTP/1.1"
    assert request.body == b"x" * 100_000
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (request.headers["x-test"], request.headers["content-length"]) == ("yes", "100000")


def test_the_name_stands_in_the_request_and_the_address_is_connected_to() -> None:
    with receiving() as receiver:
        post(client("127.0.0.1"), NAMED.format(port=receiver.port))

    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_an_ipv6_receiver_is_reached() -> None:
    with receiving(host="::1") as receiver:
        assert post(client(), f"http://[::1]:{receiver.port}/").status_code == 204

    assert receiver.received[0].headers["host"] == f"[::1]:{receiver.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "hooks.example"])
def test_an_address_inside_is_not_even_connected_to(host: str) -> None:
    with receiving() as receiver:
        resolved = ("127.0.0.1",) if host == "hooks.example" else ()
        sender = client(*resolved, opened="") if resolved else SafeClient(timeout_seconds=5, max_reply_bytes=LIMIT)
        with pytest.raises(NoReply, match=NOWHERE):
            post(sender, f"http://{host}:{receiver.port}/")

    assert receiver.connections == 0


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1%lo"]
)
def test_a_name_that_leads_inside_is_refused_in_the_words_of_one_that_leads_nowhere(address: str) -> None:
    def no_such_name(host: str, port: int) -> list[str]:
        raise socket.gaierror

    nowhere = SafeClient(timeout_seconds=5, max_reply_bytes=LIMIT, resolve=no_such_name)
    for sender in (client(address, opened=""), nowhere):
        with pytest.raises(NoReply, match=NOWHERE) as refusal:
            post(sender, "http://hooks.example:8080/")
        assert address not in str(refusal.value)


def test_of_several_addresses_only_those_outside_are_tried() -> None:
    with receiving() as receiver:
        sender = client("10.0.0.1", "169.254.169.254", "127.0.0.1", opened="127.0.0.1/32")
        assert post(sender, NAMED.format(port=receiver.port)).status_code == 204


def test_a_name_is_looked_up_once_for_each_request_so_that_rebinding_gains_nothing() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers.pop(0)

    sender = SafeClient(read_networks("127.0.0.1/32"), timeout_seconds=5, max_reply_bytes=LIMIT, resolve=rebinding)
    with receiving() as receiver:
        url = NAMED.format(port=receiver.port)
        assert post(sender, url).status_code == 204
        with pytest.raises(NoReply, match=NOWHERE):
            post(sender, url)

    assert (len(asked), receiver.connections) == (2, 1)


def test_an_address_that_refuses_leaves_the_time_to_the_next() -> None:
    with receiving() as receiver:
        sender = client("127.0.0.2", "127.0.0.1")
        assert post(sender, NAMED.format(port=receiver.port)).status_code == 204


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(code: int) -> None:
    with receiving() as inside, receiving(status(code, f"Location: {inside.url}")) as receiver:
        assert post(client(), receiver.url).status_code == code

    assert inside.connections == 0


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        post(client(), receiver.url)

    assert (proxy.connections, len(receiver.received)) == (0, 1)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [silence, dripping(HEAD, pause_seconds=0.2), dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 99, pause_seconds=0.02)],
    ids=["silence", "a head drop by drop", "nothing but interim answers"],
)
def test_a_receiver_that_does_not_answer_is_given_up_in_time(answer: Answer) -> None:
    with receiving(answer) as receiver:
        began = time.monotonic()
        with pytest.raises(NoReply, match=r"within 0\.5 s"):
            post(client(timeout=0.5), receiver.url)
        assert time.monotonic() - began < 5


def test_a_body_drop_by_drop_is_given_up_in_time_too() -> None:
    def answer(connection: socket.socket, received: Received) -> None:
        connection.sendall(HEAD)
        dripping(b"x" * 1000, pause_seconds=0.1)(connection, received)

    with receiving(answer) as receiver:
        began = time.monotonic()
        with pytest.raises(NoReply, match=r"within 0\.5 s"):
            post(client(timeout=0.5), receiver.url)
        assert time.monotonic() - began < 5


def test_a_name_that_takes_for_ever_is_given_up_in_time() -> None:
    released = threading.Event()

    def stuck(host: str, port: int) -> list[str]:
        released.wait(20)
        return []

    sender = SafeClient(LOOPBACK, timeout_seconds=0.3, max_reply_bytes=LIMIT, resolve=stuck)
    began = time.monotonic()
    with pytest.raises(NoReply, match="within"):
        post(sender, "http://hooks.example:8080/")
    released.set()
    assert time.monotonic() - began < 5


def test_a_receiver_that_takes_no_bytes_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = listener.getsockname()[1]
        with pytest.raises(NoReply, match="within"):
            post(client(timeout=0.5), f"http://127.0.0.1:{port}/", b"x" * 50_000_000)


def test_of_a_gigabyte_only_the_beginning_is_read() -> None:
    taken = []

    def answer(connection: socket.socket, _: Received) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        chunk = bytes(65536)
        try:
            for _piece in range(16384):
                connection.sendall(chunk)
                taken.append(len(chunk))
        except OSError:
            return

    with receiving(answer) as receiver:
        assert post(client(), receiver.url).status_code == 200
        time.sleep(0.2)

    # What the kernel had room for, and no more.
    assert sum(taken) < 16 * 1024**2


def test_an_endless_head_is_given_up() -> None:
    def answer(connection: socket.socket, _: Received) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000)

    with receiving(answer) as receiver, pytest.raises(NoReply, match="broke off"):
        post(client(), receiver.url)


@pytest.mark.parametrize(
    "text", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"\x00" * 100]
)
def test_what_is_no_whole_answer_is_none(text: bytes) -> None:
    with (
        receiving(lambda connection, _: connection.sendall(text)) as receiver,
        pytest.raises(NoReply, match="broke off"),
    ):
        post(client(), receiver.url)


def test_nobody_listening_is_told_without_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NoReply, match=r"^The connection was refused\.$"):
        post(client(), f"http://127.0.0.1:{port}/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for hooks.example, signed by itself, in one file."""
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=hooks.example"
    subprocess.run(
        ["openssl", *options.split(), "-addext", "subjectAltName=DNS:hooks.example", "-keyout", path, "-out", path],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Both write to one file, the certificate last.
    context.load_cert_chain(certificate)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    with receiving(trust=context) as receiver:
        receiver.answer = _telling(asked)
        yield receiver


def _telling(asked: list[str | None]) -> Answer:
    def answer(connection: socket.socket, received: Received) -> None:
        status(200, f"X-Asked-For: {asked[-1]}")(connection, received)

    return answer


def test_tls_is_checked_against_the_name_and_not_the_address(secure: Receiver, certificate: Path) -> None:
    trust = ssl.create_default_context(cafile=certificate)
    reply = post(client("127.0.0.1", trust=trust), f"https://hooks.example:{secure.port}/")

    assert (reply.status_code, reply.headers["x-asked-for"]) == (200, "hooks.example")


def test_a_certificate_of_another_name_is_refused(secure: Receiver, certificate: Path) -> None:
    trust = ssl.create_default_context(cafile=certificate)
    with pytest.raises(NoReply, match="certificate"):
        post(client("127.0.0.1", trust=trust), f"https://other.example:{secure.port}/")

    assert secure.received == []


def test_a_certificate_of_no_known_authority_is_refused(secure: Receiver) -> None:
    with pytest.raises(NoReply, match="certificate"):
        post(client("127.0.0.1"), f"https://hooks.example:{secure.port}/")

    assert secure.received == []


def test_a_tls_handshake_that_stalls_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(NoReply, match="within"):
            post(client("127.0.0.1", timeout=0.5), f"https://hooks.example:{port}/")
