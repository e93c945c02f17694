"""Uploads on their way: three at once, cancelled at any moment, through networks and servers that come and go."""

from __future__ import annotations

import hashlib
import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.acceptance.asking import ask, sha256
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.cutting_proxy import CuttingProxy, Exchange
from tests.browser.upload_page import (
    choose,
    expect_status,
    idle_worker,
    job_of,
    made,
    offered,
    original_of,
    press,
    record_states,
    recorded_states,
    row,
    sparse,
    succeeded_row,
)
from tests.service.payloads import noise, text

MORE_THAN_BUFFERS = 24_000_000
"""What the kernel takes from the browser before it feels that nothing is read is less."""
SOME_BYTES = 4_000_000
"""More than the service gathers before it writes."""


@pytest.fixture
def proxy(service: ServiceProcess) -> Iterator[CuttingProxy]:
    between = CuttingProxy(service.address)
    yield between
    between.close()


@pytest.fixture
def far_page(open_page: OpenPage, proxy: CuttingProxy) -> Page:
    """The upload page as it comes through the proxy."""
    return open_page(base_url=proxy.url)


def nothing_new(service: ServiceProcess, before: tuple[set[str], set[str]]) -> bool:
    """Whether jobs and files are those there were."""
    return (set(service.statuses()), service.stored()) == before


def held_upload(page: Page, proxy: CuttingProxy, service: ServiceProcess, path: Path) -> None:
    """Choose a file whose upload stops after some bytes; return when the service has begun to store it."""
    before = service.stored()
    proxy.hold(after_bytes=SOME_BYTES)
    choose(page, path)
    until(lambda: service.stored() - before, what="a part file")


def test_a_file_is_cancelled_while_it_waits(far_page: Page, proxy: CuttingProxy, tmp_path: Path) -> None:
    proxy.hold()
    choose(far_page, *made(tmp_path, {f"{number}.bin": bytes(1000) for number in range(4)}))
    waiting = row(far_page, "3.bin")
    expect(waiting.locator(".state")).to_have_text("Waiting to be uploaded")

    press(waiting, "cancel")

    expect(waiting.locator(".state")).to_have_text("Cancelled")
    assert offered(waiting) == {"retry", "remove"}
    proxy.release()
    for number in range(3):
        succeeded_row(far_page, f"{number}.bin")
    assert not [upload for upload in proxy.uploads if "3.bin" in upload.target]


