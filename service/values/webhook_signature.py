"""Secrets and signatures of Standard Webhooks 1.0: HMAC-SHA256 over ``id.timestamp.body``, in base64 after ``v1,``.

Every secret signs, so that they can be exchanged without a gap: set the new one beside the old, change the receivers,
take the old one away.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import sha256

MARK = "whsec_"
SECRET_BYTES = range(24, 65)
"""How long a secret is, decoded (Standard Webhooks 1.0, "Signature scheme")."""


def read_secrets(text: str) -> tuple[bytes, ...]:
    """Return the secrets of a comma-separated list of ``whsec_`` and base64.

    Raises:
        ValueError: one of them is not of that form; the text does not repeat it.
    """
    return tuple(_secret(part.strip()) for part in text.split(",") if part.strip())


def _secret(text: str) -> bytes:
    wanted = f"a webhook secret is {MARK} and {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} random bytes in base64"
    try:
        secret = base64.b64decode(text.removeprefix(MARK), validate=True)
    except binascii.Error:
        raise ValueError(wanted) from None
    if not text.startswith(MARK) or len(secret) not in SECRET_BYTES:
        raise ValueError(wanted)
    return secret


def signature(secret: bytes, message_id: str, attempted_at: int, body: bytes) -> str:
    """Return one signature of a delivery, ``v1,`` and base64; ``attempted_at`` is in seconds since 1970."""
    digest = hmac.digest(secret, f"{message_id}.{attempted_at}.".encode() + body, sha256)
    return "v1," + base64.b64encode(digest).decode()
