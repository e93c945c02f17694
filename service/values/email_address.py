"""E-mail addresses as clients name them: the plain form that browsers take, and nothing that could reach a header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.errors import MessageError
from email.headerregistry import Address

MAX_ADDRESSES = 10
"""Of one upload. Each gets a message of its own; more people are a mailing list's business."""

_MAX_LOCAL_PART, _MAX_ADDRESS = 64, 254
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})*")
"""What an ``<input type=email>`` accepts (HTML, 4.10.5.1.5): no display names, comments, quotes, spaces or controls."""


class BadAddress(ValueError):
    """Not an address this service writes to; the text is a sentence that says why."""


def read_address(text: str) -> str:
    """Return the address, its domain in lower case.

    Raises:
        BadAddress: it has another form, is too long (RFC 5321, 4.5.3.1), or is not ASCII.
    """
    local_part, _, domain = text.rpartition("@")
    is_short = len(local_part) <= _MAX_LOCAL_PART and len(text) <= _MAX_ADDRESS
    # "=?" begins an encoded word (RFC 2047), which a header would decode to anything.
    is_plain = "=?" not in text and _ADDRESS.fullmatch(text) is not None
    if not (is_short and is_plain and _is_parsed_as(local_part, domain)):
        raise BadAddress(
            f"{text[:100]!r} is not an address like name@mail.example, in ASCII and without a name beside."
        )
    return f"{local_part}@{domain.lower()}"


def _is_parsed_as(local_part: str, domain: str) -> bool:
    """Return whether the library that writes the headers takes it for the same: it refuses dots in a row."""
    try:
        address = Address(addr_spec=f"{local_part}@{domain}")
    except (MessageError, ValueError, IndexError):
        return False
    return (address.username, address.domain) == (local_part, domain)


def read_addresses(text: str, *, allowed_domains: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the addresses of a comma-separated list, each once, in its order; no domains allow all.

    Raises:
        BadAddress: one is bad or of another domain, or there are none or more than ``MAX_ADDRESSES``.
    """
    pieces = text.split(",", MAX_ADDRESSES)
    if len(pieces) > MAX_ADDRESSES:
        raise BadAddress(f"At most {MAX_ADDRESSES} addresses can be told of one job.")
    addresses = tuple(dict.fromkeys(read_address(piece.strip(" ")) for piece in pieces))
    domains = {domain.lower() for domain in allowed_domains}
    for address in addresses:
        if domains and address.rpartition("@")[2] not in domains:
            raise BadAddress(f"This service writes to addresses at {', '.join(sorted(domains))} only; not {address!r}.")
    return addresses


def read_sender(text: str) -> Address:
    """Return whom messages come from: an address, or ``Name <address>``.

    Raises:
        BadAddress: it is neither.
    """
    name, opening, rest = text.strip().rpartition("<")
    spec = rest.removesuffix(">") if opening and rest.endswith(">") else text.strip()
    name = name.strip().strip('"')
    if not name.isprintable() or any(part in name for part in ("<", ">", "=?")):
        raise BadAddress("A sender is one address, or a name and <one address>.")
    return Address(display_name=name, addr_spec=read_address(spec))
