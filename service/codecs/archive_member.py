"""What an archive is given of each file: its name, its size, and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.codecs.terms import Chunk, CodecError

Read = Callable[[], Iterator[Chunk]]


@dataclass(frozen=True, slots=True)
class Member:
    """One file to be packed."""

    name: str
    """Safe and unique: made by ``archive_names``."""
    size_bytes: int
    read: Read
    """Called when its turn has come; the iterator is used up before the next member is read."""
    look: Read | None = None
    """Gives the same bytes, called while ``read`` waits, where zip must know CRC or packed size before it writes them:
    where ``read`` hashes, this does not. None: ``read`` is called a second time."""


def exactly(member: Member, read: Read) -> Iterator[Chunk]:
    """Yield what ``read`` gives, and hold it to the member's size.

    Raises:
        CodecError: there are more or fewer bytes.
    """
    seen = 0
    for chunk in read():
        seen += len(chunk)
        yield chunk
    if seen != member.size_bytes:
        raise CodecError(f"A member of {member.size_bytes} bytes gave {seen}.")
