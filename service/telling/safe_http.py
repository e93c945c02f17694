"""HTTP requests to addresses that strangers name, which must not become a way into the network the service stands in.

Against server-side request forgery: every address a name leads to is checked, and the connection goes to a checked
address, so that a name that answers differently the next moment gains nothing. Redirects are not followed, proxies of
the environment not used. One deadline holds for everything from the name to the last byte, and only so much of the
answer is read.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import httpcore2
from httpcore2 import ConnectError, ConnectTimeout, NetworkStream

from service.telling.connecting import Resolve, connect_to_first, look_up, look_up_within
from service.values.target import Address, Networks, Target, is_outside


class NoReply(Exception):
    """No whole answer came. The text is a sentence that says nothing about the network the service stands in."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; the body is not kept. Names of ``headers`` are in lower case."""

    status_code: int
    headers: Mapping[str, str]


class SafeClient:
    """Posts to targets. Safe for threads; keeps no connection."""

    def __init__(
        self,
        opened: Networks = (),
        *,
        timeout_seconds: float,
        max_reply_bytes: int,
        trust: ssl.SSLContext | None = None,
        resolve: Resolve = look_up,
    ) -> None:
        """``opened`` are networks inside that may be called; ``trust`` is the system's unless said otherwise."""
        self._opened = opened
        self._timeout_seconds = timeout_seconds
        self._max_reply_bytes = max_reply_bytes
        self._trust = trust or ssl.create_default_context()
        self._resolve = resolve

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Reply:
        """Return the answer, its body read to the end or to the limit and thrown away.

        Raises:
            NoReply: none came, or not whole, or not in time.
        """
        limits = _Limits(time.monotonic() + self._timeout_seconds, self._max_reply_bytes)
        backend = _CheckedBackend(self._opened, self._resolve, limits)
        origin = httpcore2.Origin(target.scheme.encode(), target.host.encode(), target.port)
        url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        fields = [("Host", target.authority), ("Connection", "close"), *headers.items()]
        connection = httpcore2.HTTPConnection(origin, ssl_context=self._trust, network_backend=backend)
        try:
            with connection, connection.stream("POST", url, headers=fields, content=body) as response:
                reply = Reply(response.status, _fields(response.headers))
                _read_away(response.iter_stream())
        except httpcore2.TimeoutException:
            raise NoReply(f"No whole answer came within {self._timeout_seconds:g} s.") from None
        except ConnectError as error:
            raise NoReply(_why_not_connected(error)) from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, _ReplyCut):
            raise NoReply("The connection broke off, or the answer could not be read.") from None
        return reply


def _fields(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _read_away(body: Iterable[bytes]) -> None:
    try:
        for _ in body:
            continue
    except _ReplyCut:
        # The head has said what was asked; nobody reads the rest.
        return


def _why_not_connected(error: ConnectError) -> str:
    if isinstance(error.__cause__, ssl.SSLError):
        return "No trusted TLS connection: is the certificate valid for this name, and by a known authority?"
    return str(error) if isinstance(error, _NoAddress) else "The connection was refused."


class _NoAddress(ConnectError):
    """The name leads nowhere, or inside: the same words for both, so that nobody can feel out names inside."""

    def __init__(self) -> None:
        super().__init__("The host's name leads to no address that may be called from here.")


class _ReplyCut(Exception):
    """As much of the answer has been read as ever is."""


@dataclass(slots=True)
class _Limits:
    """What one request may still take."""

    deadline: float
    """By ``time.monotonic``."""
    bytes_left: int

    def seconds_left(self, error: type[httpcore2.TimeoutException]) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise error
        return left


class _CheckedBackend(httpcore2.NetworkBackend):
    """Looks names up itself, and connects to addresses that it has checked."""

    def __init__(self, opened: Networks, resolve: Resolve, limits: _Limits) -> None:
        self._opened = opened
        self._resolve = resolve
        self._limits = limits
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> NetworkStream:
        """As the library asks for; ``host`` is a name or an address, and the limits take the place of ``timeout``."""
        addresses = self._checked(host, port)
        if not addresses:
            raise _NoAddress
        stream = connect_to_first(
            addresses,
            lambda address, share: self._sockets.connect_tcp(str(address), port, timeout=share),
            seconds_left=lambda: self._limits.seconds_left(ConnectTimeout),
            failures=(ConnectError, ConnectTimeout),
        )
        return _LimitedStream(stream, self._limits)

    def _checked(self, host: str, port: int) -> list[Address]:
        addresses = [ip_address(text) for text in self._looked_up(host, port)]
        return [address for address in addresses if is_outside(address, self._opened)]

    def _looked_up(self, host: str, port: int) -> list[str]:
        try:
            return look_up_within(self._limits.seconds_left(ConnectTimeout), host, port, self._resolve)
        except TimeoutError:
            raise ConnectTimeout from None


class _LimitedStream(NetworkStream):
    """A connection under the limits: every step may take what is left of the whole time, and reads what is left."""

    def __init__(self, stream: NetworkStream, limits: _Limits) -> None:
        self._stream = stream
        self._limits = limits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As the library asks for."""
        if not self._limits.bytes_left:
            raise _ReplyCut
        wanted = min(max_bytes, self._limits.bytes_left)
        chunk = self._stream.read(wanted, self._limits.seconds_left(httpcore2.ReadTimeout))
        self._limits.bytes_left -= len(chunk)
        return chunk

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As the library asks for."""
        self._stream.write(buffer, self._limits.seconds_left(httpcore2.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        """As the library asks for; the name is the URL's, never the address."""
        left = self._limits.seconds_left(ConnectTimeout)
        return _LimitedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._limits)

    def close(self) -> None:
        """As the library asks for."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """As the library asks for."""
        return self._stream.get_extra_info(info)
