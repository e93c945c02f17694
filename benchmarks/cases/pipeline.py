"""The worker's pipeline (read, digest, compress, write, fsync) beside the bare library loop; verifying apart."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.plan import Context, log_text
from benchmarks.report import Row, Table, at_least
from benchmarks.rounds import Sample, interleave
from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS, Format, Level
from service.machine.allocator import keep_freed_memory
from service.work.attempt import Attempt
from service.work.result_maker import Tools, make_result
from storage.files.local_files import LocalFiles
from storage.ids import new_source_key, random_id
from storage.jobs.job_attempts import ClaimedJob, ClaimedSource

READ_BYTES = 1 << 20
BOUND = 0.85
KINDS = ((Format.ZSTD, Level.FAST), (Format.ZSTD, Level.BALANCED), (Format.GZIP, Level.BALANCED))


class TimedAttempt(Attempt):
    """An attempt that remembers when verifying began."""

    verifying_began = 0.0

    def enter(self, phase: str, *, bytes_done: int = 0) -> None:
        super().enter(phase, bytes_done=bytes_done)
        if phase == "verifying":
            self.verifying_began = time.perf_counter()


def _reads(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as source:
        while chunk := source.read(READ_BYTES):
            yield chunk


def _library(path: Path, kind: Format, level: Level, threads: int) -> Iterable[bytes]:
    """Yield what the library makes of the file, with nothing of ours in between but the gzip engine itself."""
    size = path.stat().st_size
    if kind is not Format.ZSTD:
        return CODECS[kind].compress(_reads(path), level=level, threads=threads, size_bytes=size)  # type: ignore[return-value]
    number = {Level.FAST: 3, Level.BALANCED: 9}[level]
    parameters = zstandard.ZstdCompressionParameters.from_level(number, threads=threads, write_checksum=True)
    chunker = zstandard.ZstdCompressor(compression_params=parameters).chunker(size=size, chunk_size=READ_BYTES)
    return _chunked(chunker, path)


def _chunked(chunker: Any, path: Path) -> Iterator[bytes]:
    for chunk in _reads(path):
        yield from chunker.compress(chunk)
    yield from chunker.finish()


def _bare(path: Path, target: Path, kind: Format, level: Level) -> Sample:
    os.sync()  # What the other side left to be written must not be waited for here.
    began = time.perf_counter()
    with target.open("wb", buffering=0) as result:
        for piece in _library(path, kind, level, os.cpu_count() or 1):
            result.write(piece)
    return Sample({"seconds": time.perf_counter() - began})


def _pipeline(store: LocalFiles, source: ClaimedSource, kind: Format, level: Level) -> Sample:
    job = ClaimedJob(1, random_id(), 1, random_id(), 1, "log", kind, level, source.size_bytes, False, (source,))
    attempt = TimedAttempt(source.size_bytes, threads=os.cpu_count() or 1)
    os.sync()
    began = time.perf_counter()
    made = make_result(Tools(store, CODECS, ARCHIVES), job, attempt)
    ended = time.perf_counter()
    store.delete([made.result.key])
    verifying = ended - attempt.verifying_began
    return Sample({"seconds": ended - began - verifying, "verifying": verifying})


def _stored(store: LocalFiles, content: bytes) -> ClaimedSource:
    part = store.create(new_source_key())
    part.write([content])
    part.commit()
    return ClaimedSource(part.key, "log", len(content), None)


def run(context: Context) -> Table:
    keep_freed_memory()  # As a worker does at its start; the base has it, too.
    folder = context.fresh_folder("pipeline")
    store = LocalFiles(folder)
    content = log_text(context.plan.work_bytes)
    source = _stored(store, content)
    plain, target = folder / "plain", folder / "bare-result"
    plain.write_bytes(content)
    rows = [row for kind, level in KINDS for row in _compare(context, store, source, plain, target, kind, level)]
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    note = f"One worker thread on {len(content) >> 20} MiB of log lines, all cores for the codec. The base reads and"
    note += " writes with nothing but the library: no digest, no fsync."
    return Table("The worker's pipeline", note, rows, context.plan.upload_rounds, base="bare library")


def _compare(
    context: Context, store: LocalFiles, source: ClaimedSource, plain: Path, target: Path, kind: Format, level: Level
) -> list[Row]:
    variants: dict[str, Callable[[], Sample]] = {
        "bare": lambda: _bare(plain, target, kind, level),
        "pipeline": lambda: _pipeline(store, source, kind, level),
    }
    results = interleave(variants, context.plan.upload_rounds)
    size = source.size_bytes / 1e6

    def rate(variant: str, figure: str) -> str:
        return f"{size / results.median(variant, figure):.0f} MB/s"

    ratios = results.ratios("seconds", "bare", "pipeline")
    name = f"{kind} {level}"
    return [
        Row(f"{name}: throughput", rate("pipeline", "seconds"), rate("bare", "seconds"), ratios, at_least(BOUND)),
        Row(f"{name}: verifying alone", rate("pipeline", "verifying"), ""),
    ]
