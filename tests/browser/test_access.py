"""The pages for everybody: axe, keyboard, screen readers, narrow windows, large letters, little motion."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Page, Route, expect

from tests.acceptance.asking import job_at
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.every_state import NOWHERE, STATES, EveryState, a_file, hold, open_list, row

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]},
    "rules": {"target-size": {"enabled": True}},
}


@pytest.fixture(scope="module")
def service(states: EveryState) -> ServiceProcess:
    return states.service


def violations(page: Page) -> list[str]:
    """Return what axe complains of: which rule, where, and why."""
    page.evaluate(AXE)
    found = page.evaluate("options => axe.run(document, options)", AXE_OPTIONS)
    assert len(found["passes"]) > 10
    nodes = [(rule["id"], node) for rule in found["violations"] for node in rule["nodes"]]
    return [f"{rule}: {node['target']}: {node['failureSummary']}" for rule, node in nodes]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_upload_page(
    open_page: OpenPage, states: EveryState, tmp_path: Path, scheme: str
) -> None:
    page = open_page(color_scheme=scheme)
    assert violations(page) == []

    page = open_list(open_page, states, tmp_path, color_scheme=scheme)

    shown = page.locator("#rows .row").evaluate_all("rows => rows.map((row) => row.dataset.status)")
    on_the_way = {"uploading": 2, "busy": 1, "stopped": 1}
    assert Counter(shown) == {"queued": 1, "running": 1, "succeeded": 2, "failed": 2, "cancelled": 1, **on_the_way}
    page.locator("#rows").evaluate("rows => rows.querySelectorAll('.row').forEach((row) => row.scrollIntoView())")
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_of_jobs_limits_and_errors(
    open_page: OpenPage, states: EveryState, scheme: str
) -> None:
    page = open_page(NOWHERE, storage_state=states.memory, color_scheme=scheme)
    assert violations(page) == []
    page.goto("/limits")
    assert violations(page) == []

    for state in STATES:
        page.goto(states.page_of(state))
        expect(page.locator("[data-act=copy_link]")).to_be_visible()  # The script has begun.
        assert violations(page) == [], state


def test_axe_would_find_what_is_wrong(page: Page) -> None:
    page.locator("label[for=format]").evaluate("label => label.remove()")

    assert [found.partition(":")[0] for found in violations(page)] == ["select-name"]


# Looked at in the picture after the focus came: a page that follows its job may grow later, and push its end away.
# The way round from the last stop to the first leads through the browser: the page is out of focus until it is back.
WATCH = """() => {
  if (window.seenOnFocus) return;
  window.seenOnFocus = new WeakMap();
  const shownBy = (element) => element.matches(".pick input") ? element.nextElementSibling : element;
  const look = (target) => {
    if (document.activeElement !== target) return;
    if (!target.matches(":focus")) return requestAnimationFrame(() => look(target));
    const { width, height, top } = shownBy(target).getBoundingClientRect();
    const { outlineStyle, outlineWidth } = getComputedStyle(shownBy(target));
    seenOnFocus.set(target, {
      isSeen: width > 0 && height > 0 && top >= 0 && top < innerHeight,
      isOutlined: outlineStyle === "solid" && parseFloat(outlineWidth) >= 2,
    });
  };
  addEventListener("focusin", ({ target }) => requestAnimationFrame(() => look(target)));
}"""
FOCUS = """async () => {
  const focused = () => document.activeElement;
  while (focused() !== document.body && !seenOnFocus.has(focused())) await new Promise(requestAnimationFrame);
  const last = focused();
  if (last === document.body) return null;
  const name = last.getAttribute("aria-label") ?? last.labels?.[0]?.textContent ?? last.textContent;
  return { name: name.trim(), ...seenOnFocus.get(last) };
}"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until this has the focus. Each stop on the way can be seen to have it."""
    for _ in range(60):
        page.evaluate(WATCH)
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus is None:
            continue  # Between the last and the first stop of the page are those of the browser.
        assert focus["isOutlined"], focus
        assert focus["isSeen"], focus
        if focus["name"] == name:
            return
    pytest.fail(f"Tab never came to {name!r}")


