"""File names of clients: data, never paths. The one place where they become safe to show, to send, to save, to unpack.

An archive is unpacked on somebody else's machine, and a download is saved there: no name may leave its folder
(CVE-2018-1002200 and its many sisters), hide its ending behind a right-to-left mark, or mean a device. Uploads and
archives share this, so that what a job shows is what its archive holds.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice

FALLBACK = "upload"
"""The name of what has none."""

MAX_NAME_BYTES = 240
"""Of one segment, in UTF-8: 255 is what file systems take, and a suffix or the " (2)" of a duplicate comes after it."""

MAX_PATH_CHARACTERS, MAX_PATH_BYTES = 1024, 3000
"""What the table's column holds; and Linux stops at 4096 bytes a path, below the folder it is unpacked in."""

MAX_RUN_OF_MARKS = 30
"""Marks on one letter, as stream-safe text has it (UAX 15, 13): more are no letter of any language."""

MAX_RAW_CHARACTERS = 2048
"""Of a name as it came, from its end: twice what is kept, for what of it is not seen."""
_MAX_SEGMENTS = 200
"""Of a name with more folders the last count."""
_MAX_RAW = 480
"""Characters of a segment before it is normalised, which takes time in step with the square of its marks. Three of them
become one of three bytes at best, so that more than 240 bytes are left."""
_MAX_SUFFIX_BYTES = 20

_EMOJI = "©®\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
_JOINING = "\u0600-\u0dff\u1000-\u109f\u1780-\u18af\ua840-\uabff\U00010a00-\U00011fff"
"""Scripts that write with joiners: Arabic to Sinhala, Burmese, Khmer, Mongolian, and their younger neighbours."""
_FLAG = "\U0001f3f4[\U000e0030-\U000e007a]{2,6}\U000e007f"
_BETWEEN_LETTERS = f"(?<=[{_EMOJI}{_JOINING}])[\u200c\u200d](?=[{_EMOJI}{_JOINING}])"
_UNSEEN = re.compile(
    f"({_FLAG}|{_BETWEEN_LETTERS})|["
    "\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"  # controls, and letters without a picture
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"  # marks that turn the direction, or join
    "\ufdd0-\ufdef\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
"""What is not seen goes; what stands in a group stays: the flags of regions, and joiners that shape what is beside."""

_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"|?*', "_"))
"""What Windows takes in no name, and a ``filename=`` in quotes not either."""
_DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])")
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever stands behind the dot."""
_BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace()) + "\u2800"
_TRAILING = "." + _BLANKS
"""Windows drops dots and spaces at the end of a name, so two names could meet."""


_ESCAPE = re.compile("%[0-9A-F]{2}")
_LONE = re.compile("[\ud800-\udfff]")
_MAX_LEADING_DOTS = 8


def clean_name(name: str | None, fallback: str = FALLBACK) -> str:
    """Return the last segment of ``clean_path``: a base name of at most 240 UTF-8 bytes, never empty."""
    return clean_path(name, fallback).rpartition("/")[2]


def clean_path(name: str | None, fallback: str = FALLBACK) -> str:
    """Return a relative path with ``/`` between clean segments, none of them a dot segment; never empty.

    Outer folders are left off where it would be too long. Cleaning what is clean changes nothing.
    """
    raw = (name or "")[-MAX_RAW_CHARACTERS:]
    split = re.split(r"[/\\]", raw[2:] if _DRIVE.match(raw) else raw)
    segments = (segment for segment in reversed(split) if segment not in ("", ".", ".."))
    kept: list[str] = []
    characters, size = -1, -1
    for segment in filter(None, map(_clean_segment, islice(segments, _MAX_SEGMENTS))):
        characters, size = characters + 1 + len(segment), size + 1 + len(segment.encode())
        if characters > MAX_PATH_CHARACTERS or size > MAX_PATH_BYTES:
            break
        kept.append(segment)
    return "/".join(reversed(kept)) or fallback


def split_suffix(name: str) -> tuple[str, str]:
    """Return stem and suffix, the suffix with its dot; empty where there is none, or one too long to be one."""
    stem, dot, suffix = name.rpartition(".")
    is_one = (
        stem.strip(".") and suffix and len(suffix) <= _MAX_SUFFIX_BYTES and len(suffix.encode()) <= _MAX_SUFFIX_BYTES
    )
    return (stem, dot + suffix) if is_one else (name, "")


def shortened(name: str, limit_bytes: int) -> str:
    """Return the name cut before its suffix to so many bytes of UTF-8, between characters as people see them."""
    if len(name.encode()) <= limit_bytes:
        return name
    stem, suffix = split_suffix(name)
    head = stem.encode()[: limit_bytes - len(suffix.encode())].decode(errors="ignore")
    return stem[: _border(stem, len(head))].rstrip(_TRAILING + "\u200c\u200d") + suffix


def _clean_segment(segment: str) -> str:
    """Return one folder's or file's name, empty when nothing of it can be seen."""
    stem, suffix = split_suffix(_seen(segment))
    name = unicodedata.normalize("NFC", _without_long_runs(stem[:_MAX_RAW] + suffix))
    name = shortened(name.strip(_BLANKS).rstrip(_TRAILING), MAX_NAME_BYTES)
    is_hidden_now = name.startswith(".") and not segment.startswith(".")
    return shortened(f"_{name}", MAX_NAME_BYTES) if is_hidden_now or _DEVICE.match(name) else name


def _seen(segment: str) -> str:
    """Return what can be seen of a segment and is allowed, without blanks around it."""
    visible = _UNSEEN.sub(lambda found: found[1] or "", _LONE.sub(_escaped_surrogate, segment))
    seen = visible.translate(_FORBIDDEN).strip(_BLANKS).rstrip(_TRAILING)
    bare = seen.lstrip(_TRAILING)
    return seen if len(seen) - len(bare) <= _MAX_LEADING_DOTS else f".{bare}"


def _escaped_surrogate(found: re.Match[str]) -> str:
    """Half a pair, which no UTF-8 can hold, is written as its bytes would be: ``%ED%A0%80``."""
    return "%%%02X%%%02X%%%02X" % tuple(found[0].encode("utf-8", "surrogatepass"))  # noqa: UP031 - three times as fast


def _without_long_runs(text: str) -> str:
    if len(text) <= MAX_RUN_OF_MARKS or text.isascii():
        return text
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.category(character).startswith("M") else 0
        if run <= MAX_RUN_OF_MARKS:
            kept.append(character)
    return "".join(kept)


def _border(text: str, at: int) -> int:
    """Return the nearest place at or before ``at`` where no letter with its marks, emoji or escape is cut in two."""
    border = at
    while 0 < border < len(text) and at - border <= 2 * MAX_RUN_OF_MARKS and _belong_together(text, border):
        border -= 1
    return border if border and not _belong_together(text, border) else at


def _belong_together(text: str, at: int) -> bool:
    if at >= len(text):
        return False
    before, after = text[at - 1], text[at]
    if "\U0001f1e6" <= after <= "\U0001f1ff":
        # Flags of countries are pairs.
        return len(re.split("[^\U0001f1e6-\U0001f1ff]", text[:at])[-1]) % 2 == 1
    is_escape = any(_ESCAPE.match(text, start) for start in (at - 1, at - 2) if start >= 0)
    is_emoji = before == "\u200d" or "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e01ef"
    return is_escape or is_emoji or after in "\u200c\u200d" or unicodedata.category(after).startswith("M")
