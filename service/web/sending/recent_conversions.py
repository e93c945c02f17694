"""What was made of large contents and came out small, kept for whoever asks for it next.

Zeros of 2 GiB as gzip are 2 MiB and 1.1 s of processor time, however little of them is read: the largest cost that a
download can have for each of its bytes. Only what nobody could have cheaper is kept, in memory, and not much of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing

from storage.ids import Key

COSTLY_BYTES = 16 * 1024**2
"""Content that is read to make it; less is made in 10 ms."""
MAX_BYTES = 8 * 1024**2
"""Of all that is kept or being gathered."""
MAX_EACH_BYTES = 2 * 1024**2 + 64 * 1024
"""Of one: 2 GiB of one byte are 2 MiB."""


class RecentConversions:
    """The last ones; those least recently asked for go first. Belongs to one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_each_bytes: int = MAX_EACH_BYTES) -> None:
        self._max_bytes = max_bytes
        self._max_each_bytes = max_each_bytes
        self._made: OrderedDict[Key, bytes] = OrderedDict()
        self.held_bytes = 0
        """Of what is kept, and of what is being gathered."""

    def get(self, key: Key) -> bytes | None:
        """Return what was made of this stored file, if it is kept."""
        made = self._made.get(key)
        if made is not None:
            self._made.move_to_end(key)
        return made

    async def gathered(self, key: Key, body: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Yield the body, and keep it if it ends and is small enough; closes it."""
        pieces: list[bytes] | None = []
        size_bytes = 0
        try:
            async with aclosing(body):
                async for piece in body:
                    if pieces is not None and self._has_room(size_bytes, len(piece)):
                        pieces.append(piece)
                        size_bytes += len(piece)
                    else:
                        pieces = None
                    yield piece
            if pieces is not None and key not in self._made:
                self._made[key] = b"".join(pieces)
                self.held_bytes += size_bytes
        finally:
            self.held_bytes -= size_bytes

    def _has_room(self, size_bytes: int, more_bytes: int) -> bool:
        """Take room for so many bytes more of a body that holds ``size_bytes``; what is oldest makes room."""
        if size_bytes + more_bytes > self._max_each_bytes:
            return False
        while self.held_bytes + more_bytes > self._max_bytes and self._made:
            self.held_bytes -= len(self._made.popitem(last=False)[1])
        if self.held_bytes + more_bytes > self._max_bytes:
            return False
        self.held_bytes += more_bytes
        return True
