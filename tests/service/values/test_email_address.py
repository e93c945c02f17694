"""Addresses: the plain form and nothing else; whatever could reach a header or another recipient is refused."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.values.email_address import BadAddress, read_address, read_addresses, read_sender


@pytest.mark.parametrize(
    "text",
    [
        "a@b",
        "ann@mail.example",
        "Ann.O'Hara+files_1@mail-2.example",
        "!#$%&'*+-/=^_`{|}~?@example.org",
        "1@2.3",
        "x" * 64 + "@example.org",
        "x@" + ".".join(["y" * 62] * 3) + ".org",
        "post@xn--fiqs8s.example",
    ],
)
def test_a_plain_address_is_taken_as_it_is(text: str) -> None:
    assert read_address(text) == text


def test_the_domain_is_written_small_and_the_local_part_as_it_came() -> None:
    assert read_address("Ann@Mail.EXAMPLE") == "Ann@mail.example"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@mail.example",
        "ann@",
        "ann@@mail.example",
        "ann@bob@mail.example",
        "ann@mail.example.",
        "ann@.example",
        "ann@mail..example",
        ".ann@mail.example",
        "ann.@mail.example",
        "a..b@mail.example",
        "ann@-mail.example",
        "ann@mail-.example",
        "ann@mail_1.example",
        "ann@[127.0.0.1]",
        "Ann <ann@mail.example>",
        "<ann@mail.example>",
        '"ann b"@mail.example',
        "ann(comment)@mail.example",
        "ann b@mail.example",
        "ann@mail.example bob@mail.example",
        "ann@mail.example;bob@mail.example",
        "ann@mail.example\n",
        "ann@mail.example\r\nBcc: bob@mail.example",
        "ann\r\n@mail.example",
        "ann@mail.example\x00",
        "a\x00b@mail.example",
        "ann@mail.example\u2028Bcc: x@y.example",
        "ann@mail.example\x85",
        "\tann@mail.example",
        "ann@mail.example> NOTIFY=NEVER",
        "=?utf-8?q?a=0ABcc?=@mail.example",
        "用户@mail.example",
        "ann@例子.example",
        "ann\uff20mail.example",
        "x" * 65 + "@mail.example",
        "x@" + "y" * 64 + ".example",
        "x@" + ".".join(["y" * 60] * 5),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        read_address(text)

    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 500


_SPECIAL = st.text(st.sampled_from("ab@.\r\n\x00<>,;:\"'()[]\\ \t=?-_%\u2028é"), max_size=30)


@given(st.one_of(st.text(max_size=60), _SPECIAL, st.builds("{}@{}".format, _SPECIAL, _SPECIAL)))
@example("=?a?b?c?=@d")
def test_what_is_taken_stands_in_a_header_as_it_is(text: str) -> None:
    try:
        address = read_address(text)
    except BadAddress:
        return

    email = EmailMessage(SMTP)
    email["To"] = Address(addr_spec=address)
    assert email.as_bytes().split(b"\r\n")[0] == f"To: {address}".encode()


def test_a_list_is_read_in_its_order_and_each_address_once() -> None:
    assert read_addresses("b@x.example, a@x.example,b@X.example") == ("b@x.example", "a@x.example")


@pytest.mark.parametrize("text", ["", " ", "a@b,", ",a@b", "a@b,,c@d", "a@b;c@d", "a@b,nobody"])
def test_a_list_with_a_gap_or_a_bad_address_is_refused_whole(text: str) -> None:
    with pytest.raises(BadAddress):
        read_addresses(text)


def test_ten_addresses_are_taken_and_eleven_are_not() -> None:
    names = [f"u{number}@x.example" for number in range(11)]

    assert len(read_addresses(",".join(names[:10]))) == 10
    with pytest.raises(BadAddress, match="At most 10"):
        read_addresses(",".join(names))


def test_a_list_of_domains_is_the_only_ones() -> None:
    domains = ["x.example", "Y.example"]

    assert read_addresses("a@X.example,b@y.example", allowed_domains=domains) == ("a@x.example", "b@y.example")
    for other in ("a@z.example", "a@sub.x.example", "a@x.example.z.example"):
        with pytest.raises(BadAddress, match=r"x\.example, y\.example only"):
            read_addresses(f"a@x.example,{other}", allowed_domains=domains)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("v@up.example", "v@up.example"),
        ("vacpack <v@up.example>", "vacpack <v@up.example>"),
        (' "Files, packed" <v@up.example> ', '"Files, packed" <v@up.example>'),
        ("文件 <v@up.example>", "文件 <v@up.example>"),
    ],
)
def test_a_sender_may_have_a_name(text: str, shown: str) -> None:
    assert str(read_sender(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "vacpack", "a <b>", "v@up.example>", "a\nb <v@up.example>", "=?utf-8?q?=0A?= <v@up.example>", "a@b <c@d> e"],
)
def test_another_sender_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        read_sender(text)
