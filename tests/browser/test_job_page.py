"""The page of a job: it follows the job, and lets only those change it who hold its key."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.acceptance.asking import ask, job_at, succeeded, upload
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.upload_page import choose, expect_status, idle_worker, made, offered, press, succeeded_row
from tests.service.payloads import text

CHANGES = {"cancel", "retry", "delete"}
SLOW = text(24_000_000)


def field(page: Page, name: str) -> str:
    """Return a fact of the page."""
    return page.locator(f"[data-field='{name}']").inner_text()


def test_row_and_facts_follow_the_job(open_page: OpenPage, service: ServiceProcess) -> None:
    with idle_worker(service):
        job = upload(service.url, text(50_000), "a.log")
        page = open_page(f"/jobs/{job['id']}")
        expect(page.get_by_role("heading", level=1)).to_have_text("a.log")
        expect(page.locator(".row .state")).to_have_text("Queued, number 1 in line")
        expect(page.locator("[data-field='result.size_bytes']")).to_be_hidden()
        page.evaluate("window.isTheSame = true")

    expect(page.locator(".row .state")).to_contain_text("% smaller, zstd")
    done = succeeded(service.url, job["id"])
    assert field(page, "source.size_bytes") == "50 kB"
    assert field(page, "result.size_bytes") == page.locator(".row .state").inner_text().split(" → ")[1].split(",")[0]
    assert field(page, "source.sha256") == done["source"]["sha256"]
    assert field(page, "result.sha256") == done["result"]["sha256"]
    assert field(page, "attempt") == "1 of 3"
    for moment in ("created_at", "started_at", "finished_at", "expires_at"):
        assert re.search(r"20\d\d", field(page, moment))
    expect(page).to_have_title("a.log · vacpack")
    assert page.evaluate("isTheSame"), "followed, not loaded again"


def test_digests_and_link_are_copied(open_page: OpenPage, service: ServiceProcess) -> None:
    job = upload(service.url, b"a", "a.txt")
    done = succeeded(service.url, job["id"])
    page = open_page(f"/jobs/{job['id']}", permissions=["clipboard-read", "clipboard-write"])

    for label, value in [
        ("Copy SHA-256 of the original", done["source"]["sha256"]),
        ("Copy SHA-256 of the result", done["result"]["sha256"]),
        ("Copy Link to share", f"{service.url}/jobs/{job['id']}"),
    ]:
        page.get_by_role("button", name=label).click()
        expect(page.locator("#live")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == value
        page.evaluate("document.getElementById('live').textContent = ''")


def test_only_the_browser_that_uploaded_may_change_it(
    page: Page, open_page: OpenPage, service: ServiceProcess, tmp_path: Path
) -> None:
    choose(page, *made(tmp_path, {"a.txt": b"a"}))
    found = succeeded_row(page, "a.txt")
    found.get_by_role("link", name="a.txt", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("a.txt")
    expect(page.locator("[data-act=delete]")).to_be_visible()

    other = open_page(page.url)
    expect(other.locator("[data-act=copy_link]")).to_be_visible()
    assert offered(other.locator(".row")) == {"download", "original", "copy_link", "copy_curl"}

    page.once("dialog", lambda dialog: dialog.accept())
    press(page.locator(".row"), "delete")

    expect(page.get_by_role("heading", level=1)).to_have_text("Compress files")
    expect(page.locator(".row")).to_have_count(0)
    assert service.url + "/" == page.url


def test_the_key_is_taken_out_of_the_address_and_kept(open_page: OpenPage, service: ServiceProcess) -> None:
    with idle_worker(service):
        job = upload(service.url, b"a", "a.txt")
        page = open_page(f"/jobs/{job['id']}?key={job['manage_key']}")
        address = f"{service.url}/jobs/{job['id']}"
        expect(page).to_have_url(address)
        expect(page.locator("[data-act=cancel]")).to_be_visible()
        assert job["manage_key"] not in page.evaluate("document.querySelector('dl').innerHTML")

        page.reload()

        expect(page.locator("[data-act=cancel]")).to_be_visible()
        press(page.locator(".row"), "cancel")
        expect(page.locator(".row .state")).to_have_text("Cancelled")
        assert job_at(service.url, job["id"])["status"] == "cancelled"

        other = open_page(page.url)
        expect(other.locator("[data-act=copy_link]")).to_be_visible()
        assert not offered(other.locator(".row")) & CHANGES


def test_a_wrong_key_gives_nothing(open_page: OpenPage, service: ServiceProcess) -> None:
    with idle_worker(service):
        job = upload(service.url, b"a", "a.txt")
        page = open_page(f"/jobs/{job['id']}?key=wrong")

        expect(page).to_have_url(f"{service.url}/jobs/{job['id']}")
        expect(page.locator("[data-act=copy_link]")).to_be_visible()
        assert not offered(page.locator(".row")) & CHANGES
        page.reload()
        expect(page.locator("[data-act=copy_link]")).to_be_visible()
        assert not offered(page.locator(".row")) & CHANGES


def test_a_running_job_is_cancelled_and_run_again(open_page: OpenPage, service: ServiceProcess) -> None:
    job = upload(service.url, SLOW, "slow.txt", options="format=xz&level=small")
    page = open_page(f"/jobs/{job['id']}?key={job['manage_key']}")
    found = page.locator(".row")
    expect_status(found, "running")
    expect(found.get_by_role("progressbar")).to_be_visible()

    press(found, "cancel")
    expect(found.locator(".state")).to_have_text("Cancelled")
    press(found, "retry")

    expect_status(found, "running")
    press(found, "cancel")
    expect(found.locator(".state")).to_have_text("Cancelled")


def test_the_reason_of_a_failure_is_shown_and_retry_mends_it(open_page: OpenPage, service: ServiceProcess) -> None:
    with idle_worker(service):
        before = service.stored()
        job = upload(service.url, b"a", "a.txt")
        [source] = service.stored() - before
        stored = service.data_dir / "files" / source
        stored.write_bytes(b"b")
        page = open_page(f"/jobs/{job['id']}?key={job['manage_key']}")
        expect_status(page.locator(".row"), "queued")

    why = page.locator(".row .why")
    expect(why).to_contain_text("The stored upload is not what arrived.")
    expect(why.locator("code")).to_have_text("source_damaged")
    expect(page.locator("[data-act=retry]")).to_be_visible()
    other = open_page(f"/jobs/{job['id']}")
    expect(other.locator(".row .why")).to_contain_text("The stored upload is not what arrived.")
    assert not offered(other.locator(".row")) & CHANGES

    stored.write_bytes(b"a")
    press(page.locator(".row"), "retry")

    expect_status(page.locator(".row"), "succeeded")
    expect(why).to_be_hidden()


def test_a_damaged_result_is_said_and_not_offered(open_page: OpenPage, service: ServiceProcess) -> None:
    job = upload(service.url, text(50_000), "a.log")
    succeeded(service.url, job["id"])
    [row] = service.rows("SELECT result_key FROM jobs WHERE id = ?", job["id"])
    (service.data_dir / "files" / row["result_key"]).unlink()
    assert ask(f"{service.url}/jobs/{job['id']}/result").status == 410
    page = open_page(f"/jobs/{job['id']}?key={job['manage_key']}")
    found = page.locator(".row")

    # The script's hand: what the server wrote has no such button.
    expect(found.locator("[data-act=copy_link]")).to_be_visible()

    expect_status(found, "failed")
    expect(found.locator(".state")).to_have_text("Damaged since: it cannot be downloaded")
    expect(found.locator(".why")).to_contain_text("The stored result is damaged or lost")
    expect(found.locator(".why code")).to_have_text("result_damaged")
    assert offered(found) == {"copy_link", "delete"}


def test_a_job_deleted_meanwhile_is_said(open_page: OpenPage, service: ServiceProcess) -> None:
    with idle_worker(service):
        job = upload(service.url, b"a", "a.txt")
        page = open_page(f"/jobs/{job['id']}")
        expect(page.locator("[data-act=copy_link]")).to_be_visible()

        ask(f"{service.url}/jobs/{job['id']}", "DELETE", Authorization=f"Bearer {job['manage_key']}")

        expect(page.get_by_role("heading", level=1)).to_have_text("There is no such job")