def choose_by_keyboard(page: Page, path: Path, key: str = "Enter") -> None:
    # Listened for before the key: a dialog that opens earlier would be a real one.
    page.once("filechooser", lambda chooser: chooser.set_files(path))
    expect(page.locator("form.scripted")).to_be_visible()
    tab_to(page, "Choose files")
    page.keyboard.press(key)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service whose worker works."""
    process = ServiceProcess(tmp_path_factory.mktemp("live"))
    try:
        yield process.start()
    finally:
        process.kill()


def test_a_file_is_uploaded_and_downloaded_by_keyboard(
    open_page: OpenPage, live: ServiceProcess, tmp_path: Path
) -> None:
    page = open_page(base_url=live.url)

    tab_to(page, "Skip to the content")
    page.keyboard.press("Enter")
    choose_by_keyboard(page, a_file(tmp_path, "big.log"))
    expect(row(page, "big.log", "succeeded")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "file", "the focus stayed where it was"

    tab_to(page, "Download big.log")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "big.log.zst"

    tab_to(page, "Clear finished")


def test_cancel_retry_and_delete_by_keyboard(open_page: OpenPage, states: EveryState, tmp_path: Path) -> None:
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    choose_by_keyboard(page, a_file(tmp_path, "keys.log"), "Space")
    expect(row(page, "keys.log", "queued")).to_be_visible()
    job_id = row(page, "keys.log").get_attribute("data-job")

    tab_to(page, "Cancel keys.log")
    page.keyboard.press("Space")
    expect(row(page, "keys.log", "cancelled")).to_be_focused()
    assert job_at(states.service.url, job_id)["status"] == "cancelled"

    tab_to(page, "Retry keys.log")
    page.keyboard.press("Enter")
    expect(row(page, "keys.log", "queued")).to_be_focused()
    tab_to(page, "Cancel keys.log")
    page.keyboard.press("Space")
    expect(row(page, "keys.log", "cancelled")).to_be_focused()

    tab_to(page, "Delete keys.log")
    page.keyboard.press("Enter")
    expect(row(page, "keys.log")).to_have_count(0)
    expect(page.locator("#file")).to_be_focused()
    assert job_id not in states.service.statuses()


def test_a_job_page_is_managed_by_keyboard(open_page: OpenPage, states: EveryState, tmp_path: Path) -> None:
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    choose_by_keyboard(page, a_file(tmp_path, "keys.log"))
    expect(row(page, "keys.log", "queued")).to_be_visible()
    tab_to(page, "keys.log")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="keys.log")).to_be_visible()
    expect(page.locator("[data-act=copy_link]")).to_be_visible()

    tab_to(page, "Cancel keys.log")
    page.keyboard.press("Space")
    expect(page.locator(".row[data-status=cancelled]")).to_be_focused()
    tab_to(page, "Delete keys.log")
    page.keyboard.press("Space")
    expect(page).to_have_url(f"{states.service.url}/")


def test_the_focus_stays_in_the_list_when_rows_go(open_page: OpenPage, states: EveryState) -> None:
    page = open_page(storage_state=states.memory)
    remove = row(page, "cancelled.log").get_by_role("button", name="Remove from list cancelled.log")

    page.on("dialog", lambda dialog: dialog.accept())
    remove.focus()
    page.keyboard.press("Enter")
    expect(row(page, "cancelled.log")).to_have_count(0)
    expect(page.locator("#list-name")).to_be_focused()

    page.get_by_role("button", name="Clear finished").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#rows .row")).to_have_count(2)
    expect(page.locator("#list-name")).to_be_focused()


def test_the_focus_stays_in_a_row_whose_button_goes_by_itself(open_page: OpenPage, states: EveryState) -> None:
    page = open_page(NOWHERE, storage_state=states.memory)
    document = job_at(states.service.url, states.jobs["queued"]["id"])
    # What the service is made to say: queued, until it is cancelled somewhere else.
    page.route("**/jobs?ids=*", lambda route: route.fulfill(json={"jobs": [document], "missing": []}))
    page.goto("/")
    cancel = page.get_by_role("button", name="Cancel queued.log")
    cancel.focus()
    expect(cancel).to_be_focused()

    document = document | {"status": "cancelled", "version": document["version"] + 1}
    document["links"] |= {"cancel": None}

    expect(row(page, "queued.log", "cancelled")).to_be_focused()


RECORDED = """() => {
  const said = (window.said = { live: [], alerts: [] });
  for (const id of Object.keys(said)) {
    const region = document.getElementById(id);
    new MutationObserver(() => region.textContent && said[id].push(region.textContent))
      .observe(region, { childList: true, subtree: true, characterData: true });
  }
}"""


def test_screen_readers_are_told_the_start_each_quarter_and_the_end_once(
    open_page: OpenPage, states: EveryState, tmp_path: Path
) -> None:
    page = open_page()
    expect(page.locator("#live").and_(page.locator("#live"))).to_have_count(1)
    page.evaluate(RECORDED)
    page.route("**/jobs?ids=*", tell_progress([10, 20, 30, 60, 62, 100]))

    page.locator("#file").set_input_files(a_file(tmp_path, "told.log"))

    expect(row(page, "told.log", "succeeded")).to_be_visible()
    expect(page.locator("#live")).to_have_text("All done: 1 file")
    # How much of so small an upload is told depends on the moment.
    said = [text for text in page.evaluate("said.live") if not re.match(r"Uploading \d+ %", text)]
    assert said == ["Uploading 1 file", "Compressing 25 %", "Compressing 50 %", "All done: 1 file"]
    assert page.evaluate("said.alerts") == []


def tell_progress(percents: list[int]) -> Any:
    """Answer for a queued job as if it got on; at 100 it has succeeded."""
    left = list(percents)

    def answer(route: Route) -> None:
        [job] = route.fetch(url=route.request.url.split("&wait=")[0], headers={}).json()["jobs"]
        percent = left.pop(0)
        job |= {"status": "running", "version": 100 - len(left)}
        job["progress"] |= {"phase": "compressing", "percent": percent}
        if percent == 100:
            result = {"format": "zstd", "size_bytes": 100, "saved_percent": 90.0, "stored_as_is": False}
            job |= {"status": "succeeded", "result": result, "started_at": job["created_at"]}
            job |= {"finished_at": job["created_at"]}
        route.fulfill(json={"jobs": [job], "missing": []})

    return answer


def test_a_failure_is_an_alert_with_its_reason_and_advice(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.evaluate(RECORDED)
    page.route("**/uploads?*", hold)

    page.locator("#file").set_input_files(a_file(tmp_path, "refused.bin"))

    expect(page.get_by_role("alert")).to_have_text(
        "refused.bin failed: There is not enough room on the server Nothing was kept. Try again later, or with less;"
        " whoever runs this server can free room."
    )
    assert len(page.evaluate("said.alerts")) == 1
    expect(row(page, "refused.bin", "failed").locator(".why strong")).to_be_visible()


def test_every_label_is_distinct_and_begins_as_what_is_seen(
    open_page: OpenPage, states: EveryState, tmp_path: Path
) -> None:
    page = open_list(open_page, states, tmp_path)

    acts = page.locator("#rows [data-act]:visible").evaluate_all(
        "acts => acts.map((act) => [act.getAttribute('aria-label'), act.textContent.trim()])"
    )
    labels = [label for label, _ in acts]
    assert {"Cancel uploading.bin", "Download succeeded.log", "Retry failed.log"} <= set(labels)
    assert len(set(labels)) == len(labels)
    assert all(label.startswith(f"{seen} ") for label, seen in acts)
    for name in ("uploading.bin", "queued.log"):
        expect(page.get_by_role("progressbar", name=f"Progress of {name}")).to_be_visible()


def all_pages(states: EveryState) -> list[str]:
    return ["/", "/limits", NOWHERE, *map(states.page_of, STATES)]


SMALL_TARGETS = """elements => elements
  .map((element) => [element.outerHTML.slice(0, 100), element.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 24 || height < 24)
  .map(([html, { width, height }]) => `${width} x ${height}: ${html}`)"""


def test_whatever_is_pressed_is_at_least_24_pixels_wide_and_high(
    open_page: OpenPage, states: EveryState, tmp_path: Path
) -> None:
    page = open_list(open_page, states, tmp_path)
    for path in all_pages(states):
        if path != "/":
            page.goto(path)
        targets = page.locator("a:visible, button:visible, input:visible:not(.pick input), select:visible, .pick label")
        assert targets.count() > 5
        assert targets.and_(page.locator(":not(.skip)")).evaluate_all(SMALL_TARGETS) == [], path


def widest(page: Page) -> int:
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_320_pixels_are_wide_enough(open_page: OpenPage, states: EveryState, tmp_path: Path, locale: str) -> None:
    page = open_list(open_page, states, tmp_path, locale=locale, viewport={"width": 320, "height": 640})
    assert widest(page) == 320

    for path in all_pages(states)[1:]:
        page.goto(path)
        assert widest(page) == 320, path


LONGEST_NAMES = {"Latin": "W" * 240, "Chinese": "压" * 80, "marks": "_" * 240, "digits": "0" * 240}

LENGTHEN = """word => {
  for (const name of document.querySelectorAll("bdi, .error, main [lang=en], dd span, dd a, .why code, .state")) {
    name.textContent = word;
  }
  for (const why of document.querySelectorAll(".why")) {
    why.hidden = false;
    if (!why.textContent) why.textContent = word;
  }
  for (const fact of document.querySelectorAll("dl > div")) fact.hidden = false;
}"""


@pytest.mark.parametrize("script", LONGEST_NAMES)
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_words_without_a_place_to_break_fit_into_320_pixels(
    open_page: OpenPage, states: EveryState, tmp_path: Path, locale: str, script: str
) -> None:
    word = LONGEST_NAMES[script]
    page = open_list(open_page, states, tmp_path, locale=locale, viewport={"width": 320, "height": 640})
    for path in all_pages(states):
        if path != "/":
            page.goto(path)
        page.evaluate(LENGTHEN, word)
        # Not laid out before they are scrolled to.
        page.locator(".row").evaluate_all(SHOW_ALL)
        assert widest(page) == 320, path


RENAME = """names => {
  const kept = JSON.parse(localStorage["vacpack.jobs"]);
  localStorage["vacpack.jobs"] = JSON.stringify(kept.map((job, at) => ({ ...job, name: names[at % names.length] })));
}"""
SHOW_ALL = "rows => rows.forEach((row) => (row.style.contentVisibility = 'visible'))"
TOO_FAR = """all => all
  .filter((one) => one.getBoundingClientRect().right > innerWidth)
  .map((one) => one.outerHTML.slice(0, 80))"""


def test_rows_of_long_names_and_long_errors_fit_into_320_pixels(
    open_page: OpenPage, states: EveryState, tmp_path: Path
) -> None:
    page = open_page(NOWHERE, storage_state=states.memory, viewport={"width": 320, "height": 640})
    page.evaluate(RENAME, list(LONGEST_NAMES.values()))
    refusal = {"code": "not_known_here", "title": "W" * 300}
    page.route("**/uploads?*", lambda route: route.fulfill(status=422, json=refusal))
    page.goto("/")
    expect(page.locator("#rows .row")).to_have_count(len(STATES))

    page.locator("#file").set_input_files(a_file(tmp_path, "W" * 200))

    expect(page.locator(".row[data-status=failed] .why strong").first).to_have_text("W" * 300)
    page.locator("#rows .row").evaluate_all(SHOW_ALL)
    assert widest(page) == 320
    assert page.locator("#rows .row *:visible").evaluate_all(TOO_FAR) == []


def test_letters_of_twice_the_size_fit(open_page: OpenPage, states: EveryState, tmp_path: Path) -> None:
    # A window of 1280 pixels, zoomed to 200 %, and then letters alone set twice as large.
    page = open_list(open_page, states, tmp_path, viewport={"width": 640, "height": 400}, device_scale_factor=2)
    for path in all_pages(states):
        if path != "/":
            page.goto(path)
        assert widest(page) == 640, path
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert widest(page) == 640, path
        cut = page.locator("button:visible, a.button:visible, .state:visible").evaluate_all(
            "found => found.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"
        )
        assert cut == [], path


MOVING = """() => [...document.querySelectorAll("*")].filter((element) => {
  const { transitionDuration, animationName } = getComputedStyle(element);
  return transitionDuration !== "0s" || animationName !== "none";
}).length"""


def test_nothing_moves_where_reduced_motion_is_asked_for(open_page: OpenPage, states: EveryState) -> None:
    assert open_page(storage_state=states.memory).evaluate(MOVING) > 0

    page = open_page(storage_state=states.memory, reduced_motion="reduce")
    expect(page.locator("#rows .row")).to_have_count(len(STATES))
    assert page.evaluate(MOVING) == 0
