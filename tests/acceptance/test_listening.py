"""Where a service listens, and how it says so: IPv6 in brackets, both families, a name with several addresses."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from service.start.cannot_start import CannotStart
from service.start.listening import bind, listen, url_of
from tests.acceptance.asking import ask
from tests.acceptance.conftest import StartService


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="IPv6 is switched off")


def reached(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "reached_at", "not_at"),
    [
        ("127.0.0.1", ["127.0.0.1"], ["::1"]),
        ("::1", ["::1"], ["127.0.0.1"]),
        ("[::1]", ["::1"], ["127.0.0.1"]),
        ("::", ["::1", "127.0.0.1"], []),
        ("0.0.0.0", ["127.0.0.1"], ["::1"]),
        ("", ["::1", "127.0.0.1"], []),
        ("127.0.0.2", ["127.0.0.2"], ["127.0.0.1"]),
    ],
)
def test_a_host_is_listened_on_in_every_family_it_has(host: str, reached_at: list[str], not_at: list[str]) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in bind(host, 0)]
        listen(sockets, 8)
        ports = {each.getsockname()[1] for each in sockets}
        assert len(ports) == 1
        [port] = ports
        assert [address for address in reached_at if not reached(address, port)] == []
        assert [address for address in not_at if reached(address, port)] == []


@needs_ipv6
def test_a_name_with_two_addresses_is_listened_on_at_both(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)

    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in bind("localhost", 0)]
        port = sockets[0].getsockname()[1]

        assert [url_of(each) for each in sockets] == [f"http://[::1]:{port}", f"http://127.0.0.1:{port}"]


@needs_ipv6
def test_a_port_that_is_taken_in_one_family_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"^\[::\]:{port} cannot be listened on \(Address already in use\)"):
            bind("::", port)


def test_two_that_take_an_address_at_once_are_told_apart() -> None:
    with ExitStack() as stack:
        first = [stack.enter_context(each) for each in bind("127.0.0.1", 0)]
        port = first[0].getsockname()[1]
        second = [stack.enter_context(each) for each in bind("127.0.0.1", port)]
        listen(first, 8)
        with pytest.raises(CannotStart, match=f"127.0.0.1:{port} cannot be listened on"):
            listen(second, 8)


def test_the_scope_of_an_address_is_escaped_in_its_url() -> None:
    class Bound:
        def getsockname(self) -> tuple[str, int, int, int]:
            return ("fe80::1%eth0", 8000, 0, 2)

    assert url_of(Bound()) == "http://[fe80::1%25eth0]:8000"  # type: ignore[arg-type]


@needs_ipv6
def test_what_is_printed_over_ipv6_works_as_it_stands(start_service: StartService) -> None:
    service = start_service(host="::1")
    assert service.url == f"http://[::1]:{urlsplit(service.url).port}"

    receipt = subprocess.run(
        ["curl", "-s", "-H", "Accept: text/plain", "-T", "-", f"{service.url}/"],
        input=b"hello",
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert receipt.startswith(f"{service.url}/jobs/")
    assert ask(receipt.strip()).status == 200
    assert f"curl -T big.log {service.url}/\n" in ask(f"{service.url}/").body.decode()
    origin = {"Origin": service.url}
    assert ask(f"{service.url}/uploads?filename=a", "POST", b"x", **origin).status == 202
    assert service.stop() == 0


def test_whoever_believes_every_header_is_warned_where_others_reach_the_service(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    logs = [start_service(host=host, embedded_worker="false").log() for host in ("127.0.0.1", "0.0.0.0")]

    assert ["FORWARDED_ALLOW_IPS is *" in log for log in logs] == [False, True]
