"""Who is exempt from limits: the peer of a connection, whatever a header names."""

from __future__ import annotations

import http.client
from contextlib import ExitStack

import pytest

from service.settings import Settings
from service.start.listening import bind, is_reached_from_elsewhere
from tests.service.web.live_server import live_server

WRONG = {"Authorization": "Bearer no-token-of-anybody"}
TRIES = 12


def statuses(address: tuple[str, int], forwarded: str | None) -> set[int]:
    """Return how wrong keys are answered; ``{port}`` becomes that of the peer: guessed, it would make both the same."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.connect()
    named = forwarded and forwarded.format(port=connection.sock.getsockname()[1])
    found = set()
    for _ in range(TRIES):
        connection.request("GET", "/metrics", headers=WRONG | ({"X-Forwarded-For": named} if named else {}))
        answer = connection.getresponse()
        answer.read()
        found.add(answer.status)
    connection.close()
    return found


@pytest.mark.parametrize("believed", ["127.0.0.1", "*"])
def test_only_the_peer_of_a_connection_is_exempt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, believed: str
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", believed)
    with live_server(settings) as server:
        assert statuses(server.address, None) == {401}
        for forwarded in ("198.51.100.7", "127.0.0.1", "127.0.0.1:{port}", "::1"):
            assert 429 in statuses(server.address, forwarded), forwarded
        assert statuses(server.address, None) == {401}


@pytest.mark.parametrize(("host", "is_reached"), [("127.0.0.1", False), ("127.0.0.2", False), ("0.0.0.0", True)])
def test_a_service_knows_whether_others_reach_it(host: str, is_reached: bool) -> None:
    with ExitStack() as stack:
        assert is_reached_from_elsewhere([stack.enter_context(each) for each in bind(host, 0)]) == is_reached
