"""A service below a path, behind a real nginx that takes the path off, and one that does not: all goes on there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.acceptance.asking import ask
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.nginx import free_port, nginx
from tests.browser.upload_page import choose, idle_worker, made, press, row, succeeded_row
from tests.service.payloads import text

AT = "/vacpack"


@dataclass(frozen=True)
class Below:
    """A service, and where people find it."""

    service: ServiceProcess
    url: str

    @property
    def host(self) -> str:
        """The address without the path."""
        return self.url.removesuffix(AT)


# What operators write: with the last slash nginx takes the path off, without it it does not. ``Host`` is nginx's own
# name for the service in the first, as it is where nobody sets it.
WAYS = {"taken off": ("/", ""), "left on": ("", "proxy_set_header Host $http_host;")}


@pytest.fixture(scope="module", params=WAYS)
def below(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Below]:
    slash, more = WAYS[request.param]
    folder, port = tmp_path_factory.mktemp("below"), free_port()
    service = ServiceProcess(folder / "service", public_url=f"http://127.0.0.1:{port}{AT}/", lease_seconds=3600)
    try:
        upstream = service.start().url + slash
        with nginx(folder / "nginx", port=port, path=AT, upstream=upstream, more=more) as url:
            yield Below(service, url)
    finally:
        service.kill()


def test_a_file_goes_up_is_told_of_and_comes_down(open_page: OpenPage, below: Below, tmp_path: Path) -> None:
    page = open_page(f"{AT}/", base_url=below.host)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))

    choose(page, *made(tmp_path, {"big.log": text(400_000)}))
    found = succeeded_row(page, "big.log")
    with page.expect_download() as download:
        press(found, "original")
    assert Path(download.value.path()).read_bytes() == text(400_000)

    found.locator(".name a").click()
    expect(page).to_have_url(re.compile(rf"^{re.escape(below.url)}/jobs/[a-z2-7]{{26}}$"))
    with page.expect_download() as result:
        press(page.locator("#job .row"), "download")
    assert result.value.suggested_filename == "big.log.zst"
    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.locator("header .home").click()
    expect(page).to_have_url(f"{below.url}/")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    assert [path for path in asked if not path.startswith(f"{AT}/")] == []


def test_a_page_hears_of_its_job_by_events_and_cancels_it(open_page: OpenPage, below: Below, tmp_path: Path) -> None:
    with idle_worker(below.service):
        page = open_page(f"{AT}/", base_url=below.host)
        choose(page, *made(tmp_path, {"waits.log": text(1000)}))
        expect(row(page, "waits.log")).to_have_attribute("data-status", "queued")
        with page.expect_response("**/events") as events:
            row(page, "waits.log").locator(".name a").click()
        assert (events.value.status, urlsplit(events.value.url).path.startswith(f"{AT}/jobs/")) == (200, True)
        press(page.locator("#job .row"), "cancel")
        expect(page.locator("#job .row")).to_have_attribute("data-status", "cancelled")


def test_without_a_script_the_cookie_cancels(open_page: OpenPage, below: Below, tmp_path: Path) -> None:
    with idle_worker(below.service):
        page = open_page(f"{AT}/", base_url=below.host, java_script_enabled=False)
        page.get_by_label("Choose files").set_input_files(made(tmp_path, {"plain.log": text(1000)}))
        page.get_by_role("button", name="Upload").click()
        expect(page).to_have_url(re.compile(rf"^{re.escape(below.url)}/jobs/[a-z2-7]{{26}}$"))
        page.get_by_role("button", name="Cancel plain.log").click()
        expect(page.locator(".row")).to_have_attribute("data-status", "cancelled")


def test_the_docs_page_reads_the_description_there(open_page: OpenPage, below: Below) -> None:
    page = open_page(f"{AT}/docs", base_url=below.host)

    expect(page.get_by_text("Upload a file, get 202 and a job id at once")).to_be_visible()
    assert ask(f"{below.url}/openapi.json").json["servers"] == [{"url": AT}]


def test_what_curl_is_told_works_as_printed(below: Below, tmp_path: Path) -> None:
    (tmp_path / "big.log").write_bytes(text(5000))
    manual = ask(f"{below.url}/").body.decode()
    [line] = [line.strip() for line in manual.splitlines() if line.strip().startswith("url=$(curl")]

    script = (
        f'{line}; curl -s "$url?wait=25"; curl -sOJ $url/original; curl -s -D - -o /dev/null -T big.log {below.url}/'
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert '"status": "succeeded"' in done.stdout
    assert re.search(rf"(?mi)^location: {AT}/jobs/[a-z2-7]{{26}}\r?$", done.stdout)
    assert below.url in done.stdout


def test_another_site_is_still_refused(below: Below) -> None:
    port = urlsplit(below.url).port
    for origin, status in ((below.host, 202), (f"http://evil.example:{port}", 403), ("http://127.0.0.1", 403)):
        assert ask(f"{below.url}/uploads?filename=a", "POST", b"x", Origin=origin).status == status, origin
