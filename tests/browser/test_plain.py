"""The pages with JavaScript switched off: a form, a page that refreshes by itself, plain links and buttons."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.asking import ask, job_at, upload
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage

TEXT = b"".join(b"%d\n" % number for number in range(20_000))
JOB_URL = re.compile(r"/jobs/[a-z2-7]{26}$")


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without a worker, that takes one job, of 200 kB at most."""
    folder = tmp_path_factory.mktemp("paused")
    yield from running(ServiceProcess(folder, embedded_worker=False, max_upload_bytes=200_000, max_queued_jobs=1))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that has less room than it wants to keep free."""
    yield from running(ServiceProcess(tmp_path_factory.mktemp("full"), embedded_worker=False, min_free_bytes=10**18))


def running(service: ServiceProcess) -> Iterator[ServiceProcess]:
    try:
        yield service.start()
    finally:
        service.kill()


def send(page: Page, *paths: Path) -> None:
    """Choose these files and press the form's button."""
    page.get_by_label("Choose files").set_input_files(paths)
    page.get_by_role("button", name="Upload").click()


def a_file(folder: Path, name: str = "big.log", content: bytes = TEXT) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def downloaded(page: Page, name: str) -> Path:
    """Press a link and return what it gave, under the name it came with."""
    with page.expect_download() as download:
        page.get_by_role("link", name=name, exact=True).click()
    return Path(download.value.path()).rename(Path(download.value.path()).with_name(download.value.suggested_filename))


