"""Take the README's pictures of the pages: ``make screenshots``. Needs a Chromium, as the browser tests do."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.every_state import EveryState, every_state, row
from tests.service.payloads import noise

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NAMES = {
    "queued": "notes.txt",
    "running": "backup.tar",
    "succeeded": "big.log",
    "kept": "photo.jpg",
    "failed": "disk.img",
    "cancelled": "draft.pdf",
}
SHOWN = ("running", "succeeded", "kept")


def main() -> None:
    """Write both pictures."""
    numbers = b"".join(b"%d\n" % number for number in range(8_000_000))
    contents = {"succeeded": numbers, "kept": noise(3_210_000)}
    with (
        TemporaryDirectory() as folder,
        every_state(Path(folder), NAMES, contents, least_percent=40, public_url="http://127.0.0.1:8000") as states,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, "--disable-lcd-text"])
        _save(_upload_page(browser, states), "upload-page-light.png")
        _save(_job_page(browser, states), "job-page-dark.png")
        browser.close()


def _upload_page(browser: Browser, states: EveryState) -> Page:
    shown = EveryState(states.service, {state: states.jobs[state] for state in SHOWN})
    page = _opened(browser, shown, "/", "light")
    expect(row(page, "backup.tar", "running")).to_be_visible()
    expect(page.locator("#clear")).to_be_visible()
    return page


def _job_page(browser: Browser, states: EveryState) -> Page:
    page = _opened(browser, states, states.page_of("succeeded"), "dark")
    expect(page.locator("[data-act=copy_link]")).to_be_visible()
    return page


def _opened(browser: Browser, states: EveryState, path: str, scheme: str) -> Page:
    page = browser.new_page(
        base_url=states.service.url,
        storage_state=states.memory,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 900, "height": 600},
        locale="en-US",
        timezone_id="UTC",
    )
    page.goto(path)
    return page


def _save(page: Page, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    rest = page.locator("h2", has_text="From a terminal").or_(page.locator("footer"))
    box = rest.first.bounding_box()
    assert box is not None
    page.screenshot(path=IMAGES / name, full_page=True, clip={"x": 0, "y": 0, "width": 900, "height": box["y"]})


if __name__ == "__main__":
    main()
