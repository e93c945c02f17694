"""How files get onto the upload page, under which names and options they arrive, and what is refused."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.asking import sha256
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.cutting_proxy import CuttingProxy
from tests.browser.upload_page import (
    choose,
    drop,
    expect_status,
    job_of,
    made,
    offered,
    original_of,
    press,
    row,
    succeeded_row,
)
from tests.service.payloads import text

FOLDER = {"reports/one.txt": b"one", "reports/2024/two.txt": b"two", "reports/2024/深/three.txt": b"three"}

NAMES = [
    "报告 2024.txt",
    "party 🎉👩‍👩‍👧.txt",
    'it\'s "so" `said`.txt',
    "<img src=x onerror=alert(1)>.txt",
    "&lt;b&gt; & co.txt",
    "\u202egpj.exe\u200f.txt",
    "100%25+1 #?.txt",
]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that takes one file of at most a kilobyte."""
    process = ServiceProcess(tmp_path_factory.mktemp("strict"), max_upload_bytes=1000, max_files_per_upload=1)
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without room."""
    process = ServiceProcess(tmp_path_factory.mktemp("full"), min_free_bytes=10**18)
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture
def proxy(service: ServiceProcess) -> Iterator[CuttingProxy]:
    between = CuttingProxy(service.address)
    yield between
    between.close()


def test_one_file_is_chosen(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    data = text(50_000)

    choose(page, *made(tmp_path, {"a.log": data}))

    found = succeeded_row(page, "a.log")
    assert original_of(service, found).sha256 == sha256(data)
    assert page.locator("#file").input_value() == "", "the same file can be chosen again"


def test_several_files_become_as_many_jobs(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    files = {f"{name}.txt": name.encode() * 100 for name in ("a", "b", "c", "d", "e")}

    choose(page, *made(tmp_path, files))

    for name, data in files.items():
        assert original_of(service, succeeded_row(page, name)).body == data
    expect(page.locator(".row")).to_have_count(5)


def test_files_are_dropped(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    files = {"left.txt": b"left", "right.txt": b"right"}

    drop(page, *made(tmp_path, files))

    for name, data in files.items():
        assert original_of(service, succeeded_row(page, name)).body == data


def test_a_dropped_folder_brings_the_files_of_its_folders(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    made(tmp_path, FOLDER)

    drop(page, tmp_path / "reports")

    for path, data in FOLDER.items():
        assert original_of(service, succeeded_row(page, path)).body == data
    expect(page.locator(".row")).to_have_count(3)


def test_a_dropped_folder_of_more_files_than_one_reading_gives(page: Page, tmp_path: Path) -> None:
    """An entry's reader gives a hundred at a time."""
    made(tmp_path, {f"many/{number}.txt": b"x" for number in range(120)})
    page.get_by_label("Put several files into one archive").check()

    drop(page, tmp_path / "many")

    expect(succeeded_row(page, "many").locator(".state")).to_contain_text("zip")
    page.goto(page.locator(".row .name a").get_attribute("href") or "")
    expect(page.locator("[data-field='source.size_bytes']")).to_have_text("120 bytes, 120 files")


