"""Pages: whatever a client sent is text on them, and nothing on them runs or comes from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.language import LANGUAGES, Words, words
from service.web import answers, front, limits
from service.web.page import pages
from service.web.receiving.options import FORMATS
from tests.service.web.in_process import FROM_PAGE, PAGE, InProcess
from tests.storage.job_builder import change_row

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}.html"
WORDS = {"type": "application/json", "id": "words"}
SCRIPTS = tuple({"type": "module", "src": f"/static/page_{name}.js"} for name in ("upload", "job"))
TEMPLATES = sorted((Path(pages.__file__).parents[1] / "templates").glob("*.html"))


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(client: TestClient, url: str, **headers: str) -> Tags:
    answer = client.get(url, headers=PAGE | headers)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Tags(answer.text)


def assert_harmless(page: Tags) -> None:
    for script in page.named("script"):
        assert script in (WORDS, *SCRIPTS)
    assert not page.named("img")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_a_script_or_style_of_its_own_nor_turns_escaping_off(template: Path) -> None:
    text = template.read_text()

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    # A block of data is not run.
    assert all(re.search(r'src="{{ at }}/|type="application/json"', tag) for tag in re.findall(r"<script[^>]*>", text))
    assert not re.search(r"\|\s*safe\b|autoescape|https?://", text)


def test_there_are_templates() -> None:
    names = ["base", "deleted", "docs", "error", "front", "job", "limits", "row", "script"]
    assert [path.stem for path in TEMPLATES] == names


def test_a_file_named_like_a_script_is_text_on_its_page_in_every_status(app: InProcess) -> None:
    receipt = app.put(name="x.txt")
    change_row(app.parts.database, receipt["id"], name=EVIL)
    url = f"/jobs/{receipt['id']}"

    queued = page_of(app.client, url)
    app.bench.run()
    change_row(app.parts.database, receipt["id"], result_name=EVIL, version=99)
    succeeded = page_of(app.client, url)
    change_row(app.parts.database, receipt["id"], status="failed", error_code=EVIL[:40], error_detail=EVIL, version=100)
    failed = page_of(app.client, url)

    for page in (queued, succeeded, failed):
        assert_harmless(page)
        assert EVIL in page.text


def test_an_address_named_like_a_script_is_text_on_the_error_page(app: InProcess) -> None:
    page = page_of(app.client, "/jobs?status=%3Cscript%3Ealert(1)%3C/script%3E")

    assert_harmless(page)
    assert "status" in page.text


def test_a_host_named_like_a_script_is_text_on_the_front_page(app: InProcess) -> None:
    page = page_of(app.client, "/", Host='"><script>alert(1)</script>')

    assert_harmless(page)


@pytest.mark.parametrize("url", ["/", "/docs", "/limits", "/jobs/" + "a" * 26, "/nothing/there"])
def test_every_page_lets_only_this_service_s_own_files_in(app: InProcess, url: str) -> None:
    headers = app.client.get(url, headers=PAGE).headers

    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert not re.search(r"https?:|\*", headers["content-security-policy"])
    assert headers["x-content-type-options"] == "nosniff"
    # no-referrer would make the page's own form send "Origin: null", which is refused.
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("url", ["/", "/docs", "/limits"])
def test_all_that_a_page_loads_is_there(app: InProcess, url: str) -> None:
    page = page_of(app.client, url)
    loaded = [tag["src"] for tag in page.named("script") if "src" in tag] + [tag["href"] for tag in page.named("link")]

    assert loaded
    for address in loaded:
        assert address is not None
        assert app.client.get(address).status_code == 200, address


def test_the_front_page_has_a_form_that_works_without_a_script(app: InProcess) -> None:
    page = page_of(app.client, "/")

    # The other form belongs to the rows, which only the script makes.
    form = page.named("form")[0]
    assert (form["action"], form["method"], form["enctype"]) == ("/uploads", "post", "multipart/form-data")
    named = {field["name"] for tag in ("input", "select") for field in page.named(tag) if "name" in field}
    assert named == {"idempotency_key", "file", "format", "level", "expires"}
    labels = {label["for"] for label in page.named("label") if "for" in label}
    assert labels == {"file", "folder", "format", "level", "expires"}


def buttons_of(page: Tags) -> list[str | None]:
    """Return where the buttons lead that work without a script."""
    return [button["formaction"] for button in page.named("button") if "hidden" not in button]


def test_each_front_page_has_an_idempotency_key_of_its_own(app: InProcess) -> None:
    keys = {
        field["value"]
        for _ in range(3)
        for field in page_of(app.client, "/").named("input")
        if field.get("name") == "idempotency_key"
    }

    assert len(keys) == 3


def send_form(app: InProcess, key: str = "form-key-1", content: bytes = b"text " * 500) -> tuple[str, Tags, str]:
    """Send the page's form as a browser without scripts does; return the job's id, the page, and the cookie."""
    answer = app.client.post(
        "/uploads",
        data={"idempotency_key": key, "format": "auto", "level": "balanced", "expires": ""},
        files={"file": ("a.txt", content, "text/plain")},
        headers=FROM_PAGE,
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["location"].rpartition("/")[2], Tags(answer.text), answer.headers["set-cookie"]


def test_a_form_is_answered_with_the_job_page_which_moves_on_to_its_address(app: InProcess) -> None:
    job_id, page, _ = send_form(app)

    [refresh] = [tag for tag in page.named("meta") if tag.get("http-equiv") == "refresh"]
    assert refresh["content"] == f"0;url=/jobs/{job_id}"
    assert "a.txt" in page.text


def test_a_form_sent_twice_makes_one_job(app: InProcess) -> None:
    assert send_form(app)[0] == send_form(app)[0]
    assert send_form(app, key="form-key-2")[0] != send_form(app)[0]


def test_the_uploader_s_browser_keeps_the_manage_key(app: InProcess) -> None:
    job_id, _, cookie = send_form(app)

    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"path=/", "httponly", "samesite=strict"} <= attributes
    # The test's client has kept it, as a browser does.
    assert buttons_of(page_of(app.client, f"/jobs/{job_id}")) == [f"/jobs/{job_id}/cancel"]
    app.client.cookies.clear()
    assert buttons_of(page_of(app.client, f"/jobs/{job_id}")) == []


def test_a_key_in_the_address_of_a_page_goes_on_with_its_buttons(app: InProcess) -> None:
    receipt = app.put()
    url, key = f"/jobs/{receipt['id']}", receipt["manage_key"]

    buttons = buttons_of(page_of(app.client, f"{url}?key={key}"))

    assert buttons == [f"{url}/cancel?key={key}"]
    assert buttons_of(page_of(app.client, f"{url}?key=another")) == []


def test_a_changed_job_is_shown_by_a_page_that_moves_on_to_the_job_s_own_address(app: InProcess) -> None:
    job_id, *_ = send_form(app)

    answer = app.client.post(f"/jobs/{job_id}/cancel", headers=FROM_PAGE)

    # Reloaded as it is, it would be asked for by GET.
    assert f'content="0;url=/jobs/{job_id}"' in answer.text


def test_a_form_deletes_a_job_and_says_so(app: InProcess) -> None:
    job_id, *_ = send_form(app)

    answer = app.client.post(f"/jobs/{job_id}/delete", headers=FROM_PAGE)

    assert answer.status_code == 200
    assert "The job and its files are gone." in answer.text
    assert app.client.get(f"/jobs/{job_id}").status_code == 404
    assert list(app.parts.store.files()) == []


def test_deleting_by_post_needs_the_key_and_says_no_more_to_a_program(app: InProcess) -> None:
    receipt = app.put()
    url = f"/jobs/{receipt['id']}/delete"

    app.refusal("POST", url, 403, "key_needed")
    answer = app.client.post(url, headers={"Authorization": f"Bearer {receipt['manage_key']}"})

    assert (answer.status_code, answer.content) == (204, b"")


def test_the_page_of_a_job_refreshes_itself_until_it_has_ended(app: InProcess) -> None:
    receipt = app.put(content=b"text " * 500)
    url = f"/jobs/{receipt['id']}"

    def refreshes() -> list[str | None]:
        return [tag["content"] for tag in page_of(app.client, url).named("meta") if "http-equiv" in tag]

    assert refreshes() == [f"1;url={url}"]
    app.bench.run()
    assert refreshes() == []


def test_the_page_of_a_succeeded_job_offers_its_downloads(app: InProcess) -> None:
    receipt = app.done(content=b"text " * 500)
    url = f"/jobs/{receipt['id']}"

    links = {link.get("href") for link in page_of(app.client, url).named("a")}

    assert {f"{url}/result", f"{url}/result?format=gzip", f"{url}/original"} <= links


def test_the_page_of_a_cancelled_job_lets_its_owner_run_it_again(app: InProcess) -> None:
    job_id, *_ = send_form(app)
    app.client.post(f"/jobs/{job_id}/cancel", headers=FROM_PAGE)

    assert buttons_of(page_of(app.client, f"/jobs/{job_id}")) == [f"/jobs/{job_id}/retry", f"/jobs/{job_id}/delete"]


def test_a_page_is_never_answered_not_modified(app: InProcess) -> None:
    receipt = app.put()
    url = f"/jobs/{receipt['id']}"
    tag = app.client.get(url).headers["etag"]

    answer = app.client.get(url, headers=PAGE | {"If-None-Match": tag})

    assert answer.status_code == 200
    assert "etag" not in answer.headers


def test_progress_has_a_name_and_words_beside_its_bar(app: InProcess) -> None:
    page = page_of(app.client, f"/jobs/{app.put()['id']}")

    [bar] = page.named("progress")
    assert bar["aria-label"] == "Progress of a.txt"
    assert "Queued, number 1 in line" in page.text


@pytest.mark.parametrize(("wish", "words"), [("zh-CN", "压缩文件"), ("en", "Compress files")])
def test_the_pages_are_in_the_reader_s_language(app: InProcess, wish: str, words: str) -> None:
    answer = app.client.get("/", headers=PAGE | {"Accept-Language": wish})

    assert f'<html lang="{wish}">' in answer.text
    assert words in answer.text
    assert answer.headers["vary"] == "Accept, Accept-Language, Cookie"


@pytest.mark.parametrize("wish", LANGUAGES)
def test_every_link_below_a_page_leads_to_a_page_for_people(app: InProcess, wish: str) -> None:
    language = {"Accept-Language": wish}
    answer = app.client.get("/", headers=PAGE | language)
    links = Tags(answer.text.partition("<footer>")[2].partition("</footer>")[0]).named("a")

    assert [link["href"] for link in links] == ["/", "/docs", "/limits"]
    for link in links:
        page_of(app.client, str(link["href"]), **language)


def test_the_switch_is_remembered(app: InProcess) -> None:
    assert "压缩文件" in app.client.get("/?lang=zh-CN", headers=PAGE).text
    assert "压缩文件" in app.client.get("/", headers=PAGE).text
    assert "Compress files" in app.client.get("/?lang=en", headers=PAGE).text


def test_an_error_says_what_to_do_in_the_reader_s_language(app: InProcess) -> None:
    answer = app.client.get("/jobs/" + "a" * 26, headers=PAGE | {"Accept-Language": "zh"})

    assert "没有这个任务" in answer.text
    assert "请检查链接" in answer.text
    assert "404 job_not_found" in answer.text


PSEUDO = {key: f"⟦{text}⟧" for key, text in words("en").catalogue.items()}
NAMES = {"vacpack", "English", "简体中文", "a.txt"}
"""Text that is no translation: names."""


class Texts(HTMLParser):
    """Every text and label of a page that a person may read, but for code and what the script is given."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "input", "br"):
            self._inside.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("aria-label", "title", "placeholder", "alt")]

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "code"} & set(self._inside):
            self.found.append(data)


