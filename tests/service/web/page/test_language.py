"""Which language a request is answered in."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response

from service.web.page.language import keep_choice, language_of


def request(*, accept: str | None = None, cookie: str | None = None, query: str = "") -> Request:
    headers = [(b"accept-language", accept.encode())] if accept is not None else []
    headers += [(b"cookie", f"vacpack_lang={cookie}".encode())] if cookie is not None else []
    return Request({"type": "http", "method": "GET", "headers": headers, "query_string": query.encode()})


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "en"),
        ("zh", "zh-CN"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("zh-Hans-SG", "zh-CN"),
        ("zh-TW", "zh-CN"),
        ("en-GB,zh;q=0.9", "en"),
        ("en;q=0.5,zh;q=0.9", "zh-CN"),
        ("de,fr;q=0.9,zh;q=0.1", "zh-CN"),
        ("zh;q=0", "en"),
        ("*", "en"),
        ("zhx", "en"),
        (";;q=x,,,", "en"),
    ],
)
def test_the_browsers_wish(accept: str | None, language: str) -> None:
    assert language_of(request(accept=accept)) == language


def test_the_switch_wins_over_the_cookie_and_the_cookie_over_the_browser() -> None:
    assert language_of(request(accept="en", cookie="zh-CN")) == "zh-CN"
    assert language_of(request(accept="zh", cookie="zh-CN", query="lang=en")) == "en"


@pytest.mark.parametrize("unknown", ["tlh", "ZH-cn", "%00", "../en"])
def test_a_language_that_there_is_not_is_passed_over(unknown: str) -> None:
    assert language_of(request(accept="zh", cookie=unknown)) == "zh-CN"
    assert language_of(request(accept="zh", query=f"lang={unknown}")) == "zh-CN"


def test_only_a_known_choice_is_kept() -> None:
    for query, kept in (("lang=zh-CN", True), ("lang=tlh", False), ("", False)):
        response = Response()
        keep_choice(request(query=query), response)
        assert ("set-cookie" in response.headers) is kept
