"""Many open event streams at once, and when each event reached each of them.

A process of its own (`python -m benchmarks.listen`), so that it shares no interpreter with what it measures. It reads
one JSON object from standard input, the fields of `Order`, says `open` when every stream has had its first event, and
when its standard input ends prints one JSON object, the fields of `Tally`.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import uvloop

from benchmarks.server import HOST, PROJECT
from service.machine.open_files import raise_open_file_limit

OPEN_TIMEOUT_SECONDS = 60.0
AT_ONCE = 100
STATUS_EVENT = re.compile(rb"id: (\S+)\nevent: status\n")


@dataclass(frozen=True)
class Order:
    """Which port to ask, and the targets: one stream each."""

    port: int
    targets: list[str]


@dataclass
class Tally:
    """By the id of a status event, when it came to each stream that got it, on `time.perf_counter`; and what broke."""

    arrivals: dict[str, list[float]] = field(default_factory=dict)
    broken: int = 0


class Stream(asyncio.Protocol):
    """One connection with one stream."""

    def __init__(self, target: str, tally: Tally) -> None:
        self.target = target
        self.tally = tally
        self.received = b""
        self.is_first = asyncio.Event()
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        request = f"GET {self.target} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n"
        self.transport = transport
        transport.write(request.encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if data.startswith(b"HTTP/") and not data.startswith(b"HTTP/1.1 200 "):
            self.transport.close()
        whole, separator, self.received = (self.received + data).rpartition(b"\n\n")
        for identifier in STATUS_EVENT.findall(whole + separator):
            self.tally.arrivals.setdefault(identifier.decode(), []).append(now)
            self.is_first.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self.tally.broken += not self.is_over
        self.is_first.set()


async def _main() -> None:
    raise_open_file_limit()
    order, tally = Order(**json.loads(sys.stdin.readline())), Tally()
    loop = asyncio.get_running_loop()
    streams: list[Stream] = []
    for start in range(0, len(order.targets), AT_ONCE):
        some = [Stream(target, tally) for target in order.targets[start : start + AT_ONCE]]
        await asyncio.gather(*(loop.create_connection(lambda one=one: one, HOST, order.port) for one in some))
        await asyncio.gather(*(one.is_first.wait() for one in some))
        streams += some
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for one in streams:
        one.is_over = True
    print(json.dumps(asdict(tally)))


@dataclass
class Listeners:
    """The process while it listens, and what it counted once it has ended."""

    pid: int
    tally: Tally = field(default_factory=Tally)


@contextmanager
def listening(order: Order) -> Iterator[Listeners]:
    """Hold the streams open during the `with`, all of them with their first event.

    Raises:
        RuntimeError: not all could be opened, or some broke.
    """
    command = [sys.executable, "-m", "benchmarks.listen"]
    process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(order)) + "\n")
        process.stdin.flush()
        said = process.stdout.readline()
        listeners = Listeners(process.pid)
        yield listeners
        text, _ = process.communicate(timeout=OPEN_TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()
    listeners.tally = Tally(**json.loads(text))
    if said != "open\n" or listeners.tally.broken:
        raise RuntimeError(f"{listeners.tally.broken} of {len(order.targets)} streams broke")


if __name__ == "__main__":
    uvloop.run(_main())
