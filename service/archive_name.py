"""Names of archive members, made safe to unpack anywhere. What a client called its files comes in; nothing is opened.

An archive is unpacked on somebody else's machine: no name may leave the folder it is unpacked in (CVE-2018-1002200 and
its many sisters), hide its ending behind a right-to-left mark, or overwrite a neighbour where case does not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

SEGMENT_BYTES_MAX = 240
"""File systems stop at 255 bytes a segment; what is left is for the " (2)" of a duplicate and a suffix."""

PATH_BYTES_MAX = 3000
"""Linux stops at 4096 bytes a path, and an archive is unpacked somewhere below a folder."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that have no place in a name: controls, bidi and zero-width marks, surrogates, line ends."""

_DRIVE = re.compile(r"^[A-Za-z]:")
_FORBIDDEN_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(r"^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


def archive_names(names: Sequence[str]) -> list[str]:
    """Return a safe, relative, unique member name for every name, in the same order.

    Folders are kept, with ``/`` between them. Names that would meet, even if only where case does not count, get
    " (2)", " (3)" ... before their suffix. The same names always give the same result.
    """
    taken: set[str] = set()
    return [_unused(_safe_path(name), taken) for name in names]


def _safe_path(name: str) -> str:
    segments = [_safe_segment(segment) for segment in _DRIVE.sub("", name.replace("\\", "/")).split("/")]
    kept = [segment for segment in segments if segment] or ["file"]
    while len("/".join(kept).encode()) > PATH_BYTES_MAX:
        kept.pop(0)
    return "/".join(kept)


def _safe_segment(segment: str) -> str:
    """Return one folder's or file's name, empty when nothing is left of it (as of ``..``)."""
    visible = "".join(
        char for char in unicodedata.normalize("NFC", segment) if unicodedata.category(char) not in _HIDDEN
    )
    # Windows drops dots and spaces at the end of a name, so "a." and ".. " would become other names there.
    clean = _FORBIDDEN_ON_WINDOWS.sub("_", visible).strip().rstrip(". ")
    if _DEVICE.match(clean):
        clean = f"_{clean}"
    return _shortened(clean, SEGMENT_BYTES_MAX)


def _shortened(segment: str, limit_bytes: int) -> str:
    """Cut a name to ``limit_bytes`` of UTF-8 before its suffix."""
    if len(segment.encode()) <= limit_bytes:
        return segment
    suffix = PurePosixPath(segment).suffix
    if len(suffix.encode()) > 20:
        suffix = ""
    stem = segment.removesuffix(suffix).encode()[: limit_bytes - len(suffix.encode())]
    return stem.decode(errors="ignore").rstrip(". ") + suffix


def _unused(path: str, taken: set[str]) -> str:
    """Return ``path`` or its first free numbered form, and remember it together with its folders."""
    candidate, count = path, 1
    while _folded(candidate) in taken:
        count += 1
        candidate = _numbered(path, count)
    taken.add(_folded(candidate))
    return candidate


def _numbered(path: str, count: int) -> str:
    folder, _, segment = path.rpartition("/")
    suffix = PurePosixPath(segment).suffix
    mark = f" ({count})"
    stem = _shortened(segment.removesuffix(suffix), SEGMENT_BYTES_MAX - len((mark + suffix).encode()))
    return f"{folder}/{stem}{mark}{suffix}" if folder else f"{stem}{mark}{suffix}"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())
