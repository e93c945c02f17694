"""A file system for tests that records every call and can fail any one of them. The calls themselves are real."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.files.file_system import FileSystem

CALLS = (
    "open", "close", "writev", "fsync", "flock", "fstat", "lstat", "rename", "unlink", "mkdir", "scandir", "statvfs",
    "open_reader", "begin_writeback", "drop_cached",
)  # fmt: skip
"""Every entry of ``FileSystem``; a test holds this list complete."""


class RecordingFileSystem(FileSystem):
    """The real calls, recorded as ``(name, file name)`` in order.

    ``fail_at(n, number)`` makes the n-th call from then on raise that errno, and with ``lasting`` every later one.
    A close that is made to fail has closed the descriptor before, as Linux does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []
        self.fired: str | None = None
        self.before: Callable[[str, str], None] = lambda call, name: None
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()
        self._left = -1
        self._number = 0
        self._lasting = False
        for call in CALLS:
            setattr(self, call, self._recorded(call, getattr(self, call)))

    def fail_at(self, nth: int, number: int, *, lasting: bool = False) -> None:
        self.fired, self._left, self._number, self._lasting = None, nth, number, lasting

    def heal(self) -> None:
        self._left, self._lasting = -1, False

    def forget(self) -> None:
        self.calls.clear()

    def _recorded(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(first: Any, *more: Any, **named: Any) -> Any:
            name = self._names.get(first, "?") if isinstance(first, int) else Path(first).name
            self.before(call, name)
            with self._lock:
                self.calls.append((call, name))
                fails = self._fails_now(call)
            if fails and call != "close":
                raise OSError(self._number, os.strerror(self._number))
            answer = real(first, *more, **named)
            if call == "open":
                self._names[answer] = name
            if fails:
                raise OSError(self._number, os.strerror(self._number))
            return answer

        return called

    def _fails_now(self, call: str) -> bool:
        if self._left < 0:
            return False
        self._left -= self._left > 0
        fails = self._left == 0
        if fails:
            self.fired = self.fired or call
            self._left = 0 if self._lasting else -1
        return fails
