"""The operation log: audit events as JSON lines in a file, copied from the table after their commit.

A copy, so that events of all processes are in it, in their order, and so that a full disk costs no request anything:
what could not be written is written when there is room. One process copies.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from service.audit import event_json
from storage.audit_table import events_after, last_event_id
from storage.database import Database

PAUSE_SECONDS = 0.5
"""How often new events are looked for."""

BATCH = 500
"""Events written at once."""

_TAIL_BYTES = 64 * 1024
"""Much more than the longest line, so that the last whole one is in it."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class AuditFile:
    """Copies new events to the end of a file, which it makes with mode 0600; no link is followed. For one thread."""

    def __init__(self, path: Path, database: Database) -> None:
        """Into a file that is new go the events from here on."""
        self._path = path
        self._database = database
        self._file: int | None = None
        self._copied_id: int | None = None
        with database.read() as connection:
            self._newest_id = last_event_id(connection)

    def copy(self) -> None:
        """Append every event that is not in the file yet; begin another file where this one was rotated away.

        It goes on after the last event in the file, or where it was itself.

        Raises:
            OSError: the file cannot be written. Nothing of the events that failed is in it.
        """
        file = self._open()
        if self._copied_id is None:
            found = _last_id_in(file)
            # Of another database, if it is newer than ours.
            self._copied_id = self._newest_id if found is None else min(found, self._newest_id)
        while True:
            with self._database.read() as connection:
                rows = events_after(connection, self._copied_id, limit=BATCH)
            if not rows:
                return
            _append(file, "".join(f"{event_json(row)}\n" for row in rows).encode())
            self._copied_id = rows[-1]["id"]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is not None and not _is_at(self._file, self._path):
            self.close()
        if self._file is None:
            self._file = os.open(self._path, _FLAGS, 0o600)
        return self._file


def _is_at(file: int, path: Path) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file))


def _last_id_in(file: int) -> int | None:
    """Return the id of the last event in the file, None if there is none; what follows its last line end is cut off."""
    size = os.fstat(file).st_size
    tail = os.pread(file, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        # Its writer died in the middle of a line.
        os.ftruncate(file, size - len(tail) + len(whole))
    last = whole.rstrip(b"\n").rpartition(b"\n")[2]
    try:
        return int(json.loads(last)["id"])
    except (ValueError, TypeError, KeyError):
        return None


def _append(file: int, lines: bytes) -> None:
    """Append all of it or nothing."""
    begin = os.fstat(file).st_size
    written = 0
    try:
        while written < len(lines):
            written += os.write(file, lines[written:])
    except OSError:
        os.ftruncate(file, begin)
        raise
