"""What the pages make of events and e-mail: the job page listens, and the upload page takes addresses."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, Request, Route, expect

from tests.acceptance.asking import succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.upload_page import choose, expect_status, idle_worker, made, press, succeeded_row
from tests.mail_server import Inbox, serving
from tests.service.payloads import text


def asked_of(page: Page) -> list[str]:
    """Return the list that the page's requests are added to, as kinds: events, held, status."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/events" in request.url:
            asked.append("events")
        elif "wait=" in request.url or "ids=" in request.url:
            asked.append("held")

    page.on("request", note)
    return asked


def test_the_job_page_listens_and_asks_no_more(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page("/limits")
    asked = asked_of(page)
    with idle_worker(service):
        job = upload(service.url, text(50_000), "a.log")
        page.goto(f"/jobs/{job['id']}")
        expect(page.locator(".row .state")).to_have_text("Queued, number 1 in line")

    expect(page.locator(".row .state")).to_contain_text("% smaller, zstd")
    assert asked == ["events"]


def test_a_job_run_again_is_listened_to_again(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page("/limits")
    asked = asked_of(page)
    with idle_worker(service):
        job = upload(service.url, text(50_000), "a.log")
        page.goto(f"/jobs/{job['id']}?key={job['manage_key']}")
        row = page.locator(".row")
        press(row, "cancel")
        expect_status(row, "cancelled")
        press(row, "retry")
        expect_status(row, "queued")

    expect_status(row, "succeeded")
    # The same stream, where both changes came within one look, or another.
    assert set(asked) == {"events"}


def test_where_events_do_not_get_through_the_page_asks(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page("/limits")
    asked = asked_of(page)
    refusal = {"status": 503, "headers": {"Retry-After": "5"}, "content_type": "application/problem+json", "body": "{}"}
    page.route("**/events", lambda route: route.fulfill(**refusal))
    with idle_worker(service):
        job = upload(service.url, text(50_000), "a.log")
        page.goto(f"/jobs/{job['id']}")
        expect(page.locator(".row .state")).to_have_text("Queued, number 1 in line")

    expect_status(page.locator(".row"), "succeeded")
    assert asked[0] == "events"
    assert set(asked[1:]) == {"held"}


def test_a_proxy_that_keeps_events_to_itself_is_given_up(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page("/limits")
    held: list[Route] = []
    page.route("**/events", lambda route: held.append(route))
    with idle_worker(service):
        job = upload(service.url, text(50_000), "a.log")
        with page.expect_request("**/events"):
            page.goto(f"/jobs/{job['id']}")
        expect(page.locator(".row .state")).to_have_text("Queued, number 1 in line")

    expect_status(page.locator(".row"), "succeeded")


def test_addresses_given_on_the_page_are_told_in_its_language(
    open_page: OpenPage, start_service: StartService, tmp_path: Path
) -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        smtp = {"smtp_host": "localhost", "smtp_port": port, "smtp_security": "none", "smtp_from": "v@up.example"}
        service = start_service(**smtp, public_url="https://up.example")
        page = open_page(base_url=service.url, locale="zh-CN")
        page.get_by_label("完成后发送邮件").fill("ann@mail.example, bob@mail.example")
        page.get_by_label("选择文件", exact=True).set_input_files(made(tmp_path, {"a.log": text(50_000)}))
        job_id = succeeded_row(page, "a.log").get_attribute("data-job")
        until(lambda: len(inbox.letters) == 2, what="two messages")

    assert job_id
    assert {letter["To"] for letter in inbox.letters} == {"ann@mail.example", "bob@mail.example"}
    assert all("已压缩完成" in letter["Subject"] for letter in inbox.letters)


def test_a_mistyped_address_is_told_before_anything_is_sent(
    open_page: OpenPage, start_service: StartService, tmp_path: Path
) -> None:
    smtp = {"smtp_host": "localhost", "smtp_port": 1, "smtp_security": "none", "smtp_from": "v@up.example"}
    service = start_service(**smtp, public_url="https://up.example")
    page = open_page(base_url=service.url)
    address = page.get_by_label("E-mail when it is done")
    address.fill("ann at mail")
    choose(page, *made(tmp_path, {"a.log": b"a"}))

    assert not address.evaluate("field => field.validity.valid")
    assert page.locator(".row").count() == 0
    address.fill("")
    choose(page, *made(tmp_path, {"a.log": b"a"}))
    job_id = succeeded_row(page, "a.log").get_attribute("data-job")
    assert job_id
    assert succeeded(service.url, job_id)


def test_without_a_mail_server_the_page_offers_no_mail(page: Page) -> None:
    expect(page.get_by_label("E-mail when it is done")).to_have_count(0)
