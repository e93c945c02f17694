"""System calls of a running process that fail once, on purpose: orders to the library of ``failing_calls.c``."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.parts import missing

CALLS = ("open", "read", "write", "sync", "truncate", "unlink", "rename", "lock", "map", "stat")
"""Kinds of calls, each under all its names: ``sync`` is fsync and fdatasync, ``lock`` flock and the locks of fcntl."""

_ORDERS = struct.Struct(f"6i{len(CALLS)}i128s")
_FIRED = struct.Struct("i"), 5 * 4
_SEEN = struct.Struct(f"{len(CALLS)}i"), 6 * 4


@dataclass(frozen=True, slots=True)
class Fault:
    """The ``nth`` call of one kind, counted from when the order is given, on files whose path holds ``where``."""

    call: str
    nth: int
    error: int
    where: str
    is_done: bool = False
    """It is made all the same: what an error says of the call is not always true."""


class FailingCalls:
    """Orders to processes that were started with ``environment``; one at a time."""

    def __init__(self, folder: Path) -> None:
        """Make the library and the file of the orders in a folder; skip the test where there is no compiler."""
        compiler = shutil.which("cc") or missing("there is no C compiler")
        library, orders = folder / "failing_calls.so", folder / "orders"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        orders.write_bytes(bytes(_ORDERS.size))
        with orders.open("r+b") as file:
            self._orders = mmap.mmap(file.fileno(), _ORDERS.size)
        self.environment = (f"LD_PRELOAD={library}", f"FAILING_CALLS={orders}")

    def count(self, process: int, where: str) -> None:
        """Begin to count a process's calls on files whose path holds ``where``; none fails."""
        self.order(process, Fault("open", 0, 0, where))

    def order(self, process: int, fault: Fault) -> None:
        """Have one call of the process fail, and count again from here."""
        self.rest()
        number = CALLS.index(fault.call)
        head = (process, number, fault.nth, fault.error, int(fault.is_done), 0)
        packed = _ORDERS.pack(*head, *([0] * len(CALLS)), fault.where.encode())
        # The process last: nothing is looked at before.
        self._orders[4:] = packed[4:]
        self._orders[:4] = packed[:4]

    def rest(self) -> None:
        """Let everything be."""
        self._orders[:4] = bytes(4)

    def seen(self) -> dict[str, int]:
        """Return how many calls of each kind there have been."""
        form, place = _SEEN
        return dict(zip(CALLS, form.unpack_from(self._orders, place), strict=True))

    def has_fired(self) -> bool:
        """Whether the call that was to fail has failed."""
        form, place = _FIRED
        return bool(form.unpack_from(self._orders, place)[0])
