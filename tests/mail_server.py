"""Mail servers of a test, on loopback: a real one (aiosmtpd) that does as it is told, and one of raw bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "vacpack", "hunter 2+/="


@dataclass
class Inbox:
    """What arrives at a server, and what it says instead of yes: ``replies`` are used up, one for each command."""

    replies: dict[str, list[str]] = field(default_factory=dict)
    senders: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    letters: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    greeted_as: list[str] = field(default_factory=list)
    is_secured: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    def _reply(self, command: str) -> str:
        left = self.replies.get(command)
        return left.pop(0) if left else "250 OK"

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.greeted_as.append(hostname)
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self._reply("MAIL")

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self._reply("RCPT")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = self._reply("DATA")
        if reply.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.senders.append(str(envelope.mail_from))
            self.recipients.extend(envelope.rcpt_tos)
            self.raw.append(envelope.content)
            letter = message_from_bytes(envelope.content, policy=default)
            assert isinstance(letter, EmailMessage)
            self.letters.append(letter)
            self.is_secured.append(session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None)
        return reply

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
    ) -> AuthResult:
        assert isinstance(auth_data, LoginPassword)
        self.logins.append(auth_data.login.decode())
        is_right = (auth_data.login.decode(), auth_data.password.decode()) == (USER, PASSWORD)
        return AuthResult(success=is_right, handled=False)


@contextmanager
def serving(inbox: Inbox, *, tls: ssl.SSLContext | None = None, port: int = 0, **options: Any) -> Iterator[int]:
    """Run a mail server and yield its port; ``tls`` is for TLS from the start, ``options`` are aiosmtpd's."""
    loop = asyncio.new_event_loop()

    protocols: list[SMTP] = []

    def protocol() -> SMTP:
        protocols.append(SMTP(inbox, hostname="mail.test", loop=loop, **options))
        return protocols[-1]

    # A thread of its own from the start: the test's may have a loop that runs, a browser's.
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(loop.create_server(protocol, "127.0.0.1", port, ssl=tls), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server, protocols), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server, protocols: list[SMTP]) -> None:
    server.close()
    for protocol in protocols:
        if protocol.transport is not None:
            protocol.transport.abort()
    # A turn of the loop for each layer of what is aborted.
    for _ in range(3):
        await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen, and let ``talk`` have each connection, one after the other; it may fail when the test ends."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(10)
                        talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


@dataclass(frozen=True)
class Certificate:
    """A server's certificate, signed by itself."""

    path: Path
    key_path: Path

    def of_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key_path)
        return context

    def believed(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


def make_certificate(folder: Path, *, name: str = "localhost", address: str = "127.0.0.1") -> Certificate:
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:{address}"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    paths = ["-out", str(made.path), "-keyout", str(made.key_path)]
    subprocess.run(["openssl", "req", "-x509", "-days", "2", *curve, *subject, *paths], check=True, capture_output=True)
    return made
