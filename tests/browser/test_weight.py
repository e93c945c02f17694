"""What the pages cost and whom they trust: bytes, requests, the content security policy, other sites."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.acceptance.asking import ask
from tests.acceptance.curl import curl
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.every_state import NOWHERE, STATES, EveryState, a_file, row

MOST_BYTES = 62_000


@pytest.fixture(scope="module")
def service(states: EveryState) -> ServiceProcess:
    return states.service


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_the_first_page_is_less_than_62_kilobytes(browser: Browser, states: EveryState, locale: str) -> None:
    page = browser.new_page(base_url=states.service.url, locale=locale)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))

    page.goto("/", wait_until="networkidle")

    sizes = {answer.url.rsplit("/", 1)[1]: len(answer.body()) for answer in answers}
    assert {"", "vacpack.css", "page_upload.js", "transfer.js", "words.js"} <= set(sizes)
    assert sum(sizes.values()) < MOST_BYTES, sizes
    page.close()


def test_no_page_asks_another_host_for_anything_nor_breaks_its_own_policy(
    open_page: OpenPage, states: EveryState, tmp_path: Path
) -> None:
    page = open_page(NOWHERE, storage_state=states.memory)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(
        """window.violations = [];
        addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));"""
    )
    for path in ("/", NOWHERE, "/docs", *map(states.page_of, STATES)):
        page.goto(path)
        expect(
            {"/": row(page, "queued.log"), "/docs": page.locator(".opblock").first}.get(path, page.locator("h1"))
        ).to_be_visible()
        assert page.evaluate("violations") == [], path
    page.goto("/")
    page.locator("#file").set_input_files(a_file(tmp_path, "sent.log"))
    expect(row(page, "sent.log", "queued")).to_be_visible()
    assert page.evaluate("violations") == []

    elsewhere = [url for url in asked if not url.startswith((f"{states.service.url}/", "data:"))]
    assert elsewhere == []


def test_the_first_paint_waits_for_no_script(open_page: OpenPage) -> None:
    page = open_page(NOWHERE)
    page.route("**/*.js", lambda route: None)  # Under way for as long as the test.

    page.goto("/", wait_until="commit")

    expect(page.get_by_label("Choose files")).to_be_visible()
    expect(page.get_by_role("button", name="Upload")).to_be_visible()
    expect(page.locator("body")).to_have_css("max-width", "736px")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")


@pytest.fixture
def victim(browser: Browser, service: ServiceProcess) -> Iterator[Page]:
    """A page whose complaints are expected."""
    context = browser.new_context(base_url=service.url, locale="en-US")
    yield context.new_page()
    context.close()


def test_what_is_injected_into_a_page_neither_runs_nor_shows(victim: Page) -> None:
    injected = """<script>document.title = "run"</script><style>h1 { color: rgb(1, 2, 3) }</style>
        <p id="styled" style="color: rgb(1, 2, 3)">x</p><img src="/static/none" onerror="document.title = 'run'">
        <script src="http://127.0.0.1:9/other.js"></script><base href="http://127.0.0.1:9/"></main>"""

    def inject(route):  # type: ignore[no-untyped-def]
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace("</main>", injected))

    victim.route(re.compile(r"/$"), inject)
    complaints: list[str] = []
    victim.on("console", lambda message: complaints.append(message.text))

    victim.goto("/", wait_until="networkidle")

    expect(victim.locator("form.scripted")).to_be_visible()
    expect(victim).to_have_title("vacpack: upload and compress")
    expect(victim.locator("h1")).not_to_have_css("color", "rgb(1, 2, 3)")
    expect(victim.locator("#styled")).not_to_have_css("color", "rgb(1, 2, 3)")
    assert victim.evaluate("document.baseURI") == victim.url
    for directive in ("script-src", "style-src", "base-uri"):
        assert any(directive in text for text in complaints), (directive, complaints)


def test_text_cannot_become_markup(victim: Page) -> None:
    victim.goto("/")

    refused = victim.evaluate(
        """() => {
          try { document.body.innerHTML = "<b>x</b>"; } catch (error) { return error.name; }
        }"""
    )

    assert refused == "TypeError"


class _Bait(BaseHTTPRequestHandler):
    """Pages of another site: a form, or a frame, that leads to the address in the query."""

    def do_GET(self) -> None:
        kind, _, target = self.path[1:].partition("?")
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        form = (
            f'<form action="{target}" method="post" enctype="multipart/form-data">'
            '<input type="file" name="file"><button>Win</button></form>'
        )
        self.wfile.write((form if kind == "form" else f'<h1>Bait</h1><iframe src="{target}"></iframe>').encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def bait_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bait) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_form_of_another_site_is_refused(
    victim: Page, states: EveryState, bait_port: int, tmp_path: Path, host: str
) -> None:
    service = states.service
    before = service.statuses()
    key = states.jobs["queued"]["manage_key"]
    for path in ("/uploads", f"{states.page_of('queued')}/cancel?key={key}", f"{states.page_of('kept')}/delete"):
        victim.goto(f"http://{host}:{bait_port}/form?{service.url}{path}")
        victim.locator("input").set_input_files(a_file(tmp_path, "big.log"))
        with victim.expect_navigation() as answer:
            victim.get_by_role("button", name="Win").click()

        assert answer.value.status == 403, path
        expect(victim.locator("main code")).to_have_text("403 cross_site")
        expect(victim.get_by_role("heading", level=1)).to_have_text("A page of another site may not do this")
    assert service.statuses() == before


def test_curl_is_no_other_site(service: ServiceProcess, tmp_path: Path) -> None:
    path = a_file(tmp_path, "big.log")

    assert curl("-T", path, f"{service.url}/", folder=tmp_path).status == 202
    assert curl("-F", f"file=@{path}", f"{service.url}/uploads", folder=tmp_path).status == 202


def test_a_page_cannot_be_framed(victim: Page, states: EveryState, bait_port: int) -> None:
    def framed(url: str) -> str:
        victim.goto(f"http://127.0.0.1:{bait_port}/frame?{url}")
        return victim.frames[1].url

    other = f"http://localhost:{bait_port}/frame"
    assert framed(other) == other, "what can be framed"
    for path in ("/", states.page_of("queued"), NOWHERE, "/docs", "/static/icon.svg"):
        assert framed(f"{states.service.url}{path}") == "chrome-error://chromewebdata/", path


def test_pages_and_assets_carry_the_headers_of_caution(states: EveryState) -> None:
    for path in ("/", states.page_of("queued"), NOWHERE):
        headers = ask(f"{states.service.url}{path}", Accept="text/html").headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert ask(f"{states.service.url}/static/page_upload.js").headers["X-Content-Type-Options"] == "nosniff"
