"""The upload page as tests drive it: files chosen and dropped, the rows they become, what a row has said."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.acceptance.asking import Answer, ask
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess

RECORDER = """() => {
  window.said = [];
  const note = () => {
    for (const state of document.querySelectorAll(".row .state")) {
      if (state.textContent && window.said.at(-1) !== state.textContent) window.said.push(state.textContent);
    }
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def made(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write files, by path below the folder, and return where they are."""
    paths = [folder / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return paths


def sparse(path: Path, size_bytes: int) -> Path:
    """Make a file of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def choose(page: Page, *paths: Path) -> None:
    """Choose files, as in the dialog of the input."""
    page.get_by_label("Choose files").set_input_files(paths)


def drop(page: Page, *paths: Path) -> None:
    """Drag files or folders onto the page and let them go: real drag events, with entries."""
    session = page.context.new_cdp_session(page)
    dragged = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": dragged})
    expect(page.locator("#dropping")).to_be_visible()
    session.send("Input.dispatchDragEvent", {"type": "drop", "x": 200, "y": 200, "data": dragged})
    expect(page.locator("#dropping")).to_be_hidden()


def row(page: Page, name: str) -> Locator:
    """Return the row of a file."""
    return page.locator(".row", has=page.locator("bdi", has_text=re.compile(f"^{re.escape(name)}$")))


def expect_status(found: Locator, status: str) -> None:
    """Wait until a row, or each of several, is in this status."""
    expect(found.and_(found.page.locator(f"[data-status={status}]"))).to_have_count(found.count())


def succeeded_row(page: Page, name: str) -> Locator:
    """Return the row of a file once its job has succeeded."""
    found = row(page, name)
    expect(found).to_have_attribute("data-status", "succeeded")
    return found


def press(found: Locator, act: str) -> None:
    """Press one of a row's buttons."""
    found.locator(f"[data-act={act}]").click()


def offered(found: Locator) -> set[str]:
    """Return what a row offers."""
    acts: list[str] = found.locator("[data-act]:not([hidden])").evaluate_all("all => all.map((a) => a.dataset.act)")
    return set(acts)


def job_of(service: ServiceProcess, found: Locator) -> dict[str, Any]:
    """Return the status document of a row's job."""
    job: dict[str, Any] = ask(f"{service.url}/jobs/{found.get_attribute('data-job')}").json
    return job


def original_of(service: ServiceProcess, found: Locator) -> Answer:
    """Return what the service gives as the original of a row's job."""
    return ask(f"{service.url}/jobs/{found.get_attribute('data-job')}/original")


@contextmanager
def idle_worker(service: ServiceProcess) -> Iterator[None]:
    """Keep what is queued queued."""
    worker = service.worker_pid()
    until(lambda: _stopped(service, worker), what="a stop between two writes")
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def _stopped(service: ServiceProcess, worker: int) -> bool:
    """Stop the worker; where it holds the database's lock it goes on, to be stopped again."""
    os.kill(worker, signal.SIGSTOP)
    with closing(sqlite3.connect(service.data_dir / "vacpack.db", timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            os.kill(worker, signal.SIGCONT)
            return False
    return True


def record_states(page: Page) -> None:
    """Have the page note every state its rows show from now on."""
    page.evaluate(RECORDER)


def recorded_states(page: Page) -> list[str]:
    """Return the states shown since ``record_states``."""
    said: list[str] = page.evaluate("said")
    return said