def test_a_file_is_cancelled_while_it_is_uploaded_and_nothing_is_kept(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    before = set(service.statuses()), service.stored()
    held_upload(far_page, proxy, service, sparse(tmp_path / "big.bin", MORE_THAN_BUFFERS))
    moving = row(far_page, "big.bin")
    expect(moving.locator(".state")).to_contain_text("Uploading")
    expect(moving.get_by_role("progressbar")).to_have_attribute("aria-label", "Progress of big.bin")

    press(moving, "cancel")

    expect(moving.locator(".state")).to_have_text("Cancelled")
    proxy.release()
    until(lambda: nothing_new(service, before), what="nothing kept")
    assert len(proxy.uploads) == 1

    press(moving, "retry")

    expect_status(moving, "succeeded")
    assert job_of(service, moving)["source"]["size_bytes"] == MORE_THAN_BUFFERS


def test_a_job_is_cancelled_while_it_is_queued(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    with idle_worker(service):
        choose(page, *made(tmp_path, {"a.txt": b"queued"}))
        queued = row(page, "a.txt")
        expect(queued.locator(".state")).to_have_text("Queued, number 1 in line")
        expect(queued.locator(".note")).to_have_text("Safely received: you may close this page.")

        press(queued, "cancel")

        expect(queued.locator(".state")).to_have_text("Cancelled")
        assert job_of(service, queued)["status"] == "cancelled"

    press(queued, "retry")

    expect_status(queued, "succeeded")


def test_a_job_is_cancelled_while_it_runs(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    page.get_by_label("Format").select_option("xz")
    page.get_by_label("Level").select_option("small")
    choose(page, *made(tmp_path, {"slow.txt": text(24_000_000)}))
    running = row(page, "slow.txt")
    expect(running).to_have_attribute("data-status", "running")
    expect(running.locator(".state")).to_contain_text("Compressing")

    press(running, "cancel")

    expect(running.locator(".state")).to_have_text("Cancelled")
    assert job_of(service, running)["status"] == "cancelled"
    assert {"retry", "delete"} < offered(running)


def test_a_killed_connection_is_tried_again_by_itself(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    before = set(service.statuses()), service.stored()
    data = noise(MORE_THAN_BUFFERS)
    record_states(far_page)
    held_upload(far_page, proxy, service, made(tmp_path, {"big.bin": data})[0])

    proxy.cut()
    proxy.release()

    found = row(far_page, "big.bin")
    # The second pause, of two seconds, begins when the first try after the cut was refused.
    expect(found.locator(".state")).to_have_text("No connection, trying again in 2 s")
    until(lambda: nothing_new(service, before), what="nothing kept")
    proxy.mend()
    expect_status(found, "succeeded")
    counted = [
        int(said[1]) for said in map(re.compile(r"No connection.* (\d+) s").match, recorded_states(far_page)) if said
    ]
    assert counted[:3] == [1, 2, 1]
    assert original_of(service, found).sha256 == sha256(data)
    assert len(set(service.statuses()) - before[0]) == 1
    assert len({upload.headers["Idempotency-Key"] for upload in proxy.uploads}) == 1


def test_a_network_that_is_back_is_used_at_once(far_page: Page, proxy: CuttingProxy, tmp_path: Path) -> None:
    proxy.cut()
    choose(far_page, *made(tmp_path, {"a.txt": b"a"}))
    found = row(far_page, "a.txt")
    # So far on that nobody waits for it by chance.
    expect(found.locator(".state")).to_have_text(re.compile(r"trying again in [34] s"))

    proxy.mend()
    far_page.evaluate("dispatchEvent(new Event('online'))")

    expect(found.locator(".state")).not_to_contain_text("No connection", timeout=2000)
    expect_status(found, "succeeded")


def test_a_file_is_cancelled_while_the_network_is_away(far_page: Page, proxy: CuttingProxy, tmp_path: Path) -> None:
    proxy.cut()
    choose(far_page, *made(tmp_path, {"a.txt": b"a"}))
    found = row(far_page, "a.txt")
    expect(found.locator(".state")).to_contain_text("No connection")

    press(found, "cancel")

    expect(found.locator(".state")).to_have_text("Cancelled")
    proxy.mend()
    far_page.evaluate("dispatchEvent(new Event('online'))")
    press(found, "remove")
    expect(found).to_have_count(0)
    assert proxy.uploads == []


def test_a_receipt_that_was_lost_makes_no_second_job(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    before = set(service.statuses())
    data = noise(100_000)
    proxy.receipts_to_lose = 2
    # Chromium itself sends again what fails on a connection it used before.
    proxy.hang_up()
    record_states(far_page)

    choose(far_page, *made(tmp_path, {"a.bin": data}))

    found = succeeded_row(far_page, "a.bin")
    assert "No connection, trying again in 1 s" in recorded_states(far_page)
    assert set(service.statuses()) - before == {job_of(service, found)["id"]}
    assert [upload.status for upload in proxy.uploads] == [202, 202, 202]
    assert original_of(service, found).body == data
    assert {"delete", "copy_link"} < offered(found)


def test_a_busy_server_is_asked_again_when_it_said(far_page: Page, proxy: CuttingProxy, tmp_path: Path) -> None:
    refused_at: list[float] = []

    def refuse(route: Route) -> None:
        refused_at.append(time.monotonic())
        route.fulfill(status=503, headers={"Retry-After": "3"}, json={"code": "queue_full"})

    far_page.route("**/uploads?*", refuse, times=1)
    record_states(far_page)

    choose(far_page, *made(tmp_path, {"a.txt": b"a"}))
    found = row(far_page, "a.txt")
    expect(found.locator(".state")).to_contain_text("The server is busy, trying again in")
    # A network that comes back says nothing about a server that is busy.
    far_page.evaluate("dispatchEvent(new Event('online'))")

    expect_status(found, "succeeded")
    assert "The server is busy, trying again in 3 s" in recorded_states(far_page)
    [upload] = proxy.uploads
    assert upload.asked_at - refused_at[0] >= 3


def test_leaving_asks_only_while_bytes_move(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    far_page.on("dialog", stay)
    far_page.get_by_role("heading", name="Compress files").click()
    held_upload(far_page, proxy, service, sparse(tmp_path / "big.bin", MORE_THAN_BUFFERS))

    far_page.close(run_before_unload=True)
    until(lambda: far_page.evaluate("1") and asked, what="the question")
    assert asked == ["beforeunload"]
    proxy.release()
    succeeded_row(far_page, "big.bin")

    with far_page.expect_event("close"):
        far_page.close(run_before_unload=True)
    assert asked == ["beforeunload"]


def test_two_hundred_files_go_three_at_a_time(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    before = set(service.statuses())
    files = {f"{number}.txt": f"file {number}".encode() for number in range(200)}
    proxy.hold()
    choose(far_page, *made(tmp_path, files))
    expect(far_page.locator("[data-status=uploading], [data-status=receiving]")).to_have_count(3)
    expect(far_page.locator("[data-status=waiting]")).to_have_count(197)

    proxy.release()

    expect(far_page.locator("[data-status=succeeded]")).to_have_count(200)
    assert proxy.most_uploads == 3
    new = set(service.statuses()) - before
    assert sorted(ask(f"{service.url}/jobs/{job}/original").body for job in new) == sorted(files.values())


def test_a_list_of_a_thousand_still_answers(far_page: Page, proxy: CuttingProxy, tmp_path: Path) -> None:
    proxy.hold()
    choose(far_page, *made(tmp_path, {f"{number}.txt": b"x" for number in range(1000)}))
    expect(far_page.locator(".row")).to_have_count(1000)

    press(row(far_page, "999.txt"), "cancel")
    expect(row(far_page, "999.txt").locator(".state")).to_have_text("Cancelled")
    proxy.release()
    expect(far_page.locator("[data-status=succeeded]").nth(20)).to_be_attached()
    press(row(far_page, "998.txt"), "cancel")

    expect(row(far_page, "998.txt").locator(".state")).to_have_text("Cancelled")
    assert proxy.most_uploads == 3


def test_a_large_file_is_followed_through_both_phases(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    size_bytes = 200_000_000
    path = sparse(tmp_path / "large.bin", size_bytes)
    page.get_by_label("Format").select_option("xz")
    page.get_by_label("Level").select_option("fast")
    record_states(page)

    choose(page, path)

    found = succeeded_row(page, "large.bin")
    said = recorded_states(page)
    uploading = [float(done[1]) for done in map(re.compile(r"Uploading ([\d.]+) %").match, said) if done]
    compressing = [float(done[1]) for done in map(re.compile(r"Compressing ([\d.]+) %").match, said) if done]
    assert uploading == sorted(uploading)
    assert compressing == sorted(compressing)
    assert any(0 < done < 100 for done in uploading)
    assert compressing
    assert re.search(r"Uploading [\d.]+ %, [\d.]+ [kMG]B/s, .* left", "\n".join(said))
    expect(found.locator(".state")).to_contain_text("200 MB → ")
    with page.expect_download() as download:
        press(found, "original")
    with path.open("rb") as sent, download.value.path().open("rb") as got:
        digests = {hashlib.file_digest(file, "sha256").hexdigest() for file in (sent, got)}
    assert digests == {job_of(service, found)["source"]["sha256"]}


RECORD_NUMBERS = r"""() => {
  window.shown = [];
  const number = (text) => Number(/(\d+) ?%/.exec(text)?.[1] ?? NaN);
  const note = () => {
    const [state, bar] = [document.querySelector(".row .state"), document.querySelector(".row progress")];
    if (!bar || bar.hidden) return;
    const step = /^(Uploading|Compressing|Checking|Storing) \d/.exec(state.textContent)?.[1];
    const numbers = [number(state.textContent), bar.position < 0 ? null : bar.value, number(document.title)];
    if (step) shown.push([step, ...numbers]);
  };
  // After all that one change shows has been written.
  const everything = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(note).observe(document, everything);
}"""


@pytest.mark.parametrize("size_bytes", [1_000, 100_000_000])
def test_text_bar_and_title_show_the_same_percent(page: Page, tmp_path: Path, size_bytes: int) -> None:
    page.get_by_label("Format").select_option("xz")
    page.evaluate(RECORD_NUMBERS)

    choose(page, sparse(tmp_path / "a.bin", size_bytes))

    succeeded_row(page, "a.bin")
    shown = page.evaluate("shown")
    assert [numbers for _, *numbers in shown if len(set(numbers)) != 1] == []
    assert all(0 <= text < 100 for _, text, *_ in shown)
    for step in {step for step, *_ in shown}:
        told = [text for said, text, *_ in shown if said == step]
        assert told == sorted(told), step
    assert size_bytes < 10_000 or {"Uploading", "Compressing"} <= {step for step, *_ in shown}


def test_an_upload_that_stands_still_says_so_until_it_goes_on(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    held_upload(far_page, proxy, service, sparse(tmp_path / "big.bin", 4 * MORE_THAN_BUFFERS))
    found = row(far_page, "big.bin")
    state, bar = found.locator(".state"), found.get_by_role("progressbar")
    expect(state).to_have_text(re.compile(r"^Uploading \d+ %, waiting for the network$"))
    expect(bar).to_have_attribute("aria-valuetext", re.compile("waiting for the network$"))
    assert bar.evaluate("bar => bar.position >= 0")
    assert offered(found) == {"cancel"}

    proxy.release()
    proxy.hold(after_bytes=2 * MORE_THAN_BUFFERS)

    expect(state).not_to_contain_text("waiting for the network")
    expect(state).to_contain_text("Uploading")
    proxy.release()
    succeeded_row(far_page, "big.bin")
    assert len(proxy.uploads) == 1


def follows(proxy: CuttingProxy) -> list[Exchange]:
    """Return the requests that asked for statuses."""
    return [exchange for exchange in list(proxy.exchanges) if exchange.target.startswith("/jobs")]


def held_follow(proxy: CuttingProxy) -> bool:
    """Whether the last one of them is held by the service."""
    asked = follows(proxy)
    return bool(asked) and not asked[-1].is_over and "wait=25" in asked[-1].target


def test_fifty_rows_follow_their_jobs_by_one_request(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    with idle_worker(service):
        choose(far_page, *made(tmp_path, {f"{number}.txt": text(20_000, number) for number in range(50)}))
        expect(far_page.locator("[data-status=queued]")).to_have_count(50)
        until(lambda: held_follow(proxy), what="a held request")

    expect(far_page.locator("[data-status=succeeded]")).to_have_count(50)
    asked = follows(proxy)
    assert all(request.target.startswith("/jobs?ids=") for request in asked)
    assert max(request.target.count(",") for request in asked) == 49
    for earlier, later in itertools.pairwise(asked):
        assert earlier.answered_at is not None
        assert later.asked_at - earlier.answered_at >= max(1, earlier.retry_after) - 0.02


def test_a_held_request_holds_back_no_later_file(
    far_page: Page, proxy: CuttingProxy, service: ServiceProcess, tmp_path: Path
) -> None:
    first, second = made(tmp_path, {"first.txt": b"first", "second.txt": b"second"})
    with idle_worker(service):
        choose(far_page, first)
        until(lambda: held_follow(proxy), what="a held request")

        choose(far_page, second)

        # It would be held for 25 seconds.
        until(lambda: "," in follows(proxy)[-1].target, seconds=15, what="a request for both")
    succeeded_row(far_page, "first.txt")
    succeeded_row(far_page, "second.txt")
    expect(far_page.locator("#trouble")).to_be_hidden()
