"""The list of the upload page: what a row says and gives once its job has ended, and what stays over a reload."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
import zstandard
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.asking import ask, sha256
from tests.acceptance.conftest import StartService
from tests.acceptance.curl import shell
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.upload_page import (
    choose,
    expect_status,
    idle_worker,
    job_of,
    made,
    offered,
    press,
    row,
    succeeded_row,
)
from tests.service.payloads import noise, text

TITLE = "vacpack: upload and compress"
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def remembered(page: Page) -> list[str]:
    """Return the names of the jobs that the browser remembers."""
    names: list[str] = page.evaluate("JSON.parse(localStorage['vacpack.jobs'] ?? '[]').map(({ name }) => name)")
    return names


def job_ids(page: Page) -> list[str]:
    """Return the ids of the rows' jobs."""
    ids: list[str] = page.locator(".row").evaluate_all("rows => rows.map((row) => row.dataset.job)")
    return ids


def delete_elsewhere(page: Page, service: ServiceProcess, found: Locator) -> None:
    """Delete a row's job without the page's knowing."""
    job_id = found.get_attribute("data-job")
    key = page.evaluate("id => JSON.parse(localStorage['vacpack.jobs']).find((kept) => kept.id === id).key", job_id)
    assert ask(f"{service.url}/jobs/{job_id}", "DELETE", Authorization=f"Bearer {key}").status == 204


def test_a_row_says_what_became_of_its_file(page: Page, tmp_path: Path) -> None:
    choose(page, *made(tmp_path, {"a.log": text(1_050_000), "b.bin": noise(50_000)}))

    state = succeeded_row(page, "a.log").locator(".state")
    expect(state).to_have_text(re.compile(r"^1\.05 MB → \d+ kB, \d\d(\.\d)? % smaller, zstd, (\d+|less than 1) s$"))
    found = succeeded_row(page, "b.bin")
    expect(found.locator(".state")).to_have_text("50 kB, kept as is: compressing would not make it smaller")
    assert "gzip" not in offered(found)
    expect(found.get_by_role("progressbar")).to_be_hidden()


@pytest.mark.parametrize("name", ["a.log", '报告 "x" <b>.log'])
def test_downloads_are_the_right_bytes_under_the_right_names(page: Page, tmp_path: Path, name: str) -> None:
    data = text(50_000)
    choose(page, *made(tmp_path, {name: data}))
    found = succeeded_row(page, name)
    served = re.sub(r'["<>]', "_", name)

    for act, saved, opened in [
        ("download", f"{served}.zst", zstandard.decompress),
        ("gzip", f"{served}.gz", gzip.decompress),
        ("original", served, bytes),
    ]:
        with page.expect_download() as download:
            press(found, act)
        assert (act, opened(download.value.path().read_bytes())) == (act, data)
        assert saved == download.value.suggested_filename