def test_an_empty_folder_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "nothing" / "in it").mkdir(parents=True)
    (tmp_path / "void").mkdir()

    drop(page, tmp_path / "nothing", tmp_path / "void")

    said = "nothing holds no files. void holds no files."
    expect(page.locator("#empty")).to_have_text(said)
    expect(page.locator("#empty")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text(said)
    expect(page.locator(".row")).to_have_count(0)

    drop(page, *made(tmp_path, {"a.txt": b"a"}))

    expect(page.locator("#empty")).to_be_hidden()
    succeeded_row(page, "a.txt")


def test_a_folder_is_chosen(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    made(tmp_path, FOLDER)

    page.locator("#folder").set_input_files(tmp_path / "reports")

    for path, data in FOLDER.items():
        assert original_of(service, succeeded_row(page, path)).body == data


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_folder_as_one_archive_keeps_its_paths(page: Page, tmp_path: Path, way: str) -> None:
    made(tmp_path, FOLDER)
    page.get_by_label("Put several files into one archive").check()

    if way == "chosen":
        page.locator("#folder").set_input_files(tmp_path / "reports")
    else:
        drop(page, tmp_path / "reports")

    found = succeeded_row(page, "reports")
    with page.expect_download() as download:
        press(found, "download")
    assert download.value.suggested_filename == "reports.zip"
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FOLDER
    expect(page.locator(".row")).to_have_count(1)
    assert "original" not in offered(found)


def test_several_files_as_one_archive_are_counted(page: Page, tmp_path: Path) -> None:
    page.get_by_label("Put several files into one archive").check()

    choose(page, *made(tmp_path, {"a.txt": b"a", "b.txt": b"b"}))

    succeeded_row(page, "2 files")
    expect(page.locator(".row")).to_have_count(1)


PASTE = """([name, type]) => {
  const data = new DataTransfer();
  data.items.add(new File(["pasted bytes"], name, { type }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def test_a_pasted_file_keeps_its_name(page: Page, service: ServiceProcess) -> None:
    page.evaluate(PASTE, ["from my folder.csv", "text/csv"])

    found = succeeded_row(page, "from my folder.csv")
    assert original_of(service, found).body == b"pasted bytes"
    assert job_of(service, found)["source"]["media_type"] == "text/csv"


@pytest.mark.parametrize("type_", ["multipart/related", "multipart/form-data", "application/x-www-form-urlencoded"])
def test_a_file_of_a_type_that_stands_for_a_body_arrives_as_it_is(
    page: Page, service: ServiceProcess, type_: str
) -> None:
    page.evaluate(PASTE, ["saved page.mht", type_])

    found = succeeded_row(page, "saved page.mht")
    assert original_of(service, found).body == b"pasted bytes"
    assert job_of(service, found)["source"]["media_type"] is None


def test_a_pasted_image_is_named_by_the_time(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async () => {
          const canvas = document.createElement("canvas");
          const image = await new Promise((resolve) => canvas.toBlob(resolve));
          await navigator.clipboard.write([new ClipboardItem({ "image/png": image })]);
        }"""
    )

    page.keyboard.press("Control+V")

    found = page.locator(".row")
    expect(found).to_have_attribute("data-status", "succeeded")
    expect(found.locator("bdi")).to_have_text(re.compile(r"^pasted-20[\d-]+\.png$"))
    assert original_of(service, found).body.startswith(b"\x89PNG")


def test_pasted_text_becomes_a_file(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('some 文 text')")

    page.keyboard.press("Control+V")

    found = page.locator(".row")
    expect(found).to_have_attribute("data-status", "succeeded")
    expect(found.locator("bdi")).to_have_text(re.compile(r"^pasted-20[\d-]+\.txt$"))
    assert original_of(service, found).body == "some 文 text".encode()


def test_text_pasted_into_a_field_stays_text(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('12h')")

    page.get_by_label("Keep for").click()
    page.keyboard.press("Control+V")

    expect(page.get_by_label("Keep for")).to_have_value("12h")
    # What is added later comes alone.
    choose(page, *made(tmp_path, {"later.txt": b"later"}))
    succeeded_row(page, "later.txt")
    expect(page.locator(".row")).to_have_count(1)


def test_format_level_and_time_are_those_chosen(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    page.get_by_label("Format").select_option("brotli")
    page.get_by_label("Level").select_option("small")
    page.get_by_label("Keep for").fill(" 1h ")

    choose(page, *made(tmp_path, {"a.log": text(50_000)}))

    found = succeeded_row(page, "a.log")
    expect(found.locator(".state")).to_contain_text("brotli")
    job = job_of(service, found)
    assert (job["format"], job["level"]) == ("brotli", "small")
    [kept] = service.rows("SELECT ttl_milliseconds FROM jobs WHERE id = ?", job["id"])
    assert kept[0] == 3600 * 1000


def test_names_are_shown_as_they_are_and_are_never_markup(page: Page, service: ServiceProcess, tmp_path: Path) -> None:
    choose(page, *made(tmp_path, dict.fromkeys(NAMES, b"named")))

    addresses = {}
    for name in NAMES:
        found = succeeded_row(page, name)
        assert found.locator("bdi").evaluate("bdi => [bdi.textContent, bdi.childElementCount]") == [name, 0]
        assert found.locator("[data-act=delete]").get_attribute("aria-label") == f"Delete {name}"
        addresses[found.locator(".name a").get_attribute("href")] = job_of(service, found)["name"]
    expect(page.locator("main img")).to_have_count(0)
    for address, name in addresses.items():
        page.goto(address or "")
        assert page.locator("h1 bdi").evaluate("bdi => [bdi.textContent, bdi.childElementCount]") == [name, 0]
        expect(page).to_have_title(f"{name} · vacpack")
    assert {"报告 2024.txt", "_img src=x onerror=alert(1)_.txt"} < set(addresses.values())


def test_a_file_that_vanished_says_so_and_is_not_tried_again(
    open_page: OpenPage, proxy: CuttingProxy, tmp_path: Path
) -> None:
    page = open_page(base_url=proxy.url)
    paths = made(tmp_path, {f"{number}.bin": bytes(300_000) for number in range(4)})
    proxy.hold()
    choose(page, *paths)
    until(lambda: proxy.most_uploads == 3, what="three uploads held")

    paths[3].unlink()
    proxy.release()

    gone = row(page, "3.bin")
    expect(gone.locator(".why")).to_contain_text("The file can no longer be read. Choose it again.")
    assert offered(gone) == {"remove"}
    for number in range(3):
        succeeded_row(page, f"{number}.bin")


def test_what_is_too_large_is_not_sent(open_page: OpenPage, strict: ServiceProcess, tmp_path: Path) -> None:
    page = open_page(base_url=strict.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    choose(page, *made(tmp_path, {"big.bin": bytes(1001), "fits.bin": bytes(1000)}))

    succeeded_row(page, "fits.bin")
    found = row(page, "big.bin")
    expect(found.locator(".why")).to_have_text(
        "The upload is larger than allowed Larger than the 1 kB allowed here."
        " Send fewer or smaller files at once, or ask whoever runs this server. upload_too_large"
    )
    assert offered(found) == {"remove"}, "the same file stays too large"
    assert not [url for url in asked if "big.bin" in url]


@pytest.mark.parametrize(
    ("kind", "size_bytes", "title", "code"),
    [
        ("strict", 1001, "The upload is larger than allowed", "upload_too_large"),
        ("strict", 100, "The form holds more files than allowed", "too_many_files"),
        ("full", 100, "There is not enough room on the server", "storage_full"),
    ],
)
def test_what_the_server_refuses_says_why_and_can_be_sent_again(
    open_page: OpenPage,
    proxy: CuttingProxy,
    service: ServiceProcess,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: str,
    size_bytes: int,
    title: str,
    code: str,
) -> None:
    """The page comes from one service, the upload meets another with other limits, as after a restart."""
    other: ServiceProcess = request.getfixturevalue(kind)
    before = set(other.statuses()), other.stored()
    page = open_page(base_url=proxy.url)
    page.get_by_label("Put several files into one archive").check()
    proxy.turn_to(other.address)

    choose(page, *made(tmp_path, {"a.txt": text(size_bytes, 1), "b.txt": text(size_bytes, 2)}))

    found = row(page, "2 files")
    expect(found).to_have_attribute("data-status", "failed")
    expect(found.locator(".why strong")).to_have_text(title)
    expect(found.locator(".why code")).to_have_text(code)
    expect(page.get_by_role("alert")).to_contain_text(f"2 files failed: {title}")
    assert offered(found) == {"retry", "remove"}
    assert (set(other.statuses()), other.stored()) == before

    proxy.turn_to(service.address)
    press(found, "retry")

    expect_status(found, "succeeded")
    assert job_of(service, found)["source"]["size_bytes"] == 2 * size_bytes


def test_a_refused_option_is_said_and_retry_takes_the_new_one(
    page: Page, service: ServiceProcess, tmp_path: Path
) -> None:
    field = page.get_by_label("Keep for")
    for mistyped in ("for ever", "7"):
        field.fill(mistyped)
        choose(page, *made(tmp_path, {"a.txt": b"a"}))
        assert not field.evaluate("field => field.validity.valid")
    assert page.locator(".row").count() == 0
    field.fill("9999d")
    choose(page, *made(tmp_path, {"a.txt": b"a"}))

    found = row(page, "a.txt")
    expect(found.locator(".why")).to_have_text(
        "An option has a value it cannot have Change “Keep for” above, then press Retry. bad_option"
    )
    page.get_by_label("Keep for").fill("2h")
    press(found, "retry")

    expect_status(found, "succeeded")
    expect(found.locator(".why")).to_be_hidden()
