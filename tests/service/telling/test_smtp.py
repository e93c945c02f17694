"""Handing messages in at real servers on loopback: those that take them, refuse, stall, lie, and hang up."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.telling.mail import Letterhead, Mailer
from service.telling.notify import Delivery, Message
from service.telling.smtp import MailServer
from service.values.email_address import read_sender
from storage.lifecycle import DeliveryOutcome
from tests.mail_server import PASSWORD, USER, Certificate, Inbox, make_certificate, serving, talking
from tests.service.telling.test_mail import MESSAGE_ID, SUCCEEDED

ANN = "ann@mail.example"
NO_TRUST = ssl.create_default_context()
LETTERHEAD = Letterhead(read_sender("vacpack <no-reply@up.example>"), "https://up.example")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def mailer(port: int, context: ssl.SSLContext = NO_TRUST, **changes: Any) -> Mailer:
    values = {"host": "127.0.0.1", "security": "none", "timeout_seconds": 10, "own_name": "up.example"} | changes
    return Mailer(MailServer(port=port, **values), LETTERHEAD, context)


def message(target: str = ANN, *, language: str = "en", **changes: Any) -> Message:
    return Message(MESSAGE_ID, target, language, SUCCEEDED | changes)


@contextmanager
def watched_threads() -> Iterator[None]:
    """Fail if a conversation has left its watch behind."""
    yield
    deadline = time.monotonic() + 5
    while any(thread.name == "mail watch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a watch goes on"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    with watched_threads():
        yield


def test_a_message_that_is_taken_is_delivered() -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        delivery = mailer(port).send(message(name="年度 报告.pdf"))

    assert delivery == Delivery(DeliveryOutcome.DELIVERED, 250)
    assert (inbox.senders, inbox.recipients) == (["no-reply@up.example"], [ANN])
    assert inbox.letters[0]["Subject"] == "年度 报告.pdf is ready: 6.89 MB → 1.23 MB"
    assert inbox.letters[0]["Message-ID"] == f"<{MESSAGE_ID}@up.example>"
    assert inbox.greeted_as == ["up.example"]
    assert inbox.raw[0].isascii()


def test_each_of_many_gets_a_message_that_names_nobody_else() -> None:
    inbox, targets = Inbox(), [f"u{number}@x.example" for number in range(10)]
    with serving(inbox) as port:
        sender = mailer(port)
        outcomes = {sender.send(message(target)).outcome for target in targets}

    assert outcomes == {DeliveryOutcome.DELIVERED}
    assert [letter["To"] for letter in inbox.letters] == targets
    assert inbox.recipients == targets


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_a_server_that_says_not_now_is_asked_again(command: str) -> None:
    inbox = Inbox({command: ["451 4.7.1 Greylisted"]})
    with serving(inbox) as port:
        sender = mailer(port)
        first, second = sender.send(message()), sender.send(message())

    detail = "The mail server answered: 451 4.7.1 Greylisted"
    assert first == Delivery(DeliveryOutcome.FAILED, 451, detail)
    assert second.outcome is DeliveryOutcome.DELIVERED
    assert len(inbox.letters) == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_a_server_that_says_never_is_believed(command: str) -> None:
    with serving(Inbox({command: ["550 5.1.1 No such\x07 user"]})) as port:
        delivery = mailer(port).send(message())

    assert delivery == Delivery(DeliveryOutcome.REFUSED, 550, "The mail server answered: 550 5.1.1 No such user")


def test_a_server_that_hangs_up_with_421_is_asked_again() -> None:
    with serving(Inbox({"RCPT": ["421 4.3.2 Closing"]})) as port:
        assert mailer(port).send(message()).outcome is DeliveryOutcome.FAILED


def test_a_login_that_is_wanted_can_be_mended(certificate: Certificate) -> None:
    with serving(Inbox(), tls_context=certificate.of_server(), auth_required=True) as port:
        delivery = mailer(port, certificate.believed(), security="starttls").send(message())

    assert (delivery.outcome, delivery.status_code) == (DeliveryOutcome.FAILED, 530)


def test_starttls_secures_the_message_and_the_login(certificate: Certificate) -> None:
    inbox = Inbox()
    options = {"require_starttls": True, "auth_required": True, "authenticator": inbox.authenticate}
    with serving(inbox, tls_context=certificate.of_server(), **options) as port:
        sender = mailer(port, certificate.believed(), security="starttls", user=USER, password=PASSWORD)
        delivery = sender.send(message())

    assert delivery.outcome is DeliveryOutcome.DELIVERED
    assert inbox.is_secured == [True]
    assert inbox.logins == [USER]


def test_tls_from_the_start_secures_the_message(certificate: Certificate) -> None:
    inbox = Inbox()
    with serving(inbox, tls=certificate.of_server()) as port:
        assert mailer(port, certificate.believed(), security="tls").send(message()).outcome is DeliveryOutcome.DELIVERED

    assert inbox.is_secured == [True]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_nobody_vouches_for_gets_nothing(security: str, certificate: Certificate) -> None:
    inbox = Inbox()
    secured: dict[str, Any] = {"tls": certificate.of_server()}
    if security == "starttls":
        secured = {"tls_context": certificate.of_server()}
    with serving(inbox, **secured) as port:
        delivery = mailer(port, security=security).send(message())

    assert delivery == Delivery(DeliveryOutcome.FAILED, detail="The mail server could not be used.")
    assert inbox.letters == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_another_name_is_not_believed(security: str, tmp_path: Path) -> None:
    other = make_certificate(tmp_path, name="other.example", address="127.0.0.9")
    inbox = Inbox()
    secured: dict[str, Any] = {"tls": other.of_server()} if security == "tls" else {"tls_context": other.of_server()}
    with serving(inbox, **secured) as port:
        assert mailer(port, other.believed(), security=security).send(message()).outcome is DeliveryOutcome.FAILED

    assert inbox.letters == []


def test_a_server_without_starttls_gets_neither_password_nor_message() -> None:
    inbox = Inbox()
    with serving(inbox, authenticator=inbox.authenticate, auth_require_tls=False) as port:
        delivery = mailer(port, security="starttls", user=USER, password=PASSWORD).send(message())

    assert delivery.outcome is DeliveryOutcome.FAILED
    assert (inbox.logins, inbox.letters) == ([], [])


def test_a_wrong_password_can_be_mended_and_is_not_logged(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox()
    with serving(inbox, tls_context=certificate.of_server(), authenticator=inbox.authenticate) as port:
        sender = mailer(port, certificate.believed(), security="starttls", user=USER, password="wrong-secret")
        delivery = sender.send(message())

    assert delivery == Delivery(DeliveryOutcome.FAILED, detail="The mail server could not be used.")
    told = [
        (record.message, vars(record)["reason"]) for record in caplog.records if record.name == "service.telling.mail"
    ]
    assert told == [("the mail server could not be used", "SMTPAuthenticationError 535")]
    assert "wrong-secret" not in repr(vars(caplog.records[0])) + repr(mailer(0, password="wrong-secret")._server)


def test_nobody_at_the_port_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    assert mailer(port).send(message()).outcome is DeliveryOutcome.FAILED


def lines_of(connection: socket.socket) -> Iterator[bytes]:
    with connection.makefile("rb") as file:
        yield from file


def greet(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.test ESMTP\r\n")


def silent(connection: socket.socket) -> None:
    while connection.recv(1000):
        continue


def silent_after(command: bytes) -> Callable[[socket.socket], None]:
    """Return a server that answers yes until this command, and then nothing."""

    def talk(connection: socket.socket) -> None:
        greet(connection)
        for line in lines_of(connection):
            if line.startswith(command):
                silent(connection)
                return
            connection.sendall(b"354 go on\r\n" if line.startswith(b"DATA") else b"250 OK\r\n")

    return talk


def trickling(greeting: bytes) -> Callable[[socket.socket], None]:
    """Return a server whose greeting never ends: a byte now and then, so that no single step takes long."""

    def talk(connection: socket.socket) -> None:
        for _ in range(400):
            connection.sendall(greeting)
            time.sleep(0.05)

    return talk


STALLS = {
    "no greeting": silent,
    "a byte now and then": trickling(b"2"),
    "a line now and then": trickling(b"220-hello\r\n"),
    "nothing after EHLO": silent_after(b"ehlo"),
    "nothing after MAIL": silent_after(b"mail"),
    "nothing after RCPT": silent_after(b"rcpt"),
    "nothing after DATA": silent_after(b"data"),
}


@pytest.mark.parametrize("stall", STALLS)
def test_a_server_that_stalls_is_left_when_the_time_is_over(stall: str) -> None:
    with talking(STALLS[stall]) as port:
        began = time.monotonic()
        delivery = mailer(port, timeout_seconds=0.5).send(message())

        # A twentieth of what the slowest of them would take: room for a busy machine.
        assert time.monotonic() - began < 10
    assert delivery == Delivery(DeliveryOutcome.FAILED, detail="The mail server could not be used.")


def test_tls_that_stalls_is_left_too(certificate: Certificate) -> None:
    def talk(connection: socket.socket) -> None:
        with certificate.of_server().wrap_socket(connection, server_side=True) as secured:
            trickling(b"2")(secured)

    with talking(talk) as port:
        sender = mailer(port, certificate.believed(), security="tls", timeout_seconds=0.5)
        began = time.monotonic()

        assert sender.send(message()).outcome is DeliveryOutcome.FAILED
        assert time.monotonic() - began < 10


def test_a_handshake_has_what_is_left_of_the_time() -> None:
    def talk(connection: socket.socket) -> None:
        greet(connection)
        lines = lines_of(connection)
        next(lines)
        time.sleep(3.5)
        connection.sendall(b"250-mail.test\r\n250 STARTTLS\r\n")
        next(lines)
        connection.sendall(b"220 go on\r\n")
        silent(connection)

    with talking(talk) as port:
        began = time.monotonic()

        assert mailer(port, security="starttls", timeout_seconds=4).send(message()).outcome is DeliveryOutcome.FAILED
        # The library would begin its 4 s anew.
        assert time.monotonic() - began < 6


@contextmanager
def leading_to(*addresses: str, stall: threading.Event | None = None) -> Iterator[None]:
    """Have the name mail.test lead there, once the stall is over."""
    real = socket.getaddrinfo

    def found(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "mail.test":
            return real(host, *rest, **more)
        if stall is not None:
            stall.wait(20)
        return [entry for address in addresses for entry in real(address, *rest, **more)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", found)
        yield


def test_a_name_that_is_not_looked_up_is_left_when_the_time_is_over() -> None:
    stall = threading.Event()
    with leading_to("127.0.0.1", stall=stall):
        began = time.monotonic()
        delivery = mailer(25, host="mail.test", timeout_seconds=0.5).send(message())

        assert time.monotonic() - began < 10
        stall.set()
    assert delivery.outcome is DeliveryOutcome.FAILED


@contextmanager
def swallowing(address: str, port: int) -> Iterator[None]:
    """Let nothing that connects there be answered: the queue of a server that accepts nobody is full."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind((address, port))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex((address, port))
        time.sleep(0.1)
        yield


