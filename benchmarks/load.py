"""A load generator of small requests: many keep-alive connections, each sending again as soon as it is answered.

A process of its own (`python -m benchmarks.load`), so that it shares no interpreter with what it measures.
It sends bytes prepared beforehand and parses of an answer only the status and Content-Length, which lets it
outrun every server measured here; `benchmarks/sink.py` shows its own limit.

It reads one JSON object from standard input, the fields of `Order`, and prints one, the fields of `Tally`.
"""

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field

import uvloop

HEAD_END = b"\r\n\r\n"
RECONNECT_SECONDS = 0.05


@dataclass(frozen=True)
class Order:
    """What to send, to which port, for how long. Requests are whole messages in latin-1; one is picked at random."""

    port: int
    requests: list[str]
    seconds: float
    warm_up_seconds: float = 0.5
    connections: int = 32


@dataclass
class Tally:
    """What came back in the counted time: answers by status, lost connections, latencies in milliseconds."""

    statuses: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    seconds: float = 0.0
    p50_milliseconds: float = 0.0
    p99_milliseconds: float = 0.0


def message_end(received: bytes | bytearray) -> int:
    """Return where the first HTTP message in `received` ends, or -1 when more bytes are needed.

    A message without Content-Length is taken to have no body.
    """
    head_end = received.find(HEAD_END)
    if head_end < 0:
        return -1
    head = received[: head_end + 2].lower()
    at = head.find(b"\r\ncontent-length:")
    length = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
    end = head_end + len(HEAD_END) + length
    return end if end <= len(received) else -1


class Generator:
    """All connections of one run and what they share: the requests, the clock and the counts."""

    def __init__(self, order: Order) -> None:
        self.requests = [request.encode("latin-1") for request in order.requests]
        self.order = order
        self.tally = Tally()
        self.latencies: list[float] = []
        self.is_counting = False
        self.is_sending = True

    async def run(self) -> Tally:
        """Send until the time is over; answers that arrive afterwards are not counted."""
        for connection in [await self.connect() for _ in range(self.order.connections)]:
            connection.send()
        if self.order.warm_up_seconds:
            await asyncio.sleep(self.order.warm_up_seconds)
        self.is_counting, started = True, time.perf_counter()
        await asyncio.sleep(self.order.seconds)
        self.is_counting = self.is_sending = False
        self.tally.seconds = time.perf_counter() - started
        self.latencies.sort()
        if self.latencies:
            self.tally.p50_milliseconds = 1000 * self.latencies[len(self.latencies) // 2]
            self.tally.p99_milliseconds = 1000 * self.latencies[int(len(self.latencies) * 0.99)]
        return self.tally

    def count(self, status: str, seconds: float) -> None:
        self.tally.statuses[status] = self.tally.statuses.get(status, 0) + 1
        self.latencies.append(seconds)

    async def connect(self) -> "Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.order.port)
        return connection

    async def reconnect(self) -> None:
        await asyncio.sleep(RECONNECT_SECONDS)
        if self.is_sending:
            try:
                (await self.connect()).send()
            except OSError:
                await self.reconnect()


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.received = bytearray()
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(random.choice(self.generator.requests))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.received += data
        if message_end(self.received) < 0:
            return
        generator = self.generator
        if generator.is_counting:
            generator.count(self.received[9:12].decode(), time.perf_counter() - self.sent_at)
        self.received.clear()
        if generator.is_sending:
            self.send()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.generator.is_sending:
            self.generator.tally.dropped += 1
            self.tasks.add(asyncio.ensure_future(self.generator.reconnect()))


async def _main() -> None:
    tally = await Generator(Order(**json.load(sys.stdin))).run()
    print(json.dumps(asdict(tally)))


if __name__ == "__main__":
    uvloop.run(_main())
