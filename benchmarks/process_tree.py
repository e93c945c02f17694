"""CPU time and resident memory of a process and its descendants, from /proc (Linux)."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
KIB = 1024


def _fields(pid: int) -> list[str]:
    # The name in parentheses may hold spaces; the fields proper begin behind it, at field 3 of proc(5).
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def members(root: int) -> list[int]:
    """List the living processes of the tree, the root first; empty when the root has ended."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_fields(int(entry.name))[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [root] if Path(f"/proc/{root}").exists() else []
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu_seconds(root: int) -> float:
    """Return user and system time of the tree, with that of children already waited for."""
    ticks = 0
    for pid in members(root):
        try:
            ticks += sum(int(value) for value in _fields(pid)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / TICKS_PER_SECOND


def own_cpu_seconds(pid: int) -> float:
    """Return user and system time of one process alone."""
    return sum(int(value) for value in _fields(pid)[11:13]) / TICKS_PER_SECOND


def _memory_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    return 0


def start_peak(pid: int) -> int:
    """Forget the process's memory peak so far; return its resident bytes now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory_bytes(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Return the highest resident memory since `start_peak`, exact: the kernel keeps it."""
    return _memory_bytes(pid, "VmHWM")


@dataclass(frozen=True)
class Snapshot:
    """CPU seconds used so far by the whole machine, the server's tree, and all else that belongs to the run."""

    machine: float
    server: float
    run: float


def snapshot(server_pid: int, *others: int) -> Snapshot:
    """Read the clocks; clients count once they have ended, `others` are further servers under load."""
    busy = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, steal, *_guest = busy
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Snapshot(
        machine=(user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND,
        server=cpu_seconds(server_pid),
        run=sum(usage.ru_utime + usage.ru_stime for usage in own) + sum(map(cpu_seconds, others)),
    )


def foreign_share(before: Snapshot, after: Snapshot, seconds: float) -> float:
    """Return the share of the machine, 0 to 1, that the run did not use; kernel threads count too."""
    known = (after.server - before.server) + (after.run - before.run)
    other = (after.machine - before.machine) - known
    return max(0.0, other / (seconds * (os.cpu_count() or 1)))
