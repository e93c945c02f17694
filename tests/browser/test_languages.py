"""English and Chinese: chosen by the browser or the switch, and everything the script says from the catalogue."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from service.language import words
from service.web.page import phrases
from tests.acceptance.service_process import ServiceProcess
from tests.browser.conftest import OpenPage
from tests.browser.every_state import NAMES, NOWHERE, ON_THE_WAY, STATES, EveryState, open_list, row

CHINESE = {"locale": "zh-CN"}


@pytest.fixture(scope="module")
def service(states: EveryState) -> ServiceProcess:
    return states.service


def test_a_chinese_browser_is_answered_in_chinese(open_page: OpenPage, states: EveryState) -> None:
    page = open_page(**CHINESE)

    expect(page).to_have_title("vacpack：上传并压缩")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("link", name="简体中文")).to_have_attribute("aria-current", "true")
    page.goto(NOWHERE)
    expect(page.get_by_role("heading", level=1)).to_have_text("没有这个任务")
    expect(page).to_have_title("没有这个任务 · vacpack")


def test_the_switch_is_kept_over_reloads_and_pages(open_page: OpenPage, states: EveryState) -> None:
    page = open_page(storage_state=states.memory)
    state = row(page, "cancelled.log").locator(".state")
    expect(state).to_have_text("Cancelled")

    page.get_by_role("link", name="简体中文").click()
    expect(state).to_have_text("已取消")
    page.goto("/")
    expect(state).to_have_text("已取消")
    page.reload()
    expect(state).to_have_text("已取消")
    page.goto(states.page_of("cancelled"))
    expect(page.locator(".state")).to_have_text("已取消")

    page.get_by_role("link", name="English").click()
    expect(page.locator(".state")).to_have_text("Cancelled")
    assert page.url.startswith(f"{states.service.url}{states.page_of('cancelled')}")


def test_the_switch_to_english_wins_over_a_chinese_browser(open_page: OpenPage) -> None:
    page = open_page(**CHINESE)

    page.get_by_role("link", name="English").click()
    page.reload()

    expect(page.get_by_role("heading", level=1)).to_have_text("Compress files")


def test_rows_errors_and_the_title_of_the_tab_are_chinese(
    open_page: OpenPage, states: EveryState, tmp_path: Path
) -> None:
    page = open_list(open_page, states, tmp_path, **CHINESE)

    expect(row(page, "succeeded.log").locator(".state")).to_contain_text("缩小")
    expect(row(page, "countdown.bin").locator(".state")).to_have_text("服务器繁忙，50 分钟后重试")
    expect(row(page, "refused.bin").locator(".why")).to_contain_text("服务器空间不足")
    expect(page.get_by_role("button", name="取消 uploading.bin")).to_be_visible()
    expect(page.get_by_role("progressbar", name="uploading.bin 的进度")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\d+% · vacpack：上传并压缩$"))


TEXTS = """() => {
  const found = document.title.split(" · ");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const data = "script, noscript, code, pre, main [lang=en], nav [lang], [data-as=code], [data-as=time]";
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement.closest(data)) found.push(walker.currentNode.data);
  }
  for (const element of document.querySelectorAll("[aria-label], [aria-valuetext], [title]")) {
    found.push(...["aria-label", "aria-valuetext", "title"].map((name) => element.getAttribute(name) ?? ""));
  }
  return found.map((text) => text.trim()).filter(Boolean);
}"""

NEVER_TRANSLATED = r"vacpack|SHA-256|\b(k|M|G)B\b|\b(auto|zstd|gzip|brotli|xz|zip|tar|zst|gz)\b|\bcurl\b|\b(30m|12h|7d)\b|http://[\w.:/]+"


def foreign(texts: list[str]) -> list[str]:
    """Return the texts with a Latin letter in them that is no data, no unit and no name."""
    names = "|".join(map(re.escape, sorted((*NAMES.values(), *ON_THE_WAY), key=len, reverse=True)))
    return [text for text in texts if re.search("[A-Za-z]", re.sub(f"{names}|{NEVER_TRANSLATED}", "", text))]


def test_no_english_is_left_on_a_chinese_page(open_page: OpenPage, states: EveryState, tmp_path: Path) -> None:
    page = open_list(open_page, states, tmp_path, **CHINESE)
    assert foreign(page.evaluate(TEXTS)) == []

    for path in (NOWHERE, *map(states.page_of, STATES)):
        page.goto(path)
        assert foreign(page.evaluate(TEXTS)) == [], path


class _Texts(HTMLParser):
    """The texts and labels of a page as the server sends it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.found.add(data.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(value or "").strip() for name, value in attrs if name == "aria-label"}


WORDS = re.compile(r'(?<=id="words">).*?(?=</script>)', re.DOTALL)


def pseudo(text: str) -> str:
    """Return the text with wide letters in place of its Latin ones; what is filled in keeps its name."""
    wide = {code: code + 0xFEE0 for code in range(ord("A"), ord("z") + 1) if chr(code).isalpha()}
    return "".join(part if part[:1] == "{" else part.translate(wide) for part in re.split(r"(\{\w+\})", text))


