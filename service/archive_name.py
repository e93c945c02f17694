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
    " (2)", " (3)" ... before their suffix, and so does a folder that would meet a file. The same names always give the
    same result.
    """
    tree = _Tree()
    return [tree.place(_safe_path(name)) for name in names]


class _Tree:
    """The names given so far, folded as a file system without case does."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        # The number to try next, so that ten thousand files of one name are not fifty million tries.
        self._next: dict[str, int] = {}

    def place(self, path: str) -> str:
        """Return ``path`` or its first free numbered form, and remember it."""
        folder = ""
        *outer, last = path.split("/")
        for segment in outer:
            folder = self._free(folder, segment, self._files)
            self._folders.add(_folded(folder))
        placed = self._free(folder, last, self._files, self._folders)
        self._files.add(_folded(placed))
        return placed

    def _free(self, folder: str, segment: str, *taken: set[str]) -> str:
        wanted = candidate = f"{folder}/{segment}" if folder else segment
        count = self._next.get(_folded(wanted), 2) if any(_folded(wanted) in names for names in taken) else 1
        while any(_folded(candidate) in names for names in taken):
            numbered = _numbered(segment, count)
            candidate = f"{folder}/{numbered}" if folder else numbered
            count += 1
            self._next[_folded(wanted)] = count
        return candidate


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


def _numbered(segment: str, count: int) -> str:
    suffix = PurePosixPath(segment).suffix
    mark = f" ({count})"
    stem = _shortened(segment.removesuffix(suffix), SEGMENT_BYTES_MAX - len((mark + suffix).encode()))
    return f"{stem}{mark}{suffix}"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())