@pytest.mark.parametrize("end", ["queued", "succeeded", "failed", "front", "limits", "error", "deleted"])
def test_no_words_on_a_page_stand_outside_the_catalogue(
    app: InProcess, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    for module in (pages, answers, front, limits):
        monkeypatch.setattr(module, "words", lambda _: Words("en", PSEUDO))
    receipt = app.put()
    if end == "succeeded":
        app.bench.run()
    if end == "failed":
        ended = {"status": "failed", "error_code": "disk_full", "finished_at": 2, "started_at": 1}
        change_row(app.parts.database, receipt["id"], version=100, **ended)
    key = {"Authorization": f"Bearer {receipt['manage_key']}"}
    url = f"/jobs/{receipt['id']}"
    match end:
        case "front":
            answer = app.client.get("/", headers=PAGE)
        case "limits":
            answer = app.client.get("/limits", headers=PAGE)
        case "error":
            answer = app.client.get("/jobs/" + "a" * 26, headers=PAGE)
        case "deleted":
            answer = app.client.post(f"{url}/delete", headers=PAGE | key)
        case _:
            answer = app.client.get(url, headers=PAGE | key)

    # Inside out: a text may be a part of another.
    texts = "\n".join(Texts(answer.text).found)
    while (fewer := re.sub(r"⟦[^⟦⟧]*⟧", "", texts)) != texts:
        texts = fewer
    # The address first: its id may hold the name of a format.
    for name in (url, "http://testserver", *NAMES, *FORMATS, "No job has this id; it may have been deleted."):
        texts = texts.replace(name, "")
    # Units of sizes, digests and the times of machines are the same everywhere.
    texts = re.sub(r"\b\d[\d.]* (kB|MB|GB)|\b[0-9a-f]{64}\b|\d{4}-\d\d-\d\dT[\d:.]+Z", "", texts)
    assert re.findall(r"[^\W\d_]+", texts) == []


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_script_is_given_the_words_of_what_its_requests_are_refused_for(language: str) -> None:
    said = pages.script_words(words(language))

    assert {"error.storage_full", "advice.storage_full", "advice.source_missing", "advice.other"} <= set(said)
    assert not {key for key in said if key.startswith(("page.", "mail."))}
    assert {key.removeprefix("error.") for key in said if key.startswith("error.")} == set(pages.SCRIPT_ERRORS)
