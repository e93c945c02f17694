"""Digests of what arrives: read what a client says of its bytes, in any of the fields in use, and say it of ours.

What names no algorithm of ours is refused: its client believes that its bytes are checked. Beside one of ours, in the
same field or in another, others are passed over, as RFC 9530 (2) allows.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import http_sf

from service.codecs.checksum import new_digest
from service.errors import BAD_DIGEST, DIGEST_MISMATCH, ServiceError

SHA_256 = "sha256"
ADLER_32 = "adler32"
_SIZES = {SHA_256: 32, "sha512": 64, "md5": 16, "sha1": 20, "crc32": 4, ADLER_32: 4}
"""Bytes of a digest, by the name of ``new_digest``. All but the first two only find accidents, which is what their
clients want."""
_REGISTERED = {"sha-256": SHA_256, "sha-512": "sha512", "md5": "md5", "sha": "sha1", "adler": ADLER_32}
"""Names of the registry of RFC 9530."""
_IN_LISTS = {
    **{name: algorithm for name, algorithm in _REGISTERED.items() if algorithm != ADLER_32},
    **{name: name for name in _SIZES if name != "crc32"},
}
"""Names of RFC 3230 and of ownCloud, in lower case."""
_MAX_FIELD_LENGTH = 1024
_MAX_MEMBERS = 20
"""Far more than the digests of all algorithms; 64 KiB of a field take the parser 0.2 s."""
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_HEX_NUMBER = re.compile(r"[0-9a-fA-F]{1,8}")


def expected_digests(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the digests that headers announce, in hex, by the name of ``new_digest``.

    Raises:
        ServiceError: bad_digest; malformed, of the wrong length, of no algorithm of ours, or two that differ.
    """
    expected: dict[str, str] = {}
    unchecked = [name for name, value in headers.items() if value and _is_of_others(name)]
    for header in FIELDS.keys() & headers.keys():
        found = _read(header, headers[header], FIELDS[header]) if headers[header] else {}
        if found is None:
            unchecked.append(header)
            continue
        for algorithm, digest in found.items():
            if expected.setdefault(algorithm, digest.hex()) != digest.hex():
                detail = "Digest headers say different things of the same bytes."
                raise ServiceError(BAD_DIGEST, detail, header=header)
    if unchecked and not expected:
        detail = f"{unchecked[0]} names no digest that is checked here; there are: {', '.join(_REGISTERED)}."
        raise ServiceError(BAD_DIGEST, detail, header=unchecked[0], allowed=list(_REGISTERED))
    return expected


def is_digest(header: str) -> bool:
    """Return whether a header, by its name in lower case, announces a digest, of ours or of others."""
    return header in FIELDS or _is_of_others(header)


def _is_of_others(header: str) -> bool:
    return header.startswith(_OF_OTHERS) and header not in FIELDS and header not in DESCRIPTIONS


def _read(header: str, value: str, read: Callable[[str], Mapping[str, bytes] | None]) -> Mapping[str, bytes] | None:
    try:
        if _is_too_long(value):
            raise ValueError("the field is too long")
        found = read(value)
        if found is not None and any(len(digest) != _SIZES[name] for name, digest in found.items()):
            raise ValueError("a digest has the wrong length")
    except ValueError as error:
        detail = f"{header} could not be read. Write Repr-Digest: sha-256=:BASE64:, with the digest's bytes in base64."
        raise ServiceError(BAD_DIGEST, detail, header=header) from error
    return found


def _is_too_long(value: str) -> bool:
    return len(value) > _MAX_FIELD_LENGTH or sum(map(value.count, ",; ")) > 3 * _MAX_MEMBERS


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
    return _listed([(name.strip().lower().removeprefix("id-"), digest) for name, _, digest in items], _base64)


def _oc_checksum(value: str) -> Mapping[str, bytes] | None:
    """Read an ``OC-Checksum``: ``SHA1:HEX``, or several with blanks between them, as ownCloud's server writes them."""
    items = [item.partition(":") for item in value.split()]
    return _listed([(name.lower(), digest) for name, _, digest in items], _hex)


def _listed(items: list[tuple[str, str]], decode: Callable[[str], bytes]) -> Mapping[str, bytes] | None:
    named = [(_IN_LISTS.get(name), digest) for name, digest in items]
    found = {name: (_number if name == ADLER_32 else decode)(digest) for name, digest in named if name}
    if len(found) < sum(name is not None for name, _ in named):
        raise ValueError("an algorithm is named twice")
    return found if found or not items else None


def _base64(value: str) -> bytes:
    return binascii.a2b_base64(value.strip().encode(), strict_mode=True)


def _hex(value: str) -> bytes:
    if not _HEX.fullmatch(value.strip()):
        raise ValueError("not hexadecimal")
    return bytes.fromhex(value)


def _number(value: str) -> bytes:
    """Read an Adler-32, which is in hexadecimal in all lists, and of which Nextcloud leaves out leading zeros."""
    if not _HEX_NUMBER.fullmatch(value.strip()):
        raise ValueError("no hexadecimal number of 32 bits")
    return int(value, 16).to_bytes(4, "big")


def _payload_digest(value: str) -> Mapping[str, bytes] | None:
    """Read an ``x-amz-content-sha256``; the body that a ``STREAMING-…`` stands for is not the file alone."""
    if value.strip().upper() == "UNSIGNED-PAYLOAD":
        return {}
    if value.strip().upper().startswith("STREAMING-"):
        detail = "x-amz-content-sha256 announces aws-chunked, whose frames are not the file's; send its bytes alone."
        raise ServiceError(BAD_DIGEST, detail, header="x-amz-content-sha256")
    return {SHA_256: _hex(value)}


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
        "x-amz-checksum-sha512": _one("sha512", _base64),
        "x-amz-checksum-md5": _one("md5", _base64),
        "x-amz-checksum-crc32": _one("crc32", _base64),
        "oc-checksum": _oc_checksum,
        "x-ms-blob-content-md5": _one("md5", _base64),
        "x-goog-hash": _instance_digest,
        "x-checksum-sha256": _one(SHA_256, _hex),
        "x-checksum-sha1": _one("sha1", _hex),
        "x-checksum-md5": _one("md5", _hex),
    }
)
"""Headers that announce a digest: RFC 9530, RFC 3230, RFC 1864, and those of object and artefact stores. Each reader
returns None where the field names no digest of ours, and raises ValueError where it is malformed."""
_OF_OTHERS = ("x-amz-checksum-", "x-ms-content-crc64")
"""How other headers begin that announce a digest: CRC-32C, CRC-64, and what stores will think of next."""
DESCRIPTIONS = frozenset({"x-amz-checksum-type", "x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm"})
"""Headers that only say of what kind another's digest is."""


def wants_sha256(header: str | None) -> bool:
    """Return whether ``Want-Repr-Digest`` asks for SHA-256; a malformed field asks for nothing (RFC 9530, 4).

    A bare ``sha-256`` counts as a weight of 1.
    """
    if header is None or _is_too_long(header):
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
    """Return the digests of bytes in memory, in hex, by the names of ``new_digest``."""
    digests = {name: new_digest(name) for name in algorithms}
    for digest in digests.values():
        digest.update(content)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def digest_field(sha256: str) -> str:
    """Return the value of a ``Repr-Digest`` field for a SHA-256 in hex."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"
