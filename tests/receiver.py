"""Receivers of webhooks on loopback: real servers that answer as a test says, however badly."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

OPENED = "127.0.0.0/8, ::1/128"
"""For VACPACK_WEBHOOK_ALLOW_NETWORKS."""


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float


Answer = Callable[[socket.socket, Received], None]


def status(code: int, *fields: str) -> Answer:
    """Answer with this status, these header lines and no body."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {code} Said", *fields, "Content-Length: 0"))

    def answer(connection: socket.socket, _: Received) -> None:
        connection.sendall(head.encode() + b"\r\n")

    return answer


OK = status(204)


def silence(connection: socket.socket, _: Received) -> None:
    """Answer nothing, until the other side goes."""
    connection.settimeout(60)
    connection.recv(1)


def in_turn(*answers: Answer) -> Answer:
    """Answer in these ways one after the other, and then on in the last."""
    left = list(answers)

    def answer(connection: socket.socket, received: Received) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection, received)

    return answer


def dripping(text: bytes, *, pause_seconds: float) -> Answer:
    """Send these bytes one by one."""

    def answer(connection: socket.socket, _: Received) -> None:
        for value in text:
            connection.sendall(bytes([value]))
            time.sleep(pause_seconds)

    return answer


@dataclass
class Receiver:
    """A server that keeps what it got. ``answer`` may be exchanged while it runs."""

    answer: Answer
    port: int
    scheme: str
    received: list[Received] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?from=vacpack"

    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.received]


def _read(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _more(connection)
    return Received(line, headers, body, time.time())


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError
    return chunk


@contextmanager
def receiving(
    answer: Answer = OK, *, trust: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Receiver]:
    """Run a receiver; ``trust`` is a server's TLS context."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    receiver = Receiver(answer, listener.getsockname()[1], "https" if trust else "http")

    def serve(plain: socket.socket) -> None:
        with plain, suppress(OSError):
            connection: Any = trust.wrap_socket(plain, server_side=True) if trust else plain
            with connection:
                request = _read(connection)
                receiver.received.append(request)
                receiver.answer(connection, request)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                receiver.connections += 1
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
