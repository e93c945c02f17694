"""Clients that speak HTTP badly, slowly, or not to the end: a socket and what goes through it."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from io import BufferedReader, BytesIO

from tests.acceptance.asking import Answer
from tests.acceptance.patience import PATIENCE_SECONDS
from tests.acceptance.service_process import ServiceProcess

CHUNKED = "Transfer-Encoding: chunked"
BOUNDARY = "limit"
FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"


@contextmanager
def connected(service: ServiceProcess) -> Iterator[socket.socket]:
    """Hold a connection."""
    with socket.create_connection(service.address, timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def is_listening(service: ServiceProcess) -> bool:
    """Return whether new connections are taken."""
    try:
        with connected(service):
            return True
    except (ConnectionRefusedError, ConnectionResetError):
        # Reset: it had come to the listening socket, and nobody had taken it when that was closed.
        return False


def head(line: str, *headers: str) -> bytes:
    """Return a request's head: its first line without the version, and headers besides Host."""
    return "\r\n".join([f"{line} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; of no bytes, its end."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def part(name: str, data: bytes, *, filename: str | None = None, headers: str = "") -> bytes:
    """Return one part of a form with its boundary before it."""
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{headers}\r\n".encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
"""What closes a form."""


def read_to_end(connection: socket.socket) -> tuple[bytes, float]:
    """Read until the service closes; return what came and after how many seconds. A reset is an end too."""
    began, came = time.monotonic(), b""
    try:
        while piece := connection.recv(65536):
            came += piece
    except ConnectionResetError:
        return came, time.monotonic() - began
    return came, time.monotonic() - began


def read_answer(connection: socket.socket) -> Answer:
    """Return the next answer, read whole; one that says 100 Continue is passed over."""
    response = HTTPResponse(connection)
    response.begin()
    return Answer(response.status, response.headers, response.read())


class _Kept(BufferedReader):
    """What ``HTTPResponse`` reads one answer from, left open for the next."""

    def makefile(self, *_: object) -> BufferedReader:
        return self

    def close(self) -> None:
        """Stay open."""


def read_answers(source: socket.socket | bytes, *methods: str) -> list[Answer]:
    """Return the answers to requests sent together, of these methods; of bytes, no more than these must be there."""
    raw = BytesIO(source) if isinstance(source, bytes) else source.makefile("rb", buffering=0)
    kept, answers = _Kept(raw), []  # type: ignore[arg-type,var-annotated]
    for method in methods:
        response = HTTPResponse(kept, method=method)  # type: ignore[arg-type]
        response.begin()
        answers.append(Answer(response.status, response.headers, response.read()))
    assert not isinstance(source, bytes) or kept.read() == b""
    return answers


def status_of(answer: bytes) -> int:
    """Return the status of an answer; 0 if there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN, as a crashed client's machine would."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
