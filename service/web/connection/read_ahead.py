"""What a connection has sent and its protocol has not read yet, and the pieces of a body that nobody has taken yet.

uvicorn reads on however many requests wait, and gives its parser all that came at once: 11,000 tiny requests behind a
held one. Here the parser is given one request's bytes at a time, and the connection is read on when they are wanted.
"""

from __future__ import annotations

import asyncio
import re

from uvicorn.protocols.http.flow_control import FlowControl

MAX_WAITING_REQUESTS = 8
"""On one connection, behind the one that is being answered: each costs some 2 KiB, and browsers send none ahead."""
MAX_CALLS_AT_ONCE = 500
"""Of the parser, for pieces of a body: some 0.5 ms, after which others have their turn."""

_END_OF_HEAD = b"\r\n\r\n"
"""Also of a body in chunks: the parser takes no line that ends otherwise."""
MAX_CHUNKS = 250
"""In one piece."""
_MAX_PIECE_BYTES = 8 * 1024
"""Of a head, and of what follows the last chunk."""
_SIZE = re.compile(rb"[0-9A-Fa-f]+")
_MAX_LINE = 32
"""What is kept of a line in two: its size stands at its beginning, and the parser takes 16 digits."""
_MAX_TAIL = 256


class Flow(FlowControl):
    """uvicorn's, which reads on whenever somebody waits for a body; here not while something is held back."""

    is_held = False

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)

    def resume_reading(self) -> None:
        """Read on, unless something is held back."""
        if not self.is_held:
            super().resume_reading()


class Intake:
    """The bytes that came, cut so that no piece reaches from one request into the next."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._chunks: _Chunks | None = None
        self.left_bytes = 0
        """How many wait to be read."""
        self._before = b""
        """The last three bytes before those: of an end that came in two."""

    def add(self, data: bytes) -> None:
        """Take what came."""
        self._data, self._at = self._data[self._at :] + data if self.left_bytes else data, 0
        self.left_bytes = len(self._data)

    def begin_body(self, *, has_chunks: bool) -> None:
        """Take what comes for the body of the head that has been read."""
        self._chunks = _Chunks() if has_chunks else None

    def next_piece(self, body_left: int | None) -> bytes | memoryview:
        """Return the next bytes: at most these many of a body, or up to where a head or a body in chunks may end."""
        at, size_bytes = self._at, len(self._data)
        if body_left is not None:
            end = min(at + body_left, size_bytes)
        elif self._chunks is None:
            end = self._end_of_head(at)
        else:
            end = self._chunks.end_of_piece(self._data, at)
            self._chunks = None if self._chunks.is_over else self._chunks
        self._at, self.left_bytes = end, size_bytes - end
        if end - at >= 3:
            self._before = self._data[end - 3 : end]
        else:
            self._before = (self._before + self._data[at:end])[-3:]
        return self._data if end - at == size_bytes else memoryview(self._data)[at:end]

    def _end_of_head(self, at: int) -> int:
        began = (self._before + self._data[at : at + 3]).find(_END_OF_HEAD) if self._before and at < 3 else -1
        if began >= 0:
            return at + began + len(_END_OF_HEAD) - len(self._before)
        longest = min(at + _MAX_PIECE_BYTES, len(self._data))
        # It may have begun in the piece before.
        found = self._data.find(_END_OF_HEAD, max(0, at - 3), longest)
        return longest if found < 0 else found + len(_END_OF_HEAD)

    def put_back(self, count: int) -> None:
        """Have the last bytes of the last piece come again."""
        self._at -= count
        self.left_bytes += count
        self._before = b""

    def clear(self) -> None:
        """Forget all of it."""
        self._data, self._at, self._before, self.left_bytes = b"", 0, b"", 0
        self._chunks = None


class _Chunks:
    """Where in a body in chunks a connection is, told by the lines of their sizes (RFC 9112, 7.1).

    The content is not looked at: searching it for the body's end took half of what an upload in chunks cost. The parser
    decides what is right; where it takes a line for something else, a piece ends elsewhere, and nothing worse.
    """

    def __init__(self) -> None:
        self._left_bytes = 0
        """Of a chunk, with the end of line behind it."""
        self._line = b""
        """What came of a line whose end has not come."""
        self.is_over = False
        """Whether the last chunk's line has been read. Fields may follow it."""

    def end_of_piece(self, data: bytes, at: int) -> int:
        """Return up to where in ``data``, from ``at`` on, the next few chunks go."""
        for _ in range(MAX_CHUNKS):
            taken = min(self._left_bytes, len(data) - at)
            self._left_bytes -= taken
            at += taken
            end = data.find(b"\n", at)
            if end < 0:
                self._line = (self._line + data[at : at + _MAX_LINE])[:_MAX_LINE]
                return len(data)
            found = _SIZE.match(self._line + data[at : min(end, at + _MAX_LINE)])
            at, self._line = end + 1, b""
            size_bytes = int(found[0], 16) if found else 0
            if size_bytes == 0:
                self.is_over = True
                break
            self._left_bytes = size_bytes + 2
        return at


class Pieces:
    """A body's pieces until they are taken, as ``bytes``. Small ones are joined: each by itself would cost 40 bytes.

    Each byte is copied twice at most, whatever the pieces are; ``body + piece`` copied all that waited with each.
    """

    def __init__(self, *pieces: bytes) -> None:
        self._joined: list[bytes] = []
        self._tail = list(pieces)
        self._size_bytes = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._size_bytes

    def __bytes__(self) -> bytes:
        return b"".join([*self._joined, *self._tail])

    @property
    def count(self) -> int:
        """How many objects are kept."""
        return len(self._joined) + len(self._tail)

    def add(self, piece: bytes) -> None:
        """Take one more."""
        self._tail.append(piece)
        self._size_bytes += len(piece)
        if len(self._tail) >= _MAX_TAIL:
            self._joined.append(b"".join(self._tail))
            self._tail.clear()
