"""One member of a zip: judged, packed, and its CRC-32 and sizes written before its data wherever they can be known.

Readers of streams (Java's ``ZipInputStream``, ``busybox unzip``) refuse stored members whose sizes follow the data, and
disagree about how wide those numbers are. So a member's numbers stand in its local header, in one of two ways: what it
is packed to is held in memory, or it is read twice. Only what deflates to more than ``HELD_BYTES`` has a descriptor.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import chain

from isal import isal_zlib

from service.codecs.archive_member import Member, exactly
from service.codecs.gzip_pieces import LAST_BLOCK, PIECE_BYTES, Engine, deflate_pieces
from service.codecs.probe import SAMPLE_BYTES, SAMPLES, is_incompressible, probe
from service.codecs.terms import Chunk, CodecError, Finished, ignore
from service.codecs.zip_stream import DEFLATED, LIMIT_32, STORED, Entry, descriptor, local_header

HELD_BYTES = 8 << 20
"""Most of a packed member that is held in memory, by each job that makes a zip; one piece more for a moment."""

_MIGHT_OUTGROW_32 = LIMIT_32 - (64 << 20)
"""From here on what is deflated may need more than 32 bits though its source does not: deflate can add 0.03 %, which is
1.3 MB of 4 GiB. Then nobody could tell the width of a descriptor from the header, so it is deflated twice."""

_JUDGED_BYTES = SAMPLES * SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of a member as it is written, and the CRC-32 and size of what it stands for."""

    data: Chunk
    crc32: int
    size_bytes: int


def pack_member(
    member: Member, offset: int, *, engine: Engine, threads: int, finished: Finished
) -> Iterator[Chunk | Entry]:
    """Yield all that stands for a member at ``offset`` of a zip, and last its entry; and empty chunks meanwhile.

    ``finished`` is told of each byte once, when it is read for good and not when it is looked at.

    Raises:
        CodecError: its bytes are more or fewer than its ``size_bytes``, or others when they are read again.
    """
    chunks = exactly(member, member.read)
    head = list(_head(chunks))
    method = STORED if _is_incompressible(head) else DEFLATED
    entry = Entry(member.name.encode(), method, offset, member.size_bytes)
    packed = partial(_packed, entry, engine=engine, threads=threads)
    parts = packed(chain(head, chunks), finished=finished)
    if _must_look(entry):
        seen = packed(exactly(member, member.look or member.read), finished=ignore)
        known = yield from _looked_at(entry, seen)
        yield from _known(known, entry, parts)
        return
    held = yield from _held(parts)
    if sum(len(part.data) for part in held) <= HELD_BYTES:
        yield from _known(reduce(_joined, held, entry), entry, held)
    else:
        yield from _described(replace(entry, described=True), chain(held, parts))


def _must_look(entry: Entry) -> bool:
    if entry.method == STORED:
        return entry.size_bytes > HELD_BYTES
    return _MIGHT_OUTGROW_32 <= entry.size_bytes <= LIMIT_32


def _known(known: Entry, entry: Entry, parts: Iterable[_Part]) -> Iterator[Chunk | Entry]:
    yield local_header(known)
    for part in parts:
        entry = _joined(entry, part)
        yield part.data
    if entry != known:
        raise CodecError("A member gave other bytes when it was read again.")
    yield entry


def _described(entry: Entry, parts: Iterable[_Part]) -> Iterator[Chunk | Entry]:
    yield local_header(entry)
    for part in parts:
        entry = _joined(entry, part)
        yield part.data
    yield descriptor(entry)
    yield entry


def _looked_at(entry: Entry, parts: Iterable[_Part]) -> Generator[Chunk, None, Entry]:
    for part in parts:
        entry = _joined(entry, part)
        yield b""
    return entry


def _held(parts: Iterator[_Part]) -> Generator[Chunk, None, list[_Part]]:
    """Return all parts, or of more than ``HELD_BYTES`` just as many as it takes to know that."""
    held: list[_Part] = []
    held_bytes = 0
    while held_bytes <= HELD_BYTES and (part := next(parts, None)) is not None:
        held.append(part)
        held_bytes += len(part.data)
        yield b""
    return held


def _packed(
    entry: Entry, chunks: Iterable[Chunk], *, engine: Engine, threads: int, finished: Finished
) -> Iterator[_Part]:
    if entry.method == STORED:
        for chunk in chunks:
            yield _Part(chunk, isal_zlib.crc32(chunk), len(chunk))
            finished(len(chunk))
        return
    # Threads are started for each member: one piece would keep but one of them busy.
    threads = threads if entry.size_bytes > PIECE_BYTES else 1
    for piece in deflate_pieces(chunks, engine=engine, threads=threads, finished=finished):
        yield _Part(piece.deflated, piece.crc32, piece.size_bytes)
    yield _Part(LAST_BLOCK, 0, 0)


def _joined(entry: Entry, part: _Part) -> Entry:
    crc32 = isal_zlib.crc32_combine(entry.crc32, part.crc32, part.size_bytes)
    return replace(entry, crc32=crc32, packed_bytes=entry.packed_bytes + len(part.data))


def _head(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Take the first MiB or a little more of a member: what there is to judge it by."""
    seen = 0
    while seen < _JUDGED_BYTES and (chunk := next(chunks, None)) is not None:
        seen += len(chunk)
        yield chunk


def _is_incompressible(head: list[Chunk]) -> bool:
    # Cut, so that the judgement does not depend on how the member was.
    view = b"".join(head)[:_JUDGED_BYTES]
    return is_incompressible(probe(lambda offset, size: view[offset : offset + size], len(view)))
