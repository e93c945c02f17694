"""Clients that do not take their answers: whoever is slower than a minimum rate has the connection dropped.

A connection whose client reads nothing holds an answer's pieces, its file and its place for ever; ``close`` waits for
what is unsent, and a client that takes a byte a minute is never silent. How much the client's system has acknowledged
(tcp(7), TCP_INFO) counts, whatever lies in the buffers between.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("vacpack.http")

_ACKNOWLEDGED = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` in Linux' ``struct tcp_info`` (include/uapi/linux/tcp.h, since 4.1)."""
_UNSENT = 0x5411
"""SIOCOUTQ: bytes in the kernel's buffer that are not acknowledged (tcp(7))."""


@dataclass(frozen=True, slots=True)
class SendPace:
    """How slowly an answer may be taken."""

    min_bytes_per_second: int = 1024
    """On the average of ``rate_seconds``; 0: any."""
    rate_seconds: float = 30.0
    told: Callable[[], None] = lambda: None
    """Called when a connection is dropped."""


class Sending:
    """The answers of one connection on their way, from the first until nothing is left to be taken."""

    def __init__(self, transport: asyncio.Transport, pace: SendPace) -> None:
        self._transport = transport
        self._pace = pace
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0
        self._left = 0

    def begin(self) -> None:
        """Watch from now on that what is sent is taken; does nothing if it does already."""
        if self._timer is None and self._pace.min_bytes_per_second:
            self._look()

    def end(self) -> None:
        """Watch no more: the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Look again after a while, and drop the connection if less was taken meanwhile than there was, and too little.

        What was there at the last look is all that the client can be held to: an answer may come slower than it reads.
        """
        taken, left = self._taken_bytes(), self._left_bytes()
        wanted = min(self._left, self._pace.min_bytes_per_second * self._pace.rate_seconds)
        if left and taken - self._taken < wanted:
            _log.warning("connection dropped: its client takes no answer, or too slowly", extra={"left_bytes": left})
            self._pace.told()
            self._timer = None
            self._transport.abort()
            return
        self._taken, self._left = taken, left
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._pace.rate_seconds, self._look)

    def _left_bytes(self) -> int:
        unsent = fcntl.ioctl(self._socket().fileno(), _UNSENT, b"\0\0\0\0") if _IS_LINUX else b""
        return self._transport.get_write_buffer_size() + int.from_bytes(unsent, sys.byteorder)

    def _taken_bytes(self) -> int:
        if not _IS_LINUX:
            # What left our own buffer is all there is to know: at least it stands still when nothing is taken.
            return -self._transport.get_write_buffer_size()
        told = self._socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return int(_ACKNOWLEDGED.unpack_from(told)[0])

    def _socket(self) -> socket.socket:
        found: socket.socket = self._transport.get_extra_info("socket")
        return found


_IS_LINUX = sys.platform == "linux"
