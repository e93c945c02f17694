"""Handing one message to the mail server of the settings: over a checked connection, and within a time.

Knows no jobs and no outbox: ``mail`` composes what is sent here and judges how it went.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import cast

from service.telling.connecting import connect_to_first, look_up_within

CUT_SECONDS = 0.1
"""How often a conversation whose time is over is cut, until it has noticed."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where messages are handed in. ``security`` is starttls, tls or none."""

    host: str
    port: int
    security: str
    timeout_seconds: float
    """Of the whole, from looking the name up to the answer to the last byte."""
    own_name: str
    """What this service calls itself in EHLO."""
    user: str = ""
    """Empty: no login."""
    password: str = field(default="", repr=False)


class MailRefused(Exception):
    """The server does not take this message: ``code`` is its reply's, ``text`` what it says, in printable ASCII."""

    def __init__(self, code: int, text: bytes | str) -> None:
        said = text.decode("ascii", "replace") if isinstance(text, bytes) else text
        self.code = code
        self.text = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())[:200]
        super().__init__(f"{code} {self.text}")


class MailServerFailed(Exception):
    """The message could not even be offered: no connection, no trust, no login, or no answer in time."""


def hand_in(server: MailServer, context: ssl.SSLContext, email: EmailMessage, *, sender: str, recipient: str) -> None:
    """Return when the server has taken the message for this recipient, who need not stand in its headers.

    ``context`` says which certificates are believed. Addresses are plain ASCII.

    Raises:
        MailRefused: the server answered MAIL, RCPT or DATA with another reply than yes (RFC 5321, 4.2.1).
        MailServerFailed: it did not come so far, or the answer was lost; it may have been taken all the same.
    """
    with _conversation(server, context) as smtp:
        try:
            smtp.send_message(email, sender, [recipient])
        except smtplib.SMTPRecipientsRefused as refused:
            raise MailRefused(*refused.recipients[recipient]) from refused
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as refused:
            raise MailRefused(refused.smtp_code, refused.smtp_error) from refused


@contextmanager
def _conversation(server: MailServer, context: ssl.SSLContext) -> Iterator[smtplib.SMTP]:
    """Connect, secure the connection and log in; end politely if there is time. A lost goodbye is no failure."""
    watch = _Watch(server.timeout_seconds)
    try:
        smtp = _connected(server, context, watch)
        yield smtp
        with suppress(OSError):
            smtp.quit()
    except OSError as error:
        reason = f"no end within {server.timeout_seconds:g} s" if watch.is_over else _reason(error)
        raise MailServerFailed(reason) from error
    finally:
        watch.end()


def _reason(error: Exception) -> str:
    """Return what went wrong, for the log: without what the server said, which may name people."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    is_said_elsewhere = isinstance(error, smtplib.SMTPException)
    return type(error).__name__ if is_said_elsewhere else f"{type(error).__name__}: {error}"


def _connected(server: MailServer, context: ssl.SSLContext, watch: _Watch) -> smtplib.SMTP:
    smtp = _Smtp(watch, server, context if server.security == "tls" else None)
    if server.security == "starttls":
        # Raises where the server does not offer it: nothing is ever sent in the clear instead.
        smtp.starttls(context=cast(ssl.SSLContext, _Securing(smtp, context)))
    if server.user:
        smtp.login(server.user, server.password)
    return smtp


class _Watch:
    """Cuts a connection when its time is over.

    ``smtplib`` has a time-out for each step only: a server that says one byte now and then would hold it for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._smtp: smtplib.SMTP | None = None
        self._ended = threading.Event()
        self._deadline = time.monotonic() + seconds
        threading.Thread(target=self._run, name="mail watch", daemon=True).start()

    def guard(self, smtp: smtplib.SMTP) -> None:
        """Cut this one: its socket is another one after STARTTLS."""
        self._smtp = smtp

    def seconds_left(self) -> float:
        """Return how long the whole may still take.

        Raises:
            TimeoutError: not at all.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def end(self) -> None:
        """Let go, and close what is open."""
        self._ended.set()
        if self._smtp is not None:
            self._smtp.close()

    def _run(self) -> None:
        if self._ended.wait(max(0, self._deadline - time.monotonic())):
            return
        self.is_over = True
        while not self._ended.wait(CUT_SECONDS):
            if self._smtp is not None and (connection := self._smtp.sock) is not None:
                # The plain socket's: the one of TLS also forgets its keys, under the reader's hands.
                with suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Smtp(smtplib.SMTP):
    """A conversation that is watched from the name's look-up on: the constructor connects and reads the greeting."""

    def __init__(self, watch: _Watch, server: MailServer, context: ssl.SSLContext | None) -> None:
        """With a context it begins with TLS (RFC 8314)."""
        self._watch = watch
        self._context = context
        watch.guard(self)
        super().__init__(server.host, server.port, local_hostname=server.own_name, timeout=server.timeout_seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """As the library asks for; it would give each address the whole time, and the name as long as it takes."""
        addresses = look_up_within(self._watch.seconds_left(), host, port)
        if not addresses:
            raise OSError("the name leads to no address")
        connection = connect_to_first(
            addresses,
            lambda address, share: socket.create_connection((address, port), share),
            seconds_left=self._watch.seconds_left,
        )
        connection.settimeout(timeout)
        return connection if self._context is None else self.secure(connection, self._context, host)

    def secure(self, connection: socket.socket, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
        """Return the connection after the handshake, during which it can be cut already."""
        secured = context.wrap_socket(connection, server_hostname=name, do_handshake_on_connect=False)
        self.sock = secured
        secured.do_handshake()
        return secured


class _Securing:
    """What STARTTLS takes for a context."""

    def __init__(self, smtp: _Smtp, context: ssl.SSLContext) -> None:
        self._smtp = smtp
        self._context = context

    def wrap_socket(self, connection: socket.socket, *, server_hostname: str) -> ssl.SSLSocket:
        """As the library asks for."""
        return self._smtp.secure(connection, self._context, server_hostname)
