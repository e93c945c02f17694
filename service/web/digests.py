"""Digest fields (RFC 9530): read what a client says of its bytes, and say it of ours. SHA-256 only."""

from __future__ import annotations

from base64 import b64encode

import http_sf

from service.errors import BAD_DIGEST, DIGEST_MISMATCH, ServiceError

_ALGORITHM = "sha-256"
_MAX_FIELD_LENGTH = 4096
"""Far more than the digests of all algorithms; 64 KiB of a field take the parser 0.2 s."""


def expected_sha256(*headers: str | None) -> str | None:
    """Return the SHA-256, in hex, that ``Repr-Digest`` or ``Content-Digest`` announce; None where they do not.

    Other algorithms are ignored, as RFC 9530 (2, 3) allows.

    Raises:
        ServiceError: bad_digest; malformed, of the wrong length, or two headers that differ.
    """
    found = {digest for header in headers if header is not None and (digest := _sha256_in(header))}
    if len(found) > 1:
        raise ServiceError(BAD_DIGEST, "Repr-Digest and Content-Digest say different things of the same bytes.")
    return next(iter(found), None)


def _sha256_in(header: str) -> str | None:
    try:
        digest = _member(header)
    except ValueError as error:
        raise _malformed() from error
    if digest is None:
        return None
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise _malformed()
    return digest.hex()


def _member(header: str) -> object:
    """Return the SHA-256 member of a dictionary field, None where there is none; ValueError if it is malformed."""
    if len(header) > _MAX_FIELD_LENGTH:
        raise ValueError("the field is too long")
    members = http_sf.parse(header.encode("latin-1", "replace"), tltype="dictionary")
    found = members.get(_ALGORITHM) if isinstance(members, dict) else None
    return found[0] if isinstance(found, tuple) else None


def _malformed() -> ServiceError:
    return ServiceError(BAD_DIGEST, "Write it as sha-256=:BASE64:, with the 32 bytes of the digest in base64.")


def wants_sha256(header: str | None) -> bool:
    """Return whether ``Want-Repr-Digest`` asks for SHA-256; a malformed field asks for nothing (RFC 9530, 4).

    A bare ``sha-256`` counts as a weight of 1.
    """
    if header is None:
        return False
    try:
        weight = _member(header)
    except ValueError:
        return False
    return isinstance(weight, int) and weight > 0


def check_sha256(expected: str | None, received: str | None, name: str) -> None:
    """Compare what was announced with what arrived.

    Raises:
        ServiceError: digest_mismatch.
    """
    if expected is not None and expected != received:
        detail = f"The digest announced for {name!r} does not fit the bytes that arrived; nothing was kept."
        raise ServiceError(DIGEST_MISMATCH, detail, expected_sha256=expected, received_sha256=received)


def digest_field(sha256: str) -> str:
    """Return the value of a ``Repr-Digest`` field for a SHA-256 in hex."""
    return f"{_ALGORITHM}=:{b64encode(bytes.fromhex(sha256)).decode()}:"
