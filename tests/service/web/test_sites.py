"""Which names are the service's own, and which pages: what browsers say, read as they mean it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.settings import Settings
from service.values.allowed_hosts import read_hosts
from service.web.sites import Sites
from tests.service.web.in_process import ADMIN, InProcess

NAMED = Sites("https://Up.Example:8443/vacpack", "one.lan, *.inner.example", own_name="Box")


def is_foreign(headers: dict[str, str], public_url: str = "", scheme: str = "http") -> bool:
    raw = {name.lower().encode(): value.encode("latin-1") for name, value in headers.items()}
    return Sites(public_url).is_foreign({"type": "http", "scheme": scheme}, raw)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8000", "LOCALHOST", "localhost.", "a.localhost:1"),
        *("127.0.0.1", "127.0.0.1:8000", "192.168.1.7", "[::1]", "[::1]:8000", "[2001:db8::7]:80", "[fe80::1]"),
        *("up.example", "UP.example:80", "up.example.", "one.lan", "a.inner.example", "a.b.inner.example:8000"),
        *("box", "BOX:8000", "box.local"),
    ],
)
def test_the_service_answers_to_its_names_and_to_every_address(host: str) -> None:
    assert NAMED.is_known(host.encode())


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "up.example.evil.example",
            "evil-up.example",
            "one.lan.evil",
            "inner.example",
            "localhost.evil",
        ),
        *("xinner.example", "notlocalhost", "127.0.0.1.evil.example", "127.1", "2130706433", "0x7f000001", "1.2.3.4.5"),
        *(
            "",
            ":8000",
            "[",
            "[::1",
            "::1",
            "[evil.example]",
            "a b",
            "up.example:80:80",
            "user@up.example",
            "up.example/x",
        ),
        *("up.example,evil.example", "up.example\t", "\xff.example", "box.evil.example", "local", ".local"),
    ],
)
def test_any_other_name_is_nobody(host: str) -> None:
    assert not NAMED.is_known(host.encode("latin-1"))


def test_all_names_can_be_allowed() -> None:
    assert all(Sites(allowed_hosts="*").is_known(host) for host in (b"evil.example", b"a.b:1", b"::1"))


@pytest.mark.parametrize("names", ["a b", "http://up.example", "up.example:8000", "a,*b", "*.*", "*.", "ä.example"])
def test_what_is_no_name_is_refused_where_it_is_set(names: str) -> None:
    with pytest.raises(ValueError, match="no name of a host"):
        read_hosts(names)
    with pytest.raises(ValueError, match="no name of a host"):
        Settings(_env_file=None, allowed_hosts=names)


def test_a_name_that_is_not_the_services_own_gets_421_whatever_is_asked(app: InProcess) -> None:
    """Else a page whose name has come to lead here could read and change what its reader can reach."""
    elsewhere = {"Host": "rebound.example", "Origin": "http://rebound.example", "Sec-Fetch-Site": "same-origin"}
    receipt = app.put()

    for method, url in (("GET", "/"), ("GET", f"/jobs/{receipt['id']}"), ("PUT", "/a.txt"), ("GET", "/nothing/here")):
        app.refusal(method, url, 421, "unknown_host", headers=elsewhere)
    app.refusal("DELETE", f"/jobs/{receipt['id']}", 421, "unknown_host", headers=elsewhere)

    assert app.status(receipt)["status"] == "queued"
    assert 'vacpack_refused_total{code="unknown_host"} 5.0' in app.client.get("/metrics", headers=ADMIN).text


def test_names_can_be_added(start: Callable[..., InProcess]) -> None:
    app = start(allowed_hosts="testserver,*.lan", public_url="https://up.example/vacpack")

    for host, status in (("up.example", 200), ("a.lan:80", 200), ("box.lan.example", 421)):
        assert app.client.get("/livez", headers={"Host": host}).status_code == status


HERE = {"Host": "up.example:8000"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),  # curl
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://name.behind.a.proxy"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://up.example:8000"}, True),
        # A plain-HTTP network, where browsers tell only the origin.
        ({"Origin": "http://up.example:8000"}, False),
        ({"Origin": "http://UP.example:8000"}, False),
        ({"Origin": "https://up.example:8000"}, True),
        ({"Origin": "http://up.example"}, True),
        ({"Origin": "http://up.example:8000.evil.example"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Origin": "http://["}, True),
        ({"Origin": "http://\xff"}, True),
    ],
)
def test_a_page_of_another_site_is_told_by_what_its_browser_sends(headers: dict[str, str], expected: bool) -> None:
    assert is_foreign(HERE | headers) is expected


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "public_url", "expected"),
    [
        # The port that a scheme has anyway makes no other site; another scheme does.
        ("https://h", "h:443", "https", "", False),
        ("https://h:443", "h", "https", "", False),
        ("http://h:80", "h", "http", "", False),
        ("http://h", "h:80", "http", "", False),
        ("http://[::1]", "[::1]:80", "http", "", False),
        ("http://[::1]:8000", "[::1]:8000", "http", "", False),
        ("http://h", "h", "https", "", True),
        ("https://h", "h", "http", "", True),
        ("https://h:80", "h", "https", "", True),
        ("http://h:443", "h", "https", "", True),
        ("https://h:443:443", "h", "https", "", True),
        ("null", "", "http", "", True),
        # Behind a proxy that gives requests another host, the address people know is this site.
        ("https://h:443", "127.0.0.1:8000", "http", "https://h/vacpack", False),
        ("https://h", "127.0.0.1:8000", "http", "https://h:443", False),
        ("HTTPS://H", "127.0.0.1:8000", "http", "https://h", False),
        ("http://h", "127.0.0.1:8000", "http", "https://h", True),
        ("https://h", "127.0.0.1:8000", "http", "http://h", True),
        ("https://h.evil", "h", "http", "https://h", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "http", "http://nas.lan", False),
        ("http://nas.lan", "127.0.0.1:8000", "http", "", True),
    ],
)
def test_a_site_is_scheme_host_and_port(origin: str, host: str, scheme: str, public_url: str, expected: bool) -> None:
    assert is_foreign({"Origin": origin, "Host": host}, public_url, scheme) is expected


def test_a_request_says_by_itself_that_it_came_by_https(app: InProcess) -> None:
    headers: dict[str, Any] = {"Origin": "https://testserver"}

    assert app.client.put("https://testserver/a.txt", content=b"x", headers=headers).status_code == 202
    app.refusal("PUT", "http://testserver/a.txt", 403, "cross_site", headers=headers, content=b"x")
