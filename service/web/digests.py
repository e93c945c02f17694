"""Digests of what arrives: read what a client says of its bytes, in any of the fields in use, and say it of ours.

A field that names no algorithm of ours is refused: its client believes that its bytes are checked. Beside one of ours
others are passed over, as RFC 9530 (2) allows.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import http_sf

from service.errors import BAD_DIGEST, DIGEST_MISMATCH, ServiceError

SHA_256 = "sha256"
_SIZES = {SHA_256: 32, "sha512": 64, "md5": 16, "sha1": 20}
"""Bytes of a digest, by hashlib's name. The last two only find accidents, which is what their clients want."""
_REGISTERED = {"sha-256": SHA_256, "sha-512": "sha512", "md5": "md5", "sha": "sha1"}
"""Names of the registry of RFC 9530, which are those of RFC 3230 in lower case."""
_MAX_FIELD_LENGTH = 4096
"""Far more than the digests of all algorithms; 64 KiB of a field take the parser 0.2 s."""
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


def expected_digests(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the digests that headers announce, in hex, by hashlib's name.

    Raises:
        ServiceError: bad_digest; malformed, of the wrong length, of no algorithm of ours, or two that differ.
    """
    expected: dict[str, str] = {}
    for header in FIELDS.keys() & headers.keys():
        if value := headers[header]:
            for algorithm, digest in _read(header, value, FIELDS[header]).items():
                if expected.setdefault(algorithm, digest.hex()) != digest.hex():
                    detail = "Digest headers say different things of the same bytes."
                    raise ServiceError(BAD_DIGEST, detail, header=header)
    return expected


def _read(header: str, value: str, read: Callable[[str], Mapping[str, bytes] | None]) -> Mapping[str, bytes]:
    try:
        if len(value) > _MAX_FIELD_LENGTH:
            raise ValueError("the field is too long")
        found = read(value)
        if found is not None and any(len(digest) != _SIZES[name] for name, digest in found.items()):
            raise ValueError("a digest has the wrong length")
    except ValueError as error:
        detail = f"{header} could not be read. Write Repr-Digest: sha-256=:BASE64:, with the digest's bytes in base64."
        raise ServiceError(BAD_DIGEST, detail, header=header) from error
    if found is None:
        detail = f"{header} names no digest that is checked here; there are: {', '.join(_REGISTERED)}."
        raise ServiceError(BAD_DIGEST, detail, header=header, allowed=list(_REGISTERED))
    return found


def _dictionary(value: str) -> Mapping[str, bytes] | None:
    """Read a field of RFC 9530."""
    members = http_sf.parse(value.encode("latin-1", "replace"), tltype="dictionary")
    found: dict[str, bytes] = {}
    for name, member in members.items() if isinstance(members, dict) else ():
        if algorithm := _REGISTERED.get(name):
            digest = member[0] if isinstance(member, tuple) else None
            if not isinstance(digest, bytes):
                raise ValueError("a digest is no byte sequence")
            found[algorithm] = digest
    return found if found or not members else None


def _instance_digest(value: str) -> Mapping[str, bytes] | None:
    """Read a ``Digest`` of RFC 3230 (4.3.2); ``id-sha-256`` and its like are of the file as it is, which ours are."""
    items = [item.strip().partition("=") for item in value.split(",") if item.strip()]
    named = [(_REGISTERED.get(name.strip().lower().removeprefix("id-")), digest) for name, _, digest in items]
    found = {algorithm: _base64(digest) for algorithm, digest in named if algorithm}
    if len(found) < sum(algorithm is not None for algorithm, _ in named):
        raise ValueError("an algorithm is named twice")
    return found if found or not items else None


def _base64(value: str) -> bytes:
    return binascii.a2b_base64(value.strip().encode(), strict_mode=True)


def _hex(value: str) -> bytes:
    if not _HEX.fullmatch(value.strip()):
        raise ValueError("not hexadecimal")
    return bytes.fromhex(value)


def _payload_digest(value: str) -> Mapping[str, bytes] | None:
    """Read an ``x-amz-content-sha256``; the body that a ``STREAMING-…`` stands for is not the file alone."""
    if value.strip().upper() == "UNSIGNED-PAYLOAD":
        return {}
    return None if value.strip().upper().startswith("STREAMING-") else {SHA_256: _hex(value)}


def _one(algorithm: str, decode: Callable[[str], bytes]) -> Callable[[str], Mapping[str, bytes]]:
    return lambda value: {algorithm: decode(value)}


FIELDS: Mapping[str, Callable[[str], Mapping[str, bytes] | None]] = MappingProxyType(
    {
        "repr-digest": _dictionary,
        "content-digest": _dictionary,
        "digest": _instance_digest,
        "content-md5": _one("md5", _base64),
        "x-amz-content-sha256": _payload_digest,
        "x-amz-checksum-sha256": _one(SHA_256, _base64),
        "x-amz-checksum-sha1": _one("sha1", _base64),
        "x-ms-blob-content-md5": _one("md5", _base64),
        "x-goog-hash": _instance_digest,
        "x-checksum-sha256": _one(SHA_256, _hex),
        "x-checksum-sha1": _one("sha1", _hex),
        "x-checksum-md5": _one("md5", _hex),
    }
)
"""Headers that announce a digest: RFC 9530, RFC 3230, RFC 1864, and those of object and artefact stores. Each reader
returns None where the field names no digest of ours, and raises ValueError where it is malformed."""


def wants_sha256(header: str | None) -> bool:
    """Return whether ``Want-Repr-Digest`` asks for SHA-256; a malformed field asks for nothing (RFC 9530, 4).

    A bare ``sha-256`` counts as a weight of 1.
    """
    if header is None or len(header) > _MAX_FIELD_LENGTH:
        return False
    try:
        members = http_sf.parse(header.encode("latin-1", "replace"), tltype="dictionary")
    except ValueError:
        return False
    member = members.get("sha-256") if isinstance(members, dict) else None
    weight = member[0] if isinstance(member, tuple) else None
    return isinstance(weight, int) and weight > 0


def check_digests(expected: Mapping[str, str], received: Mapping[str, str], name: str) -> None:
    """Compare what was announced with what arrived.

    Raises:
        ServiceError: digest_mismatch, with both in it: ``expected_sha256`` and ``received_sha256``.
    """
    for algorithm, digest in expected.items():
        if digest != received[algorithm]:
            detail = f"The digest announced for {name!r} does not fit the bytes that arrived; nothing was kept."
            both: dict[str, Any] = {f"expected_{algorithm}": digest, f"received_{algorithm}": received[algorithm]}
            raise ServiceError(DIGEST_MISMATCH, detail, **both)


def digests_of(content: bytes | bytearray, algorithms: Iterable[str]) -> Mapping[str, str]:
    """Return the digests of bytes in memory, in hex, by hashlib's names."""
    return {name: hashlib.new(name, content, usedforsecurity=False).hexdigest() for name in algorithms}


def digest_field(sha256: str) -> str:
    """Return the value of a ``Repr-Digest`` field for a SHA-256 in hex."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"
