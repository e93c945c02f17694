"""E-mail from end to end: an upload names addresses, and after its 202 a mail server gets the messages."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.curl import curl
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.mail_server import PASSWORD, USER, Inbox, make_certificate, serving

FROM = "vacpack <no-reply@up.example>"
PUBLIC = "https://up.example"


def sending_to(port: int, **more: object) -> dict[str, object]:
    server = {"smtp_host": "localhost", "smtp_port": port, "smtp_security": "none", "smtp_from": FROM}
    return {**server, "public_url": PUBLIC, **more}


def pending(service: ServiceProcess) -> int:
    count: int = service.rows("SELECT count(*) FROM outbox WHERE status = 'pending'")[0][0]
    return count


def test_addresses_of_a_form_get_their_messages_after_the_202(start_service: StartService, tmp_path: Path) -> None:
    (tmp_path / "年度 报告.log").write_bytes(b"hello\n" * 50_000)
    inbox = Inbox()
    with serving(inbox) as port:
        service = start_service(**sending_to(port))

        form = ["-F", f"file=@{tmp_path / '年度 报告.log'}", "-F", "notify_email=ann@mail.example, bob@mail.example"]
        more = ["-F", "notify_email=eve@mail.example", "-H", "Accept-Language: zh-CN,zh;q=0.9"]
        answer = curl(*form, *more, f"{service.url}/uploads", folder=tmp_path)
        until(lambda: len(inbox.letters) == 3, what="three messages")

    assert (answer.status, answer.json["status"]) == (202, "queued")
    assert sorted(letter["To"] for letter in inbox.letters) == [
        f"{name}@mail.example" for name in ("ann", "bob", "eve")
    ]
    assert len({letter["Message-ID"] for letter in inbox.letters}) == 3
    assert all(letter["Subject"].startswith("年度 报告.log 已压缩完成：300 kB → ") for letter in inbox.letters)
    (link,) = set(re.findall(r"https://up\.example(/jobs/[a-z2-7]{26}/original)", str(text_of(inbox, 0))))
    assert ask(f"{service.url}{link}").body == b"hello\n" * 50_000


def text_of(inbox: Inbox, number: int) -> str:
    part = inbox.letters[number].get_body(("plain",))
    assert part is not None
    text: str = part.get_content()
    return text


def test_a_job_that_was_cancelled_is_told_too(start_service: StartService) -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        service = start_service(**sending_to(port, embedded_worker=False))
        job = upload(service.url, b"x", options="notify_email=ann@mail.example")
        cancelled = ask(f"{service.url}/jobs/{job['id']}/cancel", "POST", Authorization=f"Bearer {job['manage_key']}")
        assert (cancelled.status, inbox.letters) == (200, [])
        service.stop()

        service.settings["VACPACK_EMBEDDED_WORKER"] = "true"
        service.start()
        until(lambda: inbox.letters, what="the message")

    assert inbox.letters[0]["Subject"] == "f.bin: cancelled"


def test_starttls_and_login_with_a_certificate_of_ones_own(start_service: StartService, tmp_path: Path) -> None:
    inbox, certificate = Inbox(), make_certificate(tmp_path)
    server = {"tls_context": certificate.of_server(), "require_starttls": True, "authenticator": inbox.authenticate}
    with serving(inbox, **server, auth_required=True) as port, pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(certificate.path))
        secured = {"smtp_security": "starttls", "smtp_user": USER, "smtp_password": PASSWORD}
        service = start_service(**sending_to(port) | secured)
        upload(service.url, b"hello", options="notify_email=ann@mail.example")
        until(lambda: inbox.letters, what="the message")

    assert (inbox.logins, inbox.is_secured) == ([USER], [True])
    assert PASSWORD not in service.log()
    assert "ann@mail.example" not in service.log()


def test_a_server_that_says_later_gets_the_same_message_later(start_service: StartService) -> None:
    inbox = Inbox({"RCPT": ["451 4.7.1 Greylisted"]})
    with serving(inbox) as port:
        service = start_service(**sending_to(port))
        upload(service.url, b"hello", options="notify_email=ann@mail.example")
        # The first pause is 5 s.
        until(lambda: inbox.letters, what="the second try")
        until(lambda: pending(service) == 0, what="its record")

    told = service.rows("SELECT outcome, status_code, detail FROM deliveries ORDER BY number")
    answered = "The mail server answered: 451 4.7.1 Greylisted"
    assert [tuple(row) for row in told] == [("failed", 451, answered), ("delivered", 250, None)]


def test_an_address_that_does_not_exist_is_given_up_and_the_others_get_theirs(start_service: StartService) -> None:
    inbox = Inbox({"RCPT": ["550 5.1.1 No such user"]})
    with serving(inbox) as port:
        service = start_service(**sending_to(port))
        upload(service.url, b"hello", options="notify_email=ann@mail.example,bob@mail.example")
        until(lambda: inbox.letters and pending(service) == 0, what="the end of both")

    statuses = [row[0] for row in service.rows("SELECT status FROM outbox ORDER BY status")]
    assert statuses == ["failed", "sent"]
    assert len(inbox.letters) == 1


def test_a_message_outlives_the_service_that_was_killed_before_it_could_be_sent(start_service: StartService) -> None:
    inbox = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as stalls:
        # Nobody accepts: connecting succeeds, and no greeting ever comes.
        port = stalls.getsockname()[1]
        service = start_service(**sending_to(port))
        upload(service.url, b"hello", options="notify_email=ann@mail.example")
        until(lambda: service.rows("SELECT 1 FROM deliveries"), what="the first try")
        service.kill()

    assert pending(service) == 1
    with serving(inbox, port=port):
        service.start()
        until(lambda: inbox.letters, what="the message")
        until(lambda: pending(service) == 0, what="its record")

    assert [letter["To"] for letter in inbox.letters] == ["ann@mail.example"]


def test_a_mail_server_that_stalls_holds_up_neither_jobs_nor_the_end(start_service: StartService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stalls:
        service = start_service(**sending_to(stalls.getsockname()[1]))
        first = upload(service.url, b"hello", options="notify_email=ann@mail.example,bob@mail.example,eve@mail.example")
        until(lambda: service.rows("SELECT 1 FROM deliveries"), what="the first try")
        second = upload(service.url, b"hello")
        until(lambda: set(service.statuses().values()) == {"succeeded"}, what="both jobs")

        # Less than the 20 s of the stalled conversations, and within the grace.
        assert service.stop(seconds=15) == 0
    assert set(service.statuses()) == {first["id"], second["id"]}
    assert pending(service) == 3


def test_a_mail_server_without_the_rest_is_told_of_at_the_start(start_service: StartService) -> None:
    service = start_service(smtp_host="localhost", smtp_from=FROM)

    warned = until(lambda: [event for event in service.events() if event["level"] == "warning"], what="the warning")
    assert [(event["event"], event["missing"]) for event in warned] == [("e-mail is off", "VACPACK_PUBLIC_URL")]
