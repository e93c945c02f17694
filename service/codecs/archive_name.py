"""Names of archive members: safe as ``file_names`` makes them, and unique. What a client called its files comes in.

No member may overwrite a neighbour where case does not count.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from service.values.file_names import MAX_NAME_BYTES, clean_path, shortened, split_suffix


def archive_names(names: Sequence[str]) -> list[str]:
    """Return a safe, relative, unique member name for every name, in the same order.

    Folders are kept, with ``/`` between them. Names that would meet, even if only where case does not count, get
    " (2)", " (3)" ... before their suffix, and so does a folder that would meet a file. The same names always give the
    same result.
    """
    tree = _Tree()
    return [tree.place(clean_path(name)) for name in names]


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


def _numbered(segment: str, count: int) -> str:
    stem, suffix = split_suffix(segment)
    mark = f" ({count})"
    return f"{shortened(stem, MAX_NAME_BYTES - len((mark + suffix).encode()))}{mark}{suffix}"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())
