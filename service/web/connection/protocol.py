"""uvicorn's HTTP/1.1 protocol with what a service on a network needs: whole requests are answered, others refused.

uvicorn 0.54 has no time limit for a request's headers, and its parser takes 512 KB of them. It drops the body of who
offers an upgrade, hangs up on who ends its sending after a whole request, and writes the refusal of a broken request
over the answer to the one before it. Bodies have their own limit on silence, in ``web.receiving.body``. This leans on
uvicorn's internals: the lock pins it, tests hold it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import BAD_REQUEST, HEADERS_TOO_LARGE, TARGET_TOO_LONG, ServiceError
from service.web.connection.connections import Connections, refusal_bytes
from service.web.connection.half_closed import Pings
from service.web.connection.last_answers import ended_by_closing, last_word
from service.web.connection.peer import PEER
from service.web.connection.read_ahead import MAX_CALLS_AT_ONCE, MAX_WAITING_REQUESTS, Flow, Intake, Pieces
from service.web.connection.request_head import (
    check_trailer,
    expects_continue,
    length_of,
    refusal_of,
    refusal_of_field,
    refusal_of_line,
    refusal_of_target,
    settled_target,
    too_large,
)
from service.web.connection.slow_readers import Sending, SendPace
from service.web.following.event_stream import TRANSPORT

MAX_HEAD_BYTES = 64 * 1024
MAX_BARE_SHARE = 17
"""So many bytes may come for each of a body, itself among them; ``MAX_HEAD_BYTES`` more in all. A chunk of one byte has
six, and extensions, which nobody reads, may have some."""


class _Refused(Exception):
    """What was read is refused: nothing after it is read."""


class LimitedProtocol(HttpToolsProtocol):
    """Answers whole requests in their order; refuses broken ones, and heads that are too large or come too late."""

    header_timeout_seconds = 15.0
    rest_timeout_seconds = 5.0
    """For the rest of a body whose request has been answered: nobody reads it, so that no pace is asked of it."""
    counted: Connections | None = None
    send_pace = SendPace()
    on_limit: Callable[[str], None] = staticmethod(lambda name: None)
    """Told the name of each limit that is met."""

    _sending: Sending
    flow: Flow
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = True
    _line = b""
    """What came of a head up to the end of its first line."""
    _trailers = 0
    """Fields after the body."""
    _body_left: int | None = None
    """Of the body that arrives, None where it comes in chunks."""
    _bare_bytes = 0
    """What arrived beyond what was in keeping with the body: heads of chunks, and fields after it."""
    _calls = 0
    """Pieces of a body since others had their turn."""
    _has_refused = False
    """Nothing more is read as HTTP."""
    _answered: Any = None
    """The cycle whose answer is under way or was the last; ``cycle`` is the one last read, others wait between them."""
    _pings: Pings | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._sending, self.flow, self._intake = Sending(transport, self.send_pace), Flow(transport), Intake()
        refusal = self.counted.enter(self._host()) if self.counted else None
        if refusal is not None:
            self._has_refused = True
            transport.write(refusal_bytes(refusal))
            transport.close()
            return
        self._expect_head()

    def _host(self) -> str | None:
        return self.client[0] if self.client else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        if self.counted:
            self.counted.leave(self._host())
        self._sending.end()
        if self._pings is not None:
            self._pings.end()
        self._intake.clear()
        super().connection_lost(exc)
        # uvicorn tells the request that was read last, which others may wait for.
        _tell_gone(self._answered)

    # What arrives.

    def data_received(self, data: bytes) -> None:
        if self._has_refused:
            # Taken all the same, for a while: a client that still sends would be reset, and never read why.
            return
        self._intake.add(data)
        self._feed()

    def _feed(self) -> None:
        """Have what came read, as long as it is wanted, and no longer than others can wait."""
        self._calls = 0
        if self._intake.left_bytes:
            self._unset_keepalive_if_required()
        try:
            while self._intake.left_bytes and self._wants_more and self._calls < MAX_CALLS_AT_ONCE:
                self._feed_piece()
        except httptools.HttpParserError:
            if not self._has_refused:
                self.logger.warning("Invalid HTTP request received.")
                self._refuse(ServiceError(BAD_REQUEST, "This is not HTTP/1.1 as RFC 9112 has it."))
        if self._has_refused or self.transport.is_closing():
            self._intake.clear()
        elif self._is_in_head and self._head_bytes and self._deadline is None:
            self._set_deadline(self.header_timeout_seconds)
        self._pace()

    @property
    def _wants_more(self) -> bool:
        return not self._has_refused and len(self.pipeline) < MAX_WAITING_REQUESTS

    def _feed_piece(self) -> None:
        is_in_head = self._is_in_head
        piece = self._intake.next_piece(None if is_in_head else self._body_left)
        if is_in_head and b"\n" not in self._line.lstrip():
            self._line += piece
        size_bytes = len(piece)
        self._head_bytes += size_bytes
        self._bare_bytes += size_bytes
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as offer:
            self._read_again_without_upgrade()
            self._intake.put_back(size_bytes - offer.args[0])
        counted = self._head_bytes if self._is_in_head else self._bare_bytes
        if counted > MAX_HEAD_BYTES and not self._has_refused:
            self._refuse(too_large())

    def _pace(self) -> None:
        """Read on, or not: what was read and waits, waits here, where it is little, and the rest at the client's."""
        was_held, is_full = self.flow.is_held, not self._wants_more and not self._has_refused
        self.flow.is_held = is_full or self._intake.left_bytes > 0
        if self.flow.is_held:
            self.flow.pause_reading()
            if is_full and not was_held:
                self.on_limit("pipelined_requests")
            if not is_full:
                self.loop.call_soon(self._feed)
        elif was_held and not self.transport.is_closing() and len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Go on with the next request, and with reading if that had to wait."""
        super().on_response_complete()
        if not self._is_in_head and self.cycle.response_complete and not self.transport.is_closing():
            self._set_deadline(self.rest_timeout_seconds)
        if self.flow.is_held:
            self.loop.call_soon(self._feed)

    def _read_again_without_upgrade(self) -> None:
        """Go on behind a head that offers another protocol, as if it did not (RFC 9110, 7.8).

        The parser takes what follows such a head for the other protocol. A new one is shown the head without the offer.
        """
        head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([*head, b"", b""]))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = max(1, self._head_bytes)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        error = self._refusal_of_head(version)
        if error is None and self.parser.should_upgrade():
            return
        if error is not None:
            self._refuse_head(error)
        self._is_in_head, self._bare_bytes, self._trailers = False, 0, 0
        self._body_left = length_of(self.headers)
        self._intake.begin_body(has_chunks=self._body_left is None)
        self._cancel_deadline()
        self.expect_100_continue = expects_continue(version, self.headers)
        scope: Any = self.scope
        # What lasts limits what its connection may hold; a proxy's word is written over who the peer is.
        scope["extensions"] = {TRANSPORT: self.transport, PEER: self.client}
        super().on_headers_complete()

    def _refusal_of_head(self, version: str) -> ServiceError | None:
        # One that came in a single piece was not seen to grow.
        if self._head_bytes > MAX_HEAD_BYTES:
            return too_large()
        error = refusal_of_line(self._line) or refusal_of(self.parser.get_method(), version, self.headers)
        if error is None:
            try:
                self.url = settled_target(self.url)
            except ServiceError as refused:
                return refused
        return error

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._check(refusal_of_target(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)
            self._check(refusal_of_field(len(self.headers), len(name) + len(value)))
            return
        self._trailers += 1
        self._check(refusal_of_field(self._trailers, len(name) + len(value)))
        try:
            check_trailer(name)
        except ServiceError as error:
            self._refuse(error)
            raise _Refused from error

    def _check(self, error: ServiceError | None) -> None:
        """Refuse what is too large as it comes, before it is read by anybody."""
        if error is None:
            return
        if self._is_in_head:
            self._refuse_head(error)
        self._refuse(error)
        raise _Refused

    def _refuse_head(self, error: ServiceError) -> NoReturn:
        """Refuse a head as far as it has been read, which may have said in what form."""
        self._is_in_head = False
        self._answer_last(error)
        raise _Refused

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answered = cycle
        self._sending.begin()
        has_chunks = cycle.scope["http_version"] != "1.0"
        suited: Any = app if has_chunks else ended_by_closing(cycle, app)
        super()._start_asgi_task(cycle, suited)

    def on_body(self, body: bytes) -> None:
        # As uvicorn's, which copies each byte into a bytearray and out of it again: here a large piece goes through.
        self._calls += 1
        self._bare_bytes = max(0, self._bare_bytes - MAX_BARE_SHARE * len(body))
        if self._body_left is not None:
            self._body_left -= len(body)
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            cycle.body = body
        elif isinstance(cycle.body, Pieces):
            cycle.body.add(body)
        else:
            cycle.body = Pieces(cycle.body, body)
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        # The next request on this connection; uvicorn's keep-alive timer limits the time until it begins.
        self._is_in_head, self._head_bytes, self._line = True, 0, b""
        if self._deadline is not None:
            # That of a body nobody read, which has put an end to the keep-alive timer.
            self._expect_head()

    # What ends a connection.

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether the connection stays: a client that ends its sending may well wait for its answers."""
        if self._has_refused:
            # It has sent all it will: nothing to take any more.
            self.cycle.more_body = False
            self.cycle.message_event.set()
        elif not self._is_in_head:
            self._drop_unfinished()
        stays = self._ends_with_answers()
        if stays:
            self._pings = Pings(self.transport, lambda: self._answered)
            self._pings.begin()
        return stays

    def _ends_with_answers(self) -> bool:
        """Return whether a request waits for its answer; the last answer then ends the connection (RFC 9112, 9.6)."""
        self._cancel_deadline()
        last: Any = self.cycle
        if last is None or last.response_complete:
            return False
        last.keep_alive = False
        return True

    def _drop_unfinished(self) -> None:
        """Forget the request whose body does not come whole. Those before it are still answered."""
        broken = self.cycle
        if self.pipeline and self.pipeline[0][0] is broken:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._answered
        else:
            _tell_gone(broken)
            self.cycle = None  # type: ignore[assignment]

    def _refuse(self, error: ServiceError) -> None:
        """Refuse what was read last and is not HTTP: a head, or a body."""
        if self._is_in_head:
            self.on_message_begin()
        elif self.cycle.response_started:
            # A second answer would be read as part of the first.
            self._has_refused = True
            self.transport.close()
            return
        else:
            self._drop_unfinished()
        self._answer_last(error)

    def _answer_last(self, error: ServiceError) -> None:
        """Answer with this, after the answers to all requests before it, and end the connection."""
        self._has_refused = True
        if error.kind in (HEADERS_TOO_LARGE, TARGET_TOO_LONG):
            self.on_limit(error.kind.code)
        self._cancel_deadline()
        self.app = last_word(error)
        # The answer is the same everywhere, and what was asked for may not be readable.
        self.url, self.scope = b"/", self.scope.copy()
        super().on_headers_complete()
        self.cycle.keep_alive = False

    def _expect_head(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        self._set_deadline(self.header_timeout_seconds)

    def _set_deadline(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, self._close_late)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_late(self) -> None:
        self._has_refused = True
        self.on_limit("header_timeout_seconds")
        if not self._ends_with_answers():
            self.transport.close()


def _tell_gone(cycle: Any) -> None:
    """Have the request behind a cycle learn that its client is gone."""
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


def limited_protocol(
    header_timeout_seconds: float,
    on_limit: Callable[[str], None] = lambda name: None,
    *,
    connections: Connections | None = None,
    send_pace: SendPace | None = None,
) -> type[asyncio.Protocol]:
    """Return the protocol class with this deadline for headers, its connections counted, its answers at this pace.

    ``on_limit`` is told which limits are met.
    """
    members = {
        "header_timeout_seconds": header_timeout_seconds,
        "on_limit": staticmethod(on_limit),
        "counted": connections,
        "send_pace": send_pace or SendPace(),
    }
    made: Any = type("LimitedProtocol", (LimitedProtocol,), members)
    protocol: type[asyncio.Protocol] = made
    return protocol
