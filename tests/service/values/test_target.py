"""URLs of strangers: what is refused at the door, in every spelling, and which addresses are inside."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from service.values.target import MAX_URL_LENGTH, BadTarget, Target, is_outside, read_networks, read_target

INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",
    "127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:db8::1", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1",
    "ff02::1",
]  # fmt: skip
OUTSIDE = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "172.32.0.1", "192.169.0.1", "2606:4700::1111"]


@pytest.mark.parametrize("text", INSIDE)
def test_an_address_inside_may_not_be_called(text: str) -> None:
    assert not is_outside(ip_address(text))


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_public_address_may(text: str) -> None:
    assert is_outside(ip_address(text))


def test_an_opened_network_may_and_its_neighbours_may_not() -> None:
    opened = read_networks("10.1.0.0/16, fd00:1::/64,")

    assert is_outside(ip_address("10.1.2.3"), opened)
    assert is_outside(ip_address("fd00:1::9"), opened)
    assert not is_outside(ip_address("10.2.0.1"), opened)
    assert not is_outside(ip_address("fd00:2::9"), opened)
    assert not is_outside(ip_address("::ffff:10.1.2.3"), opened)


@pytest.mark.parametrize("text", ["10.1.2.3/16", "10.0.0.0/33", "inside", "10.0.0.0/8;fd00::/8"])
def test_what_is_no_network_cannot_be_opened(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_networks(text)


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://a.example/x?y=z", Target("https", "a.example", 443, "/x?y=z"), "a.example"),
        ("HTTP://A.Example", Target("http", "a.example", 80, "/"), "a.example"),
        ("http://a.example:8080?q", Target("http", "a.example", 8080, "/?q"), "a.example:8080"),
        ("https://a.example:80/#part", Target("https", "a.example", 80, "/"), "a.example:80"),
        ("https://[2606:4700::1111]/", Target("https", "2606:4700::1111", 443, "/"), "[2606:4700::1111]"),
        ("https://8.8.8.8:8443/", Target("https", "8.8.8.8", 8443, "/"), "8.8.8.8:8443"),
        ("https://xn--bcher-kva.example/%C3%BC", Target("https", "xn--bcher-kva.example", 443, "/%C3%BC"), None),
        ("https://a_b.example./", Target("https", "a_b.example.", 443, "/"), None),
    ],
)
def test_a_url_is_read_into_what_the_request_is_made_of(url: str, target: Target, authority: str | None) -> None:
    assert read_target(url) == target
    assert target.authority == (authority or target.host)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0",
        "10.1.2.3", "100.64.1.1", "169.254.169.254", "2852039166", "[::1]", "[::]", "[::ffff:10.0.0.1]",
        "[::ffff:7f00:1]", "[fd00:ec2::254]", "[fe80::1]", "[64:ff9b::a9fe:a9fe]", "localhost", "LOCALHOST",
        "localhost.", "db.localhost", "127.0.0.1.",
    ],
)  # fmt: skip
def test_a_host_that_is_an_address_inside_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(BadTarget):
        read_target(f"http://{host}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::1]"])
def test_an_opened_address_is_taken(host: str) -> None:
    assert read_target(f"http://{host}:9000/", read_networks("127.0.0.0/8, ::1/128")).port == 9000


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "/hook", "//a.example/", "ftp://a.example/", "file:///etc/passwd", "gopher://a.example/",
        "javascript:alert(1)", "https://", "https:///path", "https://?q", "http:a.example",
        "https://user@a.example/", "https://user:secret@a.example/", "https://8.8.8.8@127.0.0.1/",
        "https://a.example:22/", "https://a.example:25/", "https://a.example:0/", "https://a.example:1023/",
        "https://a.example:65536/", "https://a.example:x/", "https://[::1/", "https://[fe80::1%25eth0]/",
        "https://a.example/ b", "https://a.example/\r\nHost: b", "https://a.ex\tample/", "https://a.example\\@b/",
        "https://bücher.example/", "https://a.example/ü", "https://a..example/", "https://.example/",
        "https://-/ ", "https://" + "a" * 64 + ".example/", "https://" + "a." * 130 + "example/",
        "https://a%2eexample/", "https://a.example/" + "x" * MAX_URL_LENGTH, "https://a,b.example/",
    ],
)  # fmt: skip
def test_what_is_no_url_to_call_is_refused(url: str) -> None:
    with pytest.raises(BadTarget):
        read_target(url)
