"""File names of clients: data, never paths. Here they become names that are safe to show, to send and to save."""

from __future__ import annotations

import re
import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any
from urllib.parse import quote, unquote_to_bytes

MAX_NAME_BYTES = 240
"""UTF-8 bytes of a shown name: 255 is what file systems take, and a suffix comes after it."""
FALLBACK = "upload"

MAX_SEMICOLONS = 100
"""In a ``Content-Disposition``: the library's time grows with their square, 10 s for 64 KiB of nothing else."""

_UNSAFE = re.compile(
    '[\x00-\x1f\x7f-\x9f"\\\\/'  # controls, quotes, separators
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the reading direction round
    "\u2028\u2029\ufeff\ufffd\ud800-\udfff]"
)
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever stands behind the dot."""
_TRAILING = "." + "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""Windows drops dots and spaces at the end of a name, so two names could meet."""


def clean_name(name: str | None, fallback: str = FALLBACK) -> str:
    """Return the base name, without anything unsafe, in NFC, of at most 240 UTF-8 bytes; never empty."""
    return _clean_segment(re.split(r"[/\\]", (name or "").rstrip("/\\"))[-1]) or fallback


def clean_path(name: str | None, fallback: str = FALLBACK) -> str:
    """Return the relative path for a member of an archive: each segment clean, none of them ``..``."""
    segments = (_clean_segment(segment) for segment in re.split(r"[/\\]", name or ""))
    return "/".join(segment for segment in segments if segment)[-1024:].lstrip("/") or fallback


def _clean_segment(segment: str) -> str:
    # Normalised last: what stood between a letter and its accent may have been taken out.
    visible = unicodedata.normalize("NFC", _UNSAFE.sub("", segment))
    name = _shorten(visible.strip().rstrip(_TRAILING))
    return _shorten(f"_{name}") if _DEVICE.match(name) else name


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    tail = f"{dot}{suffix}" if stem and len(suffix.encode()) <= 20 else ""
    head = (stem if tail else name).encode()[: MAX_NAME_BYTES - len(tail.encode())]
    return head.decode(errors="ignore").rstrip(_TRAILING) + tail


def name_of_part(raw: bytes) -> str:
    """Return the file name of a form's part: UTF-8, with the three characters that RFC 7578 (4.2) escapes."""
    for escaped, character in ((b"%22", b'"'), (b"%0D", b"\r"), (b"%0A", b"\n")):
        raw = raw.replace(escaped, character)
    return raw.decode(errors="replace")


def name_of_disposition(header: str | None) -> str | None:
    """Return the file name in a ``Content-Disposition``, ``filename*`` before ``filename`` (RFC 6266, 4.3).

    None where there is none, or where more semicolons than ``MAX_SEMICOLONS`` stand in it.
    """
    if not header or header.count(";") > MAX_SEMICOLONS:
        return None
    message = Message()
    message["content-disposition"] = header
    # The library's types leave out what it returns for the extended form: (charset, language, value).
    parameters: list[tuple[str, Any]] = message.get_params([], "content-disposition")
    found = [value for name, value in parameters if name == "filename"]
    extended = [value for value in found if isinstance(value, tuple)]
    if extended:
        return collapse_rfc2231_value(extended[0])
    # Header bytes arrive as latin-1; what clients send there is UTF-8.
    return found[0].encode("latin-1", "ignore").decode(errors="replace") if found else None


def name_of_path(raw_path: bytes) -> str:
    """Return the last segment of a request's path, percent-decoded once, as the client meant it."""
    return unquote_to_bytes(raw_path.rsplit(b"/", 1)[-1]).decode(errors="replace")


def attachment(name: str) -> bytes:
    """Return a ``Content-Disposition`` that browsers and ``curl -OJ`` both save under ``name``.

    curl ignores ``filename*`` and takes the raw UTF-8 of ``filename``; browsers prefer ``filename*`` (RFC 8187).
    """
    return b"attachment; filename=\"%s\"; filename*=UTF-8''%s" % (name.encode(), quote(name, safe="").encode())
