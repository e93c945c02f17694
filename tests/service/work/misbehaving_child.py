"""A worker process whose zstd does what the first bytes of a file tell it to. Started in place of the real child.

``POISON`` kills the process. ``GATE`` and a path on the first line: it waits until that file exists. ``STUCK``: the
first worker that reads it never comes back from it, the next one does: the path on the first line is what it left.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path

from service.codecs.codec import CODECS, Chunk, Format, Level, ZstdCodec
from service.codecs.terms import Finished, ignore
from service.wiring.worker import open_files
from service.work.child import main

POISON = b"POISON"
GATE = b"GATE "
STUCK = b"STUCK "


class ObedientCodec(ZstdCodec):
    """Zstd that obeys."""

    def compress(
        self,
        chunks: Iterable[Chunk],
        *,
        level: Level,
        threads: int = 1,
        size_bytes: int | None = None,
        finished: Finished = ignore,
    ) -> Generator[Chunk]:
        head, rest = _peek(chunks)
        if head.startswith(POISON):
            os.kill(os.getpid(), signal.SIGKILL)
        if head.startswith(GATE):
            gate = Path(head[len(GATE) :].split(b"\n")[0].decode())
            while not gate.exists():
                time.sleep(0.02)
                yield b""
        if head.startswith(STUCK):
            _be_stuck(Path(head[len(STUCK) :].split(b"\n")[0].decode()))
        yield from super().compress(rest, level=level, threads=threads, size_bytes=size_bytes, finished=finished)


def _be_stuck(trace: Path) -> None:
    if not trace.exists():
        trace.touch()
        threading.Event().wait()


def _peek(chunks: Iterable[Chunk]) -> tuple[bytes, Iterator[Chunk]]:
    rest = iter(chunks)
    first = next(rest)
    return bytes(first), chain([first], rest)


if __name__ == "__main__":
    main(open_files, codecs={**CODECS, Format.ZSTD: ObedientCodec()})