def test_one_file_goes_from_the_form_to_its_download(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(java_script_enabled=False)

    page.get_by_label("Format").select_option("gzip")
    page.get_by_label("Level").select_option("small")
    page.get_by_label("Keep for").fill("12h")
    send(page, a_file(tmp_path))

    expect(page).to_have_url(JOB_URL)
    expect(page.locator(".state")).to_contain_text("% smaller, gzip")
    expect(page.locator("dl")).to_contain_text("gzip, small")
    result = downloaded(page, "Download big.log")
    assert result.name == "big.log.gz"
    assert gzip.decompress(result.read_bytes()) == TEXT
    assert downloaded(page, "Download original big.log").read_bytes() == TEXT


def test_a_result_is_offered_as_gzip_too(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(java_script_enabled=False)

    send(page, a_file(tmp_path))

    expect(page.locator(".state")).to_contain_text("% smaller, zstd")
    assert gzip.decompress(downloaded(page, "Download as .gz big.log").read_bytes()) == TEXT


def test_several_files_become_one_archive(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(java_script_enabled=False)

    expect(page.locator("form")).to_contain_text("Several files become one archive.")
    send(page, a_file(tmp_path, "a.txt"), a_file(tmp_path, "b.txt", b"two\n"))

    expect(page).to_have_url(JOB_URL)
    with zipfile.ZipFile(downloaded(page, "Download 2 files")) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.txt": TEXT, "b.txt": b"two\n"}


def test_nothing_that_needs_the_script_is_shown(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(java_script_enabled=False)

    labels = page.locator("form").locator("label:visible, button:visible").all_inner_texts()
    assert labels == ["Format", "Level", "Keep for", "Choose files", "Upload"]
    send(page, a_file(tmp_path))
    expect(page.get_by_role("link", name="Download big.log", exact=True)).to_be_visible()
    assert page.get_by_role("button").all_inner_texts() == ["Delete"]


def test_nothing_chosen_is_said_by_the_browser_and_by_the_server(open_page: OpenPage, service: ServiceProcess) -> None:
    page = open_page(java_script_enabled=False)

    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#file:invalid")).to_be_focused()
    expect(page).to_have_url(f"{service.url}/")

    page.locator("#file").evaluate("input => { input.required = false }")
    page.get_by_role("button", name="Upload").click()
    expect_error(page, "The form holds no file", "Go back and choose a file.", "422 file_missing")


def expect_error(page: Page, title: str, advice: str, code: str) -> None:
    """The page names the error, says what to do, and leads back."""
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.get_by_role("main")).to_contain_text(advice)
    expect(page.locator("main code")).to_have_text(code)
    page.get_by_role("link", name="Back to the upload page").click()
    expect(page.get_by_label("Choose files")).to_be_visible()


def test_a_format_for_one_file_refuses_two_with_advice(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(java_script_enabled=False)

    page.get_by_label("Format").select_option("zstd")
    send(page, a_file(tmp_path, "a.txt"), a_file(tmp_path, "b.txt"))

    expect_error(page, "This format holds one file only", "Choose zip, tar.zst or tar.gz", "422 one_file_only")


def test_a_lifetime_that_is_too_long_is_told(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(java_script_enabled=False)

    page.get_by_label("Keep for").fill("400d")
    send(page, a_file(tmp_path))

    expect_error(page, "An option has a value it cannot have", "Go back and choose one", "422 bad_option")


def test_too_large_is_a_page(open_page: OpenPage, paused: ServiceProcess, tmp_path: Path) -> None:
    page = open_page(base_url=paused.url, java_script_enabled=False)

    expect(page.locator("#file-help")).to_contain_text("Up to 200 kB in all.")
    send(page, a_file(tmp_path, content=bytes(3_000_000)))

    expect_error(page, "The upload is larger than allowed", "ask whoever runs this server", "413 upload_too_large")
    assert not paused.stored()


def test_a_full_disk_is_a_page(open_page: OpenPage, full: ServiceProcess, tmp_path: Path) -> None:
    page = open_page(base_url=full.url, java_script_enabled=False)

    send(page, a_file(tmp_path))

    expect_error(page, "There is not enough room on the server", "Nothing was kept.", "507 storage_full")
    assert full.holds_nothing()


def test_a_full_queue_is_a_page(open_page: OpenPage, paused: ServiceProcess, tmp_path: Path) -> None:
    waiting = upload(paused.url, TEXT)
    page = open_page(base_url=paused.url, java_script_enabled=False)

    send(page, a_file(tmp_path))

    expect_error(page, "Too many jobs are waiting", "Wait a minute, then send it again.", "503 queue_full")
    assert set(paused.statuses()) == {waiting["id"]}
    ask(f"{paused.url}/jobs/{waiting['id']}", "DELETE", Authorization=f"Bearer {waiting['manage_key']}")


def test_the_page_refreshes_by_itself_until_the_job_is_done(
    open_page: OpenPage, paused: ServiceProcess, tmp_path: Path
) -> None:
    page = open_page(base_url=paused.url, java_script_enabled=False)

    send(page, a_file(tmp_path))
    expect(page).to_have_url(JOB_URL)
    expect(page.locator(".state")).to_have_text("Queued, number 1 in line")
    expect(page.locator("main noscript p")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("Safely received: you may close this page.")
    with page.expect_response(page.url):
        pass  # It asks again without anybody's doing.

    worker = ServiceProcess(paused.folder)
    worker.launch("work")
    try:
        expect(page.locator(".state")).to_contain_text("% smaller")
    finally:
        worker.kill()
    assert page.locator("noscript").count() == 0


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_cancel_retry_and_delete_are_plain_buttons(
    open_page: OpenPage, paused: ServiceProcess, tmp_path: Path, locale: str
) -> None:
    say = {
        "en-US": ("Upload", "Cancel", "Retry", "Delete", "Deleted"),
        "zh-CN": ("上传", "取消", "重试", "删除", "已删除"),
    }
    submit, cancel, retry, delete, deleted = say[locale]
    page = open_page(base_url=paused.url, java_script_enabled=False, locale=locale)
    page.locator("#file").set_input_files(a_file(tmp_path))
    page.get_by_role("button", name=submit).click()
    expect(page).to_have_url(JOB_URL)
    url, job_id = page.url, page.url.rsplit("/", 1)[1]

    page.get_by_role("button", name=f"{cancel} big.log").click()
    expect(page.locator("article[data-status=cancelled]")).to_be_visible()
    assert job_at(paused.url, job_id)["status"] == "cancelled"
    expect(page).to_have_url(url)

    page.get_by_role("button", name=f"{retry} big.log").click()
    expect(page.locator("article[data-status=queued]")).to_be_visible()
    expect(page).to_have_url(url)
    assert job_at(paused.url, job_id)["status"] == "queued"

    page.get_by_role("button", name=f"{cancel} big.log").click()
    page.get_by_role("button", name=f"{delete} big.log").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(deleted)
    assert job_id not in paused.statuses()


def test_who_only_has_the_link_may_look_and_download(open_page: OpenPage, tmp_path: Path) -> None:
    owner = open_page(java_script_enabled=False)
    send(owner, a_file(tmp_path))
    expect(owner.get_by_role("button", name="Delete big.log")).to_be_visible()

    guest = open_page(owner.url, java_script_enabled=False)

    expect(guest.get_by_role("link", name="Download big.log", exact=True)).to_be_visible()
    assert guest.get_by_role("button").count() == 0


def test_the_form_and_the_job_page_are_chinese_for_chinese_readers(
    open_page: OpenPage, full: ServiceProcess, tmp_path: Path
) -> None:
    page = open_page(java_script_enabled=False, locale="zh-CN")

    expect(page).to_have_title("vacpack：上传并压缩")
    page.get_by_label("压缩级别").select_option("最小")
    page.get_by_label("选择文件", exact=True).set_input_files(a_file(tmp_path, "日志.log"))
    page.get_by_role("button", name="上传").click()

    expect(page.locator(".state")).to_contain_text("缩小")
    expect(page.get_by_role("heading", level=1)).to_have_text("日志.log")
    assert downloaded(page, "下载 日志.log").name == "日志.log.zst"

    page = open_page(base_url=full.url, java_script_enabled=False, locale="zh-CN")
    page.get_by_label("选择文件", exact=True).set_input_files(a_file(tmp_path))
    page.get_by_role("button", name="上传").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("服务器空间不足")
    expect(page.get_by_role("link", name="返回上传页")).to_be_visible()


def test_a_name_is_shown_as_it_is_and_never_as_markup(open_page: OpenPage, tmp_path: Path) -> None:
    name = "<b onclick=x>&amp;‮gol.txt"
    page = open_page(java_script_enabled=False)

    send(page, a_file(tmp_path, name))

    expect(page).to_have_url(JOB_URL)
    expect(page.locator("h1 bdi")).to_have_text(job_at(page.url.rsplit("/jobs/", 1)[0], page.url[-26:])["name"])
    assert page.locator("main b").count() == 0
