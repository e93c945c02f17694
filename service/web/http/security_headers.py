"""What every answer tells browsers about itself, whoever made it, unless it says more itself."""

from __future__ import annotations

from collections.abc import Iterable

RawHeaders = list[tuple[bytes, bytes]]

DEFAULTS: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    # What is no page of ours loads nothing, runs nothing, and stands in no frame.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    # An address is a capability: whoever knows it may download.
    (b"referrer-policy", b"no-referrer"),
]
ONLY_HTTPS = (b"strict-transport-security", b"max-age=31536000")
"""A year (RFC 6797). Of this host only: what else lies below it is not ours to decide."""


def completed(headers: Iterable[tuple[bytes, bytes]], is_secure: bool) -> RawHeaders:
    """Return an answer's headers with the defaults that it does not set itself; ``is_secure``: it leaves by HTTPS."""
    given = list(headers)
    names = {name for name, _ in given}
    given += [default for default in DEFAULTS if default[0] not in names]
    if is_secure:
        given.append(ONLY_HTTPS)
    return given
