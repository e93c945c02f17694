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
"""Of all that is kept, and as much again while it is gathered."""
MAX_EACH_BYTES = 2 * 1024**2 + 64 * 1024
"""Of one: 2 GiB of one byte are 2 MiB."""


class RecentConversions:
    """The last ones; those least recently asked for go first. Belongs to one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_each_bytes: int = MAX_EACH_BYTES) -> None:
        self._max_bytes = max_bytes
        self._max_each_bytes = max_each_bytes
        self._made: OrderedDict[Key, bytes] = OrderedDict()
        self.kept_bytes = 0
        self.gathering_bytes = 0
        """Of bodies that are under way: at most as many as are kept, so that slow readers take no more."""

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
                    if pieces is not None and self._may_gather(size_bytes, len(piece)):
                        pieces.append(piece)
                        size_bytes += len(piece)
                        self.gathering_bytes += len(piece)
                    elif pieces is not None:
                        pieces, size_bytes = None, self._give_up(size_bytes)
                    yield piece
            if pieces is not None:
                self._keep(key, b"".join(pieces))
        finally:
            self._give_up(size_bytes)

    def _may_gather(self, size_bytes: int, more_bytes: int) -> bool:
        is_small = size_bytes + more_bytes <= self._max_each_bytes
        return is_small and self.gathering_bytes + more_bytes <= self._max_bytes

    def _give_up(self, size_bytes: int) -> int:
        self.gathering_bytes -= size_bytes
        return 0

    def _keep(self, key: Key, made: bytes) -> None:
        """Keep one that is whole; what is oldest makes room."""
        if key in self._made:
            return
        while self.kept_bytes + len(made) > self._max_bytes:
            self.kept_bytes -= len(self._made.popitem(last=False)[1])
        self._made[key] = made
        self.kept_bytes += len(made)
