"""Who asks, as limits count it."""

from __future__ import annotations

import pytest

from service.caller import INSIDE, UNKNOWN, Callers, read_trusted

BEHIND_A_PROXY = Callers(read_trusted("10.0.0.1, 10.1.0.0/16,fd00::/8"))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", UNKNOWN),
        ("a proxy's\nnonsense", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_an_address_is_a_key_and_whatever_else_is_the_same_one(host: str, key: str) -> None:
    assert BEHIND_A_PROXY.key_of(host) == key


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "10.1.2.3", "fd00::5", None]
)
def test_the_machine_itself_and_its_proxies_are_exempt(host: str | None) -> None:
    assert BEHIND_A_PROXY.key_of(host) is None


@pytest.mark.parametrize(
    ("host", "key"), [("127.0.0.1", INSIDE), ("::1", INSIDE), ("10.1.2.3", INSIDE), ("192.0.2.1", "192.0.2.1")]
)
def test_a_forwarded_address_exempts_nobody(host: str, key: str) -> None:
    assert BEHIND_A_PROXY.key_of(host, is_forwarded=True) == key


@pytest.mark.parametrize("value", ["", "*", "localhost", "unix:", ",,"])
def test_what_names_no_network_exempts_nobody(value: str) -> None:
    assert read_trusted(value) == ()
    assert Callers(read_trusted(value)).key_of("192.0.2.1") == "192.0.2.1"