def test_link_and_curl_line_are_copied(open_page: OpenPage, service: ServiceProcess, tmp_path: Path) -> None:
    page = open_page(permissions=CLIPBOARD)
    choose(page, *made(tmp_path, {"a.bin": noise(10_000)}))
    found = succeeded_row(page, "a.bin")
    address = f"{service.url}/jobs/{found.get_attribute('data-job')}"

    press(found, "copy_link")
    expect(page.locator("#live")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == address

    press(found, "copy_curl")
    until(lambda: page.evaluate("navigator.clipboard.readText()") != address, what="the line")
    (tmp_path / "fetched").mkdir()
    assert shell(page.evaluate("navigator.clipboard.readText()"), folder=tmp_path / "fetched").status == 200
    [fetched] = (tmp_path / "fetched").glob("a.bin*")
    assert sha256(fetched.read_bytes()) == job_of(service, found)["result"]["sha256"]


def test_a_job_is_deleted_once_that_is_confirmed(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    asked: list[str] = []
    choose(page, *made(tmp_path, {"a.txt": b"a", "b.txt": b"b"}))
    found = succeeded_row(page, "a.txt")
    succeeded_row(page, "b.txt")
    address = f"{service.url}/jobs/{found.get_attribute('data-job')}"

    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    press(found, "delete")
    assert asked == ["Delete a.txt and its result from the server?"]
    assert ask(address).status == 200
    expect(found).to_be_visible()

    page.once("dialog", lambda dialog: dialog.accept())
    press(found, "delete")

    expect(found).to_have_count(0)
    assert ask(address).status == 404
    assert remembered(page) == ["b.txt"]
    expect(page.locator("#list-name")).to_be_focused()


def test_removing_and_clearing_leave_the_jobs_alone(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    choose(page, *made(tmp_path, {f"{name}.txt": name.encode() for name in "abc"}))
    ended = [succeeded_row(page, f"{name}.txt") for name in "abc"]
    addresses = [f"{service.url}/jobs/{found.get_attribute('data-job')}" for found in ended]
    with idle_worker(service):
        choose(page, *made(tmp_path, {"d.txt": b"d"}))
        expect_status(row(page, "d.txt"), "queued")

        page.once("dialog", lambda dialog: dialog.accept())
        press(ended[0], "remove")
        expect(page.locator(".row")).to_have_count(3)
        assert sorted(remembered(page)) == ["b.txt", "c.txt", "d.txt"]

        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Clear finished").click()
        expect(page.locator(".row bdi")).to_have_text(["d.txt"])
        assert remembered(page) == ["d.txt"]
    succeeded_row(page, "d.txt")
    assert [ask(address).status for address in addresses] == [200, 200, 200]


@pytest.mark.parametrize(
    ("locale", "clear", "warning"),
    [
        ("en-US", "Clear finished", "This browser forgets the only key"),
        ("zh-CN", "清除已结束的项目", "此浏览器会忘记唯一的管理密钥"),
    ],
)
def test_the_only_key_is_forgotten_once_that_is_confirmed(
    open_page: OpenPage, service: ServiceProcess, tmp_path: Path, locale: str, clear: str, warning: str
) -> None:
    page = open_page(locale=locale)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.locator("#file").set_input_files(made(tmp_path, {f"{number}.txt": b"x" for number in range(12)}))
    expect(page.locator("[data-status=succeeded]")).to_have_count(12)
    links = {f"{service.url}/jobs/{job_id}" for job_id in job_ids(page)}

    press(row(page, "3.txt"), "remove")
    page.get_by_role("button", name=clear).click()

    assert warning in asked[0]
    assert "3.txt" in asked[0]
    # What is forgotten can be copied from the question; one of hundreds would be cut.
    assert asked[0].splitlines()[1:] == [f"{service.url}/jobs/{row(page, '3.txt').get_attribute('data-job')}"]
    assert len(set(asked[1].splitlines()) & links) == 10
    assert asked[1].splitlines()[-1] == "…"
    assert len(remembered(page)) == 12
    expect(page.get_by_role("button", name=clear)).to_be_focused()


def test_what_holds_no_key_is_removed_without_a_question(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    choose(page, *made(tmp_path, {"a.txt": b"a"}))
    job_id = succeeded_row(page, "a.txt").get_attribute("data-job")
    page.evaluate("id => (localStorage['vacpack.jobs'] = JSON.stringify([{ id, name: 'a.txt', key: null }]))", job_id)
    page.reload()

    press(succeeded_row(page, "a.txt"), "remove")

    expect(page.locator(".row")).to_have_count(0)


def test_a_reload_keeps_the_list_and_goes_on_following(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    choose(page, *made(tmp_path, {"old.txt": text(30_000)}))
    said = succeeded_row(page, "old.txt").locator(".state").inner_text()
    with idle_worker(service):
        choose(page, *made(tmp_path, {"new.txt": b"new"}))
        expect_status(row(page, "new.txt"), "queued")

        page.reload()

        expect(page.locator(".row bdi")).to_have_text(["new.txt", "old.txt"])
        expect(row(page, "old.txt").locator(".state")).to_have_text(said)
        expect(row(page, "new.txt").locator(".state")).to_have_text("Queued, number 1 in line")
        assert "cancel" in offered(row(page, "new.txt"))
    succeeded_row(page, "new.txt")
    assert "delete" in offered(row(page, "old.txt"))


def test_what_expired_or_was_deleted_drops_out(
    open_page: OpenPage, start_service: StartService, tmp_path: Path
) -> None:
    service = start_service(sweep_seconds=0.2)
    page = open_page(base_url=service.url)
    choose(page, *made(tmp_path, {"kept.txt": b"kept", "deleted.txt": b"deleted"}))
    page.get_by_label("Keep for").fill("1s")
    choose(page, *made(tmp_path, {"expired.txt": b"expired"}))
    addresses = {}
    for name in ("kept.txt", "deleted.txt", "expired.txt"):
        # Not its end: that may be over before the page has heard of it.
        expect(row(page, name)).to_have_attribute("data-job", re.compile("."))
        addresses[name] = f"{service.url}/jobs/{row(page, name).get_attribute('data-job')}"
    delete_elsewhere(page, service, row(page, "deleted.txt"))
    until(lambda: ask(addresses["expired.txt"]).status == 410, what="expiry")

    page.reload()

    expect(page.locator(".row bdi")).to_have_text(["kept.txt"])
    assert remembered(page) == ["kept.txt"]


def test_a_list_that_could_not_be_asked_for_is_not_lost(page: Page, tmp_path: Path) -> None:
    choose(page, *made(tmp_path, {"a.txt": b"a"}))
    succeeded_row(page, "a.txt")
    page.route("**/jobs?ids=*", lambda route: route.abort())
    with page.expect_event("requestfailed"):
        page.reload()
    page.unroute("**/jobs?ids=*")

    page.reload()

    succeeded_row(page, "a.txt")


def test_a_job_deleted_elsewhere_is_no_longer_followed(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    with idle_worker(service):
        choose(page, *made(tmp_path, {"a.txt": b"a"}))
        found = row(page, "a.txt")
        expect_status(found, "queued")

        delete_elsewhere(page, service, found)

        expect(found.locator(".why")).to_contain_text("The server no longer has this job.")
        assert offered(found) == {"remove"}


COVERED = """() => {
  const over = document.getElementById("dropping");
  // It lets drops through; what is asked here is what lies on top.
  over.style.pointerEvents = "auto";
  const { left, top, width, height } = over.getBoundingClientRect();
  const found = [];
  for (let x = 0.05; x < 1; x += 0.1) {
    for (let y = 0.05; y < 1; y += 0.05) {
      found.push(document.elementFromPoint(left + x * width, top + y * height) === over);
    }
  }
  over.style.pointerEvents = "";
  return width > 0.9 * innerWidth && height > 0.9 * innerHeight && found.every(Boolean);
}"""


@pytest.mark.parametrize("where", ["at the top", "scrolled"])
def test_the_hint_to_drop_lies_over_all_rows(page: Page, tmp_path: Path, where: str) -> None:
    page.route("**/uploads?*", lambda route: None)  # Under way for as long as the test.
    choose(page, *made(tmp_path, {f"{number}.txt": b"x" for number in range(40)}))
    expect(page.locator(".row")).to_have_count(40)
    if where == "scrolled":
        row(page, "30.txt").scroll_into_view_if_needed()
        assert page.evaluate("scrollY > innerHeight")

    session = page.context.new_cdp_session(page)
    [path] = made(tmp_path, {"dropped.txt": b"x"})
    dragged = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": dragged})
    expect(page.locator("#dropping")).to_be_visible()

    assert page.evaluate(COVERED)
    session.send("Input.dispatchDragEvent", {"type": "drop", "x": 200, "y": 200, "data": dragged})
    expect(page.locator("#dropping")).to_be_hidden()
    expect(row(page, "dropped.txt")).to_have_count(1)


def test_the_title_tells_how_far_all_is(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    expect(page).to_have_title(TITLE)
    with idle_worker(service):
        choose(page, *made(tmp_path, {"a.txt": b"a", "b.txt": b"b"}))

        expect(page).to_have_title(f"0 % · {TITLE}")
        assert page.get_by_role("progressbar").evaluate_all("bars => bars.map((bar) => bar.value)") == [0, 0]
        expect(page.locator("#total")).to_have_text("0 of 2 files done")

    expect(page).to_have_title(TITLE)
    expect(page.locator("#total")).to_have_text("")
    expect(page.locator("#live")).to_have_text("All done: 2 files")


RECORD_NOTIFICATIONS = """() => {
  window.told = [];
  window.Notification = class extends Notification {
    constructor(title, options) {
      super(title, options);
      window.told.push([title, options.body]);
    }
  };
}"""
LOOK_AWAY = "Object.defineProperty(document, 'hidden', { get: () => true })"


def test_whoever_looks_elsewhere_is_notified(open_page: OpenPage, service: ServiceProcess, tmp_path: Path) -> None:
    page = open_page(permissions=["notifications"])
    page.evaluate(RECORD_NOTIFICATIONS)
    choose(page, *made(tmp_path, {"seen.txt": b"seen"}))
    succeeded_row(page, "seen.txt")
    expect(page).to_have_title(TITLE)
    with idle_worker(service):
        choose(page, *made(tmp_path, {"a.txt": b"a", "b.txt": b"b"}))
        expect(page.locator("[data-status=queued]")).to_have_count(2)
        page.evaluate(LOOK_AWAY)

    assert until(lambda: page.evaluate("told"), what="a notification") == [[TITLE, "All done: 2 files"]]


def test_a_failed_job_says_why_and_runs_again(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    with idle_worker(service):
        before = service.stored()
        choose(page, *made(tmp_path, {"a.txt": b"a"}))
        found = row(page, "a.txt")
        expect_status(found, "queued")
        [source] = service.stored() - before
        (service.data_dir / "files" / source).write_bytes(b"b")

    expect_status(found, "failed")
    expect(found.locator(".why")).to_have_text(
        "The stored upload is not what arrived."
        " If trying again does not help, tell whoever runs this server; the code below helps them. source_damaged"
    )
    expect(page.get_by_role("alert")).to_contain_text("a.txt failed: The stored upload is not what arrived.")
    assert offered(found) == {"retry", "copy_link", "delete", "remove"}

    (service.data_dir / "files" / source).write_bytes(b"a")
    press(found, "retry")

    expect_status(found, "succeeded")
    expect(found.locator(".why")).to_be_hidden()


def test_a_failed_job_whose_upload_is_gone_offers_nothing_that_needs_it(
    page: Page, service: ServiceProcess, tmp_path: Path
) -> None:
    with idle_worker(service):
        before = service.stored()
        choose(page, *made(tmp_path, {"a.txt": b"a"}))
        found = row(page, "a.txt")
        expect_status(found, "queued")
        [source] = service.stored() - before
        (service.data_dir / "files" / source).unlink()

    expect_status(found, "failed")
    expect(found.locator(".why")).to_have_text(
        "The uploaded file is not in the store any more. Upload the file again. source_missing"
    )
    assert offered(found) == {"copy_link", "delete", "remove"}


def test_what_is_no_longer_there_when_its_time_is_over_is_not_offered(
    open_page: OpenPage, service: ServiceProcess, tmp_path: Path
) -> None:
    page = open_page()
    page.get_by_label("Keep for").fill("12s")
    choose(page, *made(tmp_path, {"a.txt": text(5000)}))
    found = succeeded_row(page, "a.txt")
    assert "download" in offered(found)
    of_job = open_page(f"/jobs/{found.get_attribute('data-job')}")

    expect_status(found, "expired")

    expect(found.locator(".state")).to_have_text("Expired")
    expect(found.locator(".why code")).to_have_text("job_expired")
    assert offered(found) == {"remove"}
    assert remembered(page) == []
    expect(of_job.get_by_role("heading", level=1)).to_have_text("The job's files are gone")
    press(found, "remove")  # Without a question: there is no key any more.
    expect(found).to_have_count(0)