def test_addresses_that_swallow_everything_share_the_time_and_leave_some_for_the_next() -> None:
    inbox = Inbox()
    with (
        serving(inbox) as port,
        swallowing("127.0.0.2", port),
        swallowing("127.0.0.3", port),
        leading_to("127.0.0.2", "127.0.0.3", "127.0.0.1"),
    ):
        delivery = mailer(port, host="mail.test", timeout_seconds=6).send(message())

    assert delivery.outcome is DeliveryOutcome.DELIVERED


def test_addresses_that_swallow_everything_are_left_when_the_time_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    addresses = [f"127.0.0.{last}" for last in range(2, 8)]
    with ExitStack() as stack:
        for address in addresses:
            stack.enter_context(swallowing(address, port))
        stack.enter_context(leading_to(*addresses))
        began = time.monotonic()
        delivery = mailer(port, host="mail.test", timeout_seconds=2).send(message())

        # Six times 2 s would be twelve.
        assert time.monotonic() - began < 8
    assert delivery.outcome is DeliveryOutcome.FAILED


def hang_up_after(command: bytes) -> Callable[[socket.socket], None]:
    """Return a server that hangs up where this command comes, or a line that begins so."""

    def talk(connection: socket.socket) -> None:
        greet(connection)
        for line in lines_of(connection):
            if line.startswith(command):
                return
            if line.startswith((b"ehlo", b"mail", b"rcpt", b"data")):
                connection.sendall(b"354 go on\r\n" if line.startswith(b"data") else b"250 OK\r\n")

    return talk


@pytest.mark.parametrize("command", [b"ehlo", b"mail", b"rcpt", b"data", b"Subject", b".\r\n"])
def test_a_server_that_hangs_up_is_asked_again(command: bytes) -> None:
    with talking(hang_up_after(command)) as port:
        assert mailer(port).send(message()).outcome is DeliveryOutcome.FAILED


def test_a_server_that_hangs_up_instead_of_a_goodbye_has_taken_it() -> None:
    with talking(_takes_and_hangs_up) as port:
        assert mailer(port).send(message()) == Delivery(DeliveryOutcome.DELIVERED, 250)


def _takes_and_hangs_up(connection: socket.socket) -> None:
    greet(connection)
    for line in lines_of(connection):
        if line.startswith(b"quit"):
            return
        if line.startswith((b"ehlo", b"mail", b"rcpt", b"data", b".\r\n")):
            connection.sendall(b"354 go on\r\n" if line.startswith(b"data") else b"250 OK\r\n")


@pytest.mark.parametrize("greeting", [b"554 No service\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 20_000])
def test_what_is_no_mail_server_is_asked_again_and_not_believed(greeting: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(greeting)

    with talking(talk) as port:
        assert mailer(port).send(message()).outcome is DeliveryOutcome.FAILED
