"""Cutting and taking streams of chunks. No codec is named here; the codecs and archives use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from service.codecs.terms import Chunk, CodecError


def rechunk(chunks: Iterable[Chunk], size_bytes: int) -> Iterator[Chunk]:
    """Yield the same bytes in pieces of exactly ``size_bytes``; the last may be shorter, none is empty.

    What a codec makes of a stream can depend on how it was cut (brotli sizes its tables by the first call), so
    equal bytes out need equal cuts in. A piece that fits is passed on without a copy, and a view of what came in
    stays valid only until the next piece is asked for when the source reuses its buffer.
    """
    held: list[Chunk] = []
    held_bytes = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while held_bytes + len(view) >= size_bytes:
            cut = size_bytes - held_bytes
            yield b"".join([*held, view[:cut]]) if held else view[:cut]
            view, held, held_bytes = view[cut:], [], 0
        if view:
            held.append(view)
            held_bytes += len(view)
    if held:
        yield held[0] if len(held) == 1 else b"".join(held)


class ChunkReader:
    """Reads exact amounts from an iterator of chunks. Owned by one thread."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._view = memoryview(b"")

    def has_more(self) -> bool:
        """Say whether at least one byte is left."""
        while not self._view:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._view = memoryview(chunk)
        return True

    def take(self, size_bytes: int) -> Chunk:
        """Return exactly ``size_bytes`` bytes, a view where they lie together.

        Raises:
            CodecError: the stream ends first.
        """
        taken = self._view[:size_bytes]
        self._view = self._view[size_bytes:]
        if len(taken) == size_bytes:
            return taken
        parts, missing = [taken], size_bytes - len(taken)
        while missing:
            if not self.has_more():
                raise CodecError("The compressed data is cut short.")
            parts.append(self._view[:missing])
            self._view = self._view[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def read(self, size_bytes: int) -> bytes:
        """Return up to ``size_bytes`` bytes, fewer only at the end: what ``tarfile`` wants of a file."""
        parts: list[Chunk] = []
        while size_bytes and self.has_more():
            parts.append(self._view[:size_bytes])
            self._view = self._view[size_bytes:]
            size_bytes -= len(parts[-1])
        return b"".join(parts)