@pytest.fixture
def disguised(open_page: OpenPage) -> tuple[Callable[..., Page], set[str]]:
    """Pages whose script is given a language of its own; what the server says beside it is collected."""
    said_by_server: set[str] = set()

    def disguise(route: Route) -> None:
        response = route.fetch()
        html = response.text()
        said_by_server.update(_Texts(html).found)
        catalogue = json.loads(WORDS.findall(html)[0])
        other = json.dumps({key: pseudo(text) for key, text in catalogue.items()})
        route.fulfill(response=response, body=WORDS.sub(lambda _: other, html))

    def open_(path: str = "/", **options: Any) -> Page:
        page = open_page(NOWHERE, **options)
        page.route(
            re.compile(r"/(jobs/[a-z2-7]{26})?$"),
            lambda route: disguise(route) if is_page(route) else route.continue_(),
        )
        page.route("**/jobs?ids=*&wait=*", lambda route: route.abort())  # What is said of a lost network, too.
        page.goto(path)
        return page

    return open_, said_by_server


def is_page(route: Route) -> bool:
    return route.request.resource_type == "document"


def said_by_script(page: Page, said_by_server: set[str]) -> list[str]:
    return [text for text in page.evaluate(TEXTS) if text not in said_by_server]


def test_all_that_the_script_says_comes_from_the_catalogue(
    disguised: tuple[Callable[..., Page], set[str]], states: EveryState, tmp_path: Path
) -> None:
    open_page, said_by_server = disguised
    page = open_list(open_page, states, tmp_path)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.locator("#archive").check()
    row(page, "succeeded.log").locator("[data-act=copy_link]").click()
    row(page, "succeeded.log").locator("[data-act=delete]").click()
    page.route("**/jobs/*/cancel", lambda route: route.abort())
    row(page, "queued.log").locator("[data-act=cancel]").click()
    expect(row(page, "queued.log").locator(".why")).to_be_visible()
    expect(page.locator("#trouble")).to_have_text(pseudo(words("en").catalogue["script.follow_lost"]))

    said = said_by_script(page, said_by_server) + asked

    assert foreign(said) == []
    everything = " ".join(said)
    for key in ("state.uploading", "state.cancelled", "act.cancel", "advice.storage_full"):
        assert pseudo(words("en")(key)) in everything, key
    assert asked == [pseudo(words("en").catalogue["act.delete.sure"]).format(name="succeeded.log")]


def test_all_that_the_script_says_on_job_pages_comes_from_the_catalogue(
    disguised: tuple[Callable[..., Page], set[str]], states: EveryState
) -> None:
    open_page, said_by_server = disguised
    page = open_page(states.page_of("queued"), storage_state=states.memory)
    for state in STATES:
        page.goto(states.page_of(state))
        expect(page.locator("[data-act=copy_link]")).to_be_visible()
        assert foreign(said_by_script(page, said_by_server)) == [], state
    expect(page.locator(".state")).to_have_text(pseudo("Cancelled"))


def without_refresh(route: Route) -> None:
    """Give the page as it is, except that it does not load itself again while it is read."""
    answer = route.fetch()
    route.fulfill(response=answer, body=re.sub(r'<meta http-equiv="refresh"[^>]*>', "", answer.text()))


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_the_script_says_of_a_job_what_the_server_says(open_page: OpenPage, states: EveryState, locale: str) -> None:
    plain = open_page(java_script_enabled=False, locale=locale)
    plain.route("**/jobs/*", without_refresh)
    page = open_page(storage_state=states.memory, locale=locale)
    for state in STATES:
        plain.goto(states.page_of(state))
        page.goto(states.page_of(state))
        expect(page.locator("[data-act=copy_link]")).to_be_visible()
        for part in (".state", ".why", "[data-as=size]", "[data-as=attempt]"):
            said = [re.sub(r"\s+", " ", text).strip() for text in plain.locator(part).all_text_contents()]
            assert [re.sub(r"\s+", " ", text).strip() for text in page.locator(part).all_text_contents()] == said


def many_numbers() -> list[float]:
    """Halves, the ends of units, and others between nothing and ten exabytes."""
    chance = random.Random(5)
    ends = [
        float(unit * step) for unit in (1, 1000, 10**6, 10**9, 10**12) for step in (0, 0.999, 0.9995, 1, 1.125, 1.625)
    ]
    halves = [
        0.4,
        0.5,
        1.5,
        2.5,
        59.5,
        60,
        61.5,
        99.95,
        100.5,
        999.4,
        999.5,
        3599.5,
        3600,
        86399.5,
        86400,
        172800,
        90061,
    ]
    return ends + halves + [round(10 ** chance.uniform(0, 19), chance.randint(0, 3)) for _ in range(2000)]


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_sizes_and_durations_are_said_alike_by_script_and_server(open_page: OpenPage, language: str) -> None:
    page = open_page(f"/?lang={language}")
    expect(page.locator("form.scripted")).to_be_visible()
    numbers = many_numbers()
    times = [number for number in numbers if number < 10**10]
    say = words(language)

    sizes, durations = page.evaluate(
        """async ([numbers, times]) => {
          const { duration, size } = await import("/static/words.js");
          return [numbers.map(size), times.map(duration)];
        }""",
        [numbers, times],
    )

    assert sizes == [phrases.size(number, say) for number in numbers]
    assert durations == [phrases.duration(number, say) for number in times]
