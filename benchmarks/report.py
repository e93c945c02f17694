"""Turns results into tables, and tables into docs/benchmarks.md."""

import datetime
import os
import platform
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("vacpack", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "sqlalchemy", "aiofiles")

INTRODUCTION = """\
# Benchmarks

Written by `make bench`; do not edit. vacpack runs beside a peer in the same run: the tutorial's way (`UploadFile`,
an aiofiles copy, a SQLite row, `BackgroundTasks` with gzip; see `benchmarks/peer.py`). vacpack makes every upload
durable before it answers; the peer never does. Both serve from one process with uvloop and httptools.

How to read it: client and server share the machine's cores, so absolute numbers are below what a remote client would
see. Trust the ratios. A ratio is the median over the rounds, each of which measures every variant once, in turn
(least and greatest in brackets); the other columns are medians too, so they need not divide to it exactly. CPU is user
and system time of all the server's processes. `foreign` is the greatest share of the machine that work other than
server and clients took, writeback by the kernel included, in a round that counts; a round above 10 % is measured
again, at most twice a case.
"""


@dataclass(frozen=True)
class Target:
    """A bound on a value, from above or from below."""

    bound: float
    is_upper: bool
    unit: str = "x"

    def __str__(self) -> str:
        return f"{'at most' if self.is_upper else 'at least'} {self.bound:g}{_unit(self.unit)}"

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.is_upper else value >= self.bound


def at_least(bound: float, unit: str = "x") -> Target:
    return Target(bound, is_upper=False, unit=unit)


def at_most(bound: float, unit: str = "x") -> Target:
    return Target(bound, is_upper=True, unit=unit)


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, both sides as text, and the values the target is held against."""

    what: str
    ours: str
    theirs: str
    values: Sequence[float] = ()
    target: Target | None = None

    def cells(self) -> list[str]:
        """Return the cells as text: what, vacpack, peer, ratio, target, met."""
        if not self.values:
            return [self.what, self.ours, self.theirs, "", "", ""]
        middle, unit = statistics.median(self.values), _unit(self.target.unit if self.target else "x")
        ratio = f"**{middle:.3f}{unit}** ({min(self.values):.2f}..{max(self.values):.2f})"
        if self.target is None:
            return [self.what, self.ours, self.theirs, ratio, "", ""]
        return [self.what, self.ours, self.theirs, ratio, str(self.target), self.verdict()]

    def verdict(self) -> str:
        if self.target is None or not self.values:
            return ""
        return "yes" if self.target.is_met(statistics.median(self.values)) else "**no**"


@dataclass(frozen=True)
class Table:
    """One case's outcome. `foreign` is None where it was not measured; `base` names the peer's column."""

    title: str
    note: str
    rows: Sequence[Row]
    rounds: int
    foreign: float | None = None
    base: str = "peer"

    def markdown(self) -> str:
        head = ["case", "vacpack", self.base, "ratio", "target", "met"]
        lines = [_line(head), _line(["---"] * len(head)), *(_line(row.cells()) for row in self.rows)]
        foreign = "" if self.foreign is None else f"; foreign {self.foreign:.0%}"
        counted = f"Rounds: {self.rounds}{foreign}."
        return "\n".join([f"## {self.title}", "", f"{self.note} {counted}", "", *lines, ""])


def _unit(unit: str) -> str:
    return unit if unit == "x" else f" {unit}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> int:
    kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return round(kib / 1024 / 1024)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def environment(command: str) -> str:
    """Return date, command, machine and versions as a Markdown list, without host name or path."""
    today = datetime.datetime.now(datetime.UTC).date()
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            f"- Date: {today}",
            f"- Command: `{command}`",
            f"- Machine: {os.cpu_count()} cores ({_processor()}), {_memory_gib()} GiB, Linux {platform.release()}",
            f"- Versions: Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}",
            "",
        ]
    )


def document(tables: Iterable[Table], command: str) -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, environment(command), *(table.markdown() for table in tables)])
