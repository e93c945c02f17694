"""A browser for all of these tests, and a page that may neither log an error nor ask another host for anything."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright

from tests.acceptance.conftest import StartService, start_service
from tests.acceptance.service_process import ServiceProcess
from tests.browser.every_state import NAMES, EveryState, every_state
from tests.conftest import Witness
from tests.parts import missing

__all__ = ["start_service"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--disable-quic", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
PATIENCE_MILLISECONDS = 30_000

OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # Not for longer than a file: as long as it lives an event loop runs here, and other tests run theirs.
    if CHROMIUM is None:
        missing("no Chromium is installed (Debian's packages: chromium, chromium-driver)")
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryState]:
    """A service with a job in every state; tests leave these as they are."""
    with every_state(tmp_path_factory.mktemp("states"), NAMES) as found:
        yield found


@pytest.fixture
def service(start_service: StartService) -> ServiceProcess:
    """A service whose worker may be stopped for a while (``idle_worker``) without being taken for one that hangs."""
    return start_service(lease_seconds=3600)


@pytest.fixture
def open_page(browser: Browser, service: ServiceProcess, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Open a page of the service in a context of its own; keywords are Playwright's for the context."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_(path: str = "/", *, base_url: str | None = None, **options: Any) -> Page:
        context = browser.new_context(base_url=base_url or service.url, **{"locale": "en-US", **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = context.new_page()
        watch(page, Witness(request.node, "what the page asked for"))
        page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
        page.on("console", lambda message: faults.extend(fault_of(message)))
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The upload page, in English, with a script."""
    return open_page()


def watch(page: Page, witness: Witness) -> None:
    """Note what a page asks for, what it is answered, and where it goes."""

    def note(what: str) -> None:
        witness.lines.append(f"{time.strftime('%H:%M:%S')} {what}")

    page.on("request", lambda asked: note(f"{asked.method} {asked.url}"))
    page.on("response", lambda answer: note(f"{answer.status} {answer.url}"))
    page.on("requestfailed", lambda asked: note(f"failed {asked.url}: {asked.failure}"))
    page.on("console", lambda message: note(f"{message.type}: {message.text}"))


def fault_of(message: ConsoleMessage) -> list[str]:
    """Return what the console complains of, but for what tests bring about: refused requests, and axe's own style."""
    if message.type not in ("error", "warning"):
        return []
    expected = ("Failed to load resource", "axe", "style-src")
    return [] if any(words in message.text for words in expected) else [message.text]
