"""How much is measured: the full plan behind docs/benchmarks.md, the quick one to see that all is well."""

import functools
import itertools
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
# Windows are 8 MiB at most: a repetition farther back is no help to a codec, so long texts cost what they should.
LOG_BLOCK_BYTES = 16 * MIB


@dataclass(frozen=True)
class Plan:
    """Sizes, rounds and times of every case; a case takes at most a few minutes under `FULL`."""

    upload_rounds: int
    rounds: int
    large_bytes: int
    parallel_count: int
    parallel_bytes: int
    load_seconds: float
    jobs: int
    poll_count: int
    work_bytes: int
    rows: int
    listeners: int
    listen_seconds: float


# Uploads get five rounds: their throughput drifts most. work_bytes keeps two `small` jobs (2 to 4 MB/s on one core)
# busy for longer than a round of polls takes.
FULL = Plan(
    upload_rounds=5,
    rounds=3,
    large_bytes=1024 * MIB,
    parallel_count=16,
    parallel_bytes=64 * MIB,
    load_seconds=5.0,
    jobs=1000,
    poll_count=300,
    work_bytes=256 * MIB,
    rows=1_000_000,
    listeners=1000,
    listen_seconds=20.0,
)
QUICK = Plan(
    upload_rounds=1,
    rounds=1,
    large_bytes=256 * MIB,
    parallel_count=16,
    parallel_bytes=16 * MIB,
    load_seconds=1.5,
    jobs=200,
    poll_count=100,
    work_bytes=128 * MIB,
    rows=50_000,
    listeners=200,
    listen_seconds=3.0,
)


@dataclass(frozen=True)
class Context:
    """What every case is given: the plan and a folder of its own on the disk under measurement."""

    plan: Plan
    folder: Path
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def fresh_folder(self, name: str) -> Path:
        """Return a path in `folder` that was not used before."""
        return self.folder / f"{next(self._numbers):03}-{name}"

    def random_file(self, size_bytes: int) -> Path:
        """Return a file of that size which no codec can shrink; made once, read once so that it is cached."""
        path = self.folder / f"random-{size_bytes}"
        if not path.exists():
            block = random.Random(1).randbytes(16 * MIB)
            with path.open("wb") as target:
                for _ in range(size_bytes // len(block)):
                    target.write(block)
                target.write(block[: size_bytes % len(block)])
            # Its writeback must not fall into the first measurement.
            os.sync()
        return path


@functools.cache
def _log_block() -> bytes:
    generator = random.Random(2)
    lines: list[str] = []
    size = 0
    while size < LOG_BLOCK_BYTES:
        moment = f"2026-11-21T{generator.randrange(24):02}:{generator.randrange(60):02}:00Z"
        path = f"/jobs/{generator.randbytes(8).hex()}/result"
        line = f"{moment} 10.0.0.{generator.randrange(256)} GET {path} 200 {generator.randrange(10**6)}\n"
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()


def log_text(size_bytes: int) -> bytes:
    """Return lines as an access log has them, the same ones every time, repeated beyond any codec's window."""
    block = _log_block()
    return (block * (size_bytes // len(block) + 1))[:size_bytes]
