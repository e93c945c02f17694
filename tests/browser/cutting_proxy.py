"""A network between browser and service that tests can hold, cut and mend: TCP, with an eye on the heads that pass.

It assumes what browsers do on HTTP/1.1: one request at a time on a connection, heads whole in what is read first.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser

READ_BYTES = 65536
METHODS = (b"GET ", b"POST ", b"DELETE ", b"HEAD ", b"PUT ")


@dataclass
class Exchange:
    """One request as it passed, and its answer once that begins; times are ``time.monotonic()``."""

    method: str
    target: str
    headers: Message
    asked_at: float
    status: int = 0
    answered_at: float | None = None
    retry_after: float = 0
    is_over: bool = False
    """Answered, or cut off."""

    @property
    def is_upload(self) -> bool:
        """Whether it brings files."""
        return self.method == "POST" and self.target.startswith("/uploads")


class CuttingProxy:
    """Listens on a port of its own and passes everything on to ``target``, a service."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.exchanges: list[Exchange] = []
        self.most_uploads = 0
        """How many uploads were under way at once, at most."""
        self.receipts_to_lose = 0
        """So many of the next 202 answers are cut off instead of passed on."""
        self._held_after_bytes: int | None = None
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        # Bound and never listening: the port stays ours while connections to it are refused.
        self._reserved = _bound(0)
        self.port: int = self._reserved.getsockname()[1]
        self._listener: socket.socket | None = None
        self.mend()

    @property
    def url(self) -> str:
        """Where the browser finds it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def uploads(self) -> list[Exchange]:
        """The requests so far that bring files."""
        return [exchange for exchange in list(self.exchanges) if exchange.is_upload]

    def hold(self, *, after_bytes: int = 0) -> None:
        """Let only so much of each upload through, of 0 bytes not even its head, until ``release``."""
        self._released.clear()
        self._held_after_bytes = after_bytes

    def release(self) -> None:
        """Let held uploads go on."""
        self._held_after_bytes = None
        self._released.set()

    def turn_to(self, target: tuple[str, int]) -> None:
        """Lead to another service from here on."""
        self.target = target
        self.hang_up()

    def cut(self) -> None:
        """Break every connection, and refuse new ones until ``mend``."""
        if self._listener is not None:
            _close(self._listener)
            self._listener = None
        self.hang_up()

    def hang_up(self) -> None:
        """Break every connection; new ones are taken."""
        with self._lock:
            broken = list(self._connections)
        for connection in broken:
            _close(connection)

    def mend(self) -> None:
        """Take connections again."""
        listener = _bound(self.port)
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """End it for good."""
        self.cut()
        self.release()
        self._reserved.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            with self._lock:
                self._connections |= {client, server}
            link = _Link(self, client, server)
            for pump in (link.pass_requests, link.pass_answers):
                threading.Thread(target=pump, daemon=True).start()

    def begin(self, exchange: Exchange) -> None:
        """Take note of a request."""
        with self._lock:
            self.exchanges.append(exchange)
            under_way = [other for other in self.exchanges if other.is_upload and not other.is_over]
            self.most_uploads = max(self.most_uploads, len(under_way))

    def wait_to_pass(self, passed_bytes: int) -> None:
        """Wait while uploads are held at so many bytes."""
        if self._held_after_bytes is not None and passed_bytes >= self._held_after_bytes:
            self._released.wait()

    def loses(self, exchange: Exchange) -> bool:
        """Whether this answer is to be cut off."""
        with self._lock:
            is_lost = exchange.status == 202 and self.receipts_to_lose > 0
            self.receipts_to_lose -= is_lost
        return is_lost

    def forget(self, *connections: socket.socket) -> None:
        """Break these connections."""
        for connection in connections:
            _close(connection)
        with self._lock:
            self._connections -= set(connections)


class _Link:
    """One connection of the browser, and the one to the service that belongs to it."""

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._exchange: Exchange | None = None

    def pass_requests(self) -> None:
        """Pass on what the browser sends, uploads as the proxy lets them."""
        with self._broken_at_the_end():
            passed = 0
            while data := self._client.recv(READ_BYTES):
                if data.startswith(METHODS):
                    self._exchange = _request_of(data)
                    self._proxy.begin(self._exchange)
                    passed = 0
                if self._exchange and self._exchange.is_upload:
                    self._proxy.wait_to_pass(passed)
                    passed += len(data)
                self._server.sendall(data)

    def pass_answers(self) -> None:
        """Pass on what the service answers, but for receipts that are to be lost."""
        with self._broken_at_the_end():
            while data := self._server.recv(READ_BYTES):
                exchange = self._exchange
                if exchange and not exchange.is_over:
                    _note_answer(exchange, data)
                    if self._proxy.loses(exchange):
                        return
                self._client.sendall(data)

    @contextmanager
    def _broken_at_the_end(self) -> Iterator[None]:
        with suppress(OSError):
            yield
        if self._exchange:
            self._exchange.is_over = True
        self._proxy.forget(self._client, self._server)


def _request_of(data: bytes) -> Exchange:
    line, _, rest = data.partition(b"\r\n")
    method, target, _ = line.decode().split(" ")
    return Exchange(method, target, BytesHeaderParser().parsebytes(rest), time.monotonic())


def _note_answer(exchange: Exchange, data: bytes) -> None:
    line, _, rest = data.partition(b"\r\n")
    exchange.status = int(line.split(b" ")[1])
    exchange.retry_after = float(BytesHeaderParser().parsebytes(rest).get("Retry-After", "0"))
    exchange.answered_at = time.monotonic()
    exchange.is_over = True


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Small: what is held has to be held in the browser.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
    made.bind(("127.0.0.1", port))
    return made


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
