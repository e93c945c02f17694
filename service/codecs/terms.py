"""The words every codec and archive shares: formats, levels, chunks, and the one error. Nothing happens here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

Chunk = bytes | bytearray | memoryview
"""What codecs take and give. A chunk taken is not changed and not kept after the next one is asked for."""

Finished = Callable[[int], object]
"""Is told how many more bytes of its input a codec or archive is done with: compressed, not merely read ahead.

Called in the thread that takes the output, between two chunks of it. All calls together come to the size of the input;
progress is counted from nothing else.
"""


def ignore(size_bytes: int) -> None:
    """Count nothing: for those who do not ask how far a codec is."""


class Format(StrEnum):
    """What a result can be, by the name people ask for it."""

    ZSTD = "zstd"
    GZIP = "gzip"
    BROTLI = "brotli"
    XZ = "xz"
    ZIP = "zip"
    TAR_ZST = "tar.zst"
    TAR_GZ = "tar.gz"


ARCHIVE_FORMATS = (Format.ZIP, Format.TAR_ZST, Format.TAR_GZ)
"""Those that hold several files."""

STREAM_OF: Mapping[Format, Format | None] = {
    Format.ZSTD: Format.ZSTD,
    Format.GZIP: Format.GZIP,
    Format.BROTLI: Format.BROTLI,
    Format.XZ: Format.XZ,
    Format.ZIP: None,
    Format.TAR_ZST: Format.ZSTD,
    Format.TAR_GZ: Format.GZIP,
}
"""Whose one compressed stream a result of each format is; None: it is several."""

TRANSCODED = tuple(name for name, stream in STREAM_OF.items() if stream not in (None, Format.GZIP))
"""Formats of results that are offered as gzip too, made on the way out."""


class Level(StrEnum):
    """How much time a smaller result is worth."""

    FAST = "fast"
    BALANCED = "balanced"
    SMALL = "small"


class CodecError(Exception):
    """Bytes cannot be compressed or decompressed: corrupt, cut short, followed by garbage, or not as announced.

    The only error of the codecs and archives besides MemoryError and those that the input iterator itself raises.
    """


_NO_MEMORY = ("not enough memory", "could not allocate", "out of memory")
"""What zstandard, isal and deflate say; their errors carry no code."""


@contextmanager
def translated(*errors: type[Exception]) -> Iterator[None]:
    """Turn a library's ``errors`` into ``CodecError``, or MemoryError where they say that."""
    try:
        yield
    except errors as error:
        if any(words in str(error).lower() for words in _NO_MEMORY):
            raise MemoryError from error
        raise CodecError(str(error)) from error
