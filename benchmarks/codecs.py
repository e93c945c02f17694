"""Measures every format at every level: speed on two cores, ratio, memory. Run: ``python -m benchmarks.codecs [FILE]``.

Each figure is taken in a process of its own; memory is the peak over what the process had before it began. Speeds are
the best of the runs that fit into a few seconds, since other work on the machine can only slow them down. ``pigz`` runs
beside them where it is installed. Writes the table as Markdown to FILE, or to standard output.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import random
import resource
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from service.codecs.archive import ARCHIVES, Member
from service.codecs.codec import CODECS, Chunk, Format, Level

MIB = 1 << 20
PART_BYTES = 16 * MIB
SLOW = {("brotli", "small"), ("xz", "fast"), ("xz", "balanced"), ("xz", "small")}
"""Measured on the first quarter of each part."""
SETTINGS = {
    ("zstd", "fast"): "zstandard 3, jobs of 8 MiB",
    ("zstd", "balanced"): "zstandard 9, jobs of 4 MiB",
    ("zstd", "small"): "zstandard 19, jobs of 4 MiB",
    ("gzip", "fast"): "isal 2",
    ("gzip", "balanced"): "libdeflate 6",
    ("gzip", "small"): "libdeflate 10",
    ("brotli", "fast"): "brotli 4, window 4 MiB",
    ("brotli", "balanced"): "brotli 5, window 4 MiB",
    ("brotli", "small"): "brotli 9, window 4 MiB",
    ("xz", "fast"): "liblzma 1",
    ("xz", "balanced"): "liblzma 6",
    ("xz", "small"): "liblzma 7",
    ("zip", "fast"): "isal 2",
    ("zip", "balanced"): "zlib-ng 6",
    ("zip", "small"): "zlib-ng 9",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="where to write the table")
    parser.add_argument("--one", nargs=3, metavar=("FORMAT", "LEVEL", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--unpack", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, level, folder = arguments.one
        print(json.dumps(measure(Format(name), Level(level), Path(folder), unpack=arguments.unpack)))
        return
    with tempfile.TemporaryDirectory() as folder_name:
        page = table(Path(folder_name))
    if arguments.file:
        arguments.file.write_text(page)
    else:
        print(page)


def table(folder: Path) -> str:
    for name, content in corpus().items():
        (folder / name).write_bytes(content)
    pigz = [pigz_row(folder)] if shutil.which("pigz") else []
    rows = [row(name, level, folder) for name, level in SETTINGS]
    pigz += [pigz_row(folder)] if pigz else []
    lines = [
        "| format | level | library and setting | MB/s | MB per CPU s | ratio | MiB | MB/s back | MiB back |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        *pigz,
    ]
    return HEAD.format(date=datetime.now(UTC).date(), versions=versions()) + "\n".join(lines) + "\n" + TAIL


HEAD = """# Codecs: what each level is and costs

64 MiB of *mix*: 16 MiB each of Python sources, an access log with JSON lines, shared libraries and random bytes, so the
ratio is low by design; brotli `small` and xz: the first 4 MiB of each. Two threads. Memory is what a process needs on
top of itself; it does not grow with the file. Other work on the machine slows MB/s more than MB per CPU second.
`pigz -p2 -6`, run first and last, is the yardstick. Written by `python -m benchmarks.codecs docs/codecs.md` on {date}:
{versions}.

"""
TAIL = """
- `tar.zst` and `tar.gz` cost what zstd and gzip cost. In zip, members that compression would not help are stored, so a
  zip of photos is larger than they are by its headers.
- In zip CRC and sizes stand before the data, so that readers of pipes open it. For that a job holds up to 8 MiB of each
  member, packed, and reads twice what it stores of more than that. Only what deflates to more than 8 MiB is described
  after its data: Java, bsdtar and Perl read that from a pipe too; `busybox unzip -` does not, and knows no Zip64.
- Equal bytes, level and size give equal bytes, whatever the threads; threads add memory: at zstd `small` about 100 MiB
  each, at gzip and zip the pieces in work.
- Every result is one gzip member, one zstd frame, one brotli or xz stream, however long: readers that stop at the end
  of the first read it whole, and what has a content coding may be sent under it. Windows of zstd are at most 8 MiB and
  of brotli 4 MiB, so browsers decode both. Deflate is made in pieces of 1 MiB, which are one stream.
- Progress counts what a codec has finished. A job that is cancelled at zstd `small` has up to 4 MiB a thread in work,
  which takes 2 s of CPU to end, in the background and at the lowest priority; the others end in a fraction of one.
