"""A server that answers 202 to every whole request and does nothing else: the limit of client and loopback.

`python -m benchmarks.sink PORT`
"""

import asyncio
import sys

import uvloop

from benchmarks.load import message_end

ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"


class Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := message_end(self.received)) >= 0:
            del self.received[:end]
            self.transport.write(ACCEPTED)  # type: ignore[attr-defined]


async def _main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