"""


def versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("zstandard", "isal", "zlib-ng", "deflate", "brotli"))
    return f"Python {platform.python_version()}, {packages}, {platform.machine()}"


def corpus() -> dict[str, bytes]:
    """Return four parts of 16 MiB: the first three from what any machine has or a fixed seed makes."""
    return {
        "1-sources.tar": sources(),
        "2-access.log": log_lines(),
        "3-libraries.bin": libraries(),
        "4-random.bin": random.Random(4).randbytes(PART_BYTES),
    }


def sources() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
            if "site-packages" not in path.parts and out.tell() < PART_BYTES:
                archive.add(path, arcname=path.name)
    return filled([out.getvalue()])


def log_lines() -> bytes:
    chance = random.Random(2)

    def lines() -> Iterator[bytes]:
        while True:
            address = ".".join(str(chance.randrange(256)) for _ in range(4))
            path, size = (
                f"/{chance.choice(['api', 'static', 'img'])}/{chance.randrange(5000)}",
                chance.randrange(100_000),
            )
            clock = f"21/Nov/2026:{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02} +0000"
            yield f'{address} - - [{clock}] "GET {path} HTTP/1.1" {chance.choice([200, 304, 404])} {size}\n'.encode()
            yield json.dumps({"address": address, "path": path, "bytes": size, "user": chance.randrange(900)}).encode()

    return filled(lines())


def libraries() -> bytes:
    files = sorted(path for path in Path("/usr/lib").rglob("*.so*") if path.is_file() and not path.is_symlink())
    return filled(path.read_bytes() for path in files)


def filled(parts: Iterable[bytes]) -> bytes:
    """Join parts up to ``PART_BYTES``, again from the start where they are too few."""
    out = bytearray()
    for part in parts:
        out += part
        if len(out) >= PART_BYTES:
            break
    return bytes((out * (PART_BYTES // max(1, len(out)) + 1))[:PART_BYTES])


def row(name: str, level: str, folder: Path) -> str:
    packed = child(name, level, folder)
    back = child(name, level, folder, "--unpack")
    cells = [
        name,
        level,
        SETTINGS[name, level],
        *(f"{packed['mbps']:.3g}", f"{packed['mb_per_cpu_second']:.3g}", f"{packed['ratio']:.3f}"),
        *(f"{packed['mib']:.0f}", f"{back['mbps']:.3g}", f"{back['mib']:.0f}"),
    ]
    return f"| {' | '.join(cells)} |"


def child(name: str, level: str, folder: Path, *options: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.codecs", "--one", name, level, str(folder), *options]
    figures: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def pigz_row(folder: Path) -> str:
    cat = b"".join(chunk for path in parts(folder) for chunk in read(path, PART_BYTES))

    def run() -> int:
        return len(subprocess.run(["pigz", "-p2", "-6"], input=cat, stdout=subprocess.PIPE, check=True).stdout)

    seconds, cpu, size = best_of(run)
    figures = f"{len(cat) / seconds / 1e6:.3g} | {len(cat) / cpu / 1e6:.3g} | {len(cat) / size:.3f}"
    return f"| *yardstick* | | pigz -p2 -6 | {figures} | | | |"


def measure(name: Format, level: Level, folder: Path, *, unpack: bool) -> dict[str, float]:
    """Measure one format and level in this process; leaves the packed file for the process that unpacks."""
    before = peak_mib()
    packed = folder / f"packed-{level}.{name}"
    part_bytes = PART_BYTES // 4 if (name, level) in SLOW else PART_BYTES

    def pack() -> int:
        with packed.open("wb") as out:
            return sum(map(out.write, compressed(name, level, folder, part_bytes)))

    def unpack_all() -> int:
        with packed.open("rb") as file:
            if name in CODECS:
                return sum(map(len, CODECS[name].decompress(iter(lambda: file.read(MIB), b""))))
            return sum(len(chunk) for _, content in ARCHIVES[name].unpack(file) for chunk in content)

    seconds, cpu, _ = best_of(unpack_all if unpack else pack)
    megabytes = 4 * part_bytes / 1e6
    return {
        "mbps": megabytes / seconds,
        "mb_per_cpu_second": megabytes / cpu,
        "ratio": 4 * part_bytes / packed.stat().st_size,
        "mib": peak_mib() - before,
    }


def compressed(name: Format, level: Level, folder: Path, part_bytes: int) -> Iterator[Chunk]:
    paths = parts(folder)
    if name in CODECS:
        chunks = (chunk for path in paths for chunk in read(path, part_bytes))
        return CODECS[name].compress(chunks, level=level, threads=2, size_bytes=4 * part_bytes)
    members = [Member(path.name, part_bytes, partial(read, path, part_bytes)) for path in paths]
    return ARCHIVES[name].pack(members, level=level, threads=2)


def parts(folder: Path) -> list[Path]:
    """Return the four files of the corpus."""
    return sorted(folder.glob("[1-4]-*"))


def read(path: Path, part_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for _ in range(part_bytes // MIB):
            yield file.read(MIB)


def best_of(run: Callable[[], int]) -> tuple[float, float, int]:
    """Return the shortest of up to five runs, as many as fit into two seconds: seconds, CPU seconds, and its result."""
    tries: list[tuple[float, float, int]] = []
    while len(tries) < 5 and sum(seconds for seconds, _, _ in tries) < 2:
        start, cpu = time.perf_counter(), cpu_seconds()
        result = run()
        tries.append((time.perf_counter() - start, cpu_seconds() - cpu, result))
    return min(tries)


def cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_mib() -> float:
    """Return the most memory this process has had so far, in MiB.

    Not ``ru_maxrss``: a child begins with that of its parent.
    """
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
