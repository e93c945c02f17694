"""Which form a client gets, by the Accept headers that real ones send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.web.http.negotiation import Kind, kind_of, prefers_coding
from tests.service.web.asking import request_with

CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/png,image/svg+xml,*/*;q=0.8"
SAFARI = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
LYNX = "text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, Kind.JSON),
        ("*/*", Kind.JSON),  # curl, wget, requests, httpx
        (CHROME, Kind.HTML),
        (FIREFOX, Kind.HTML),
        (SAFARI, Kind.HTML),
        ("text/html", Kind.HTML),
        ("text/html, */*", Kind.HTML),
        ("application/json, text/plain, */*", Kind.JSON),  # axios
        ("application/json", Kind.JSON),
        ("application/problem+json", Kind.JSON),
        ("application/*", Kind.JSON),
        ("text/plain", Kind.TEXT),
        ("TEXT/PLAIN; charset=utf-8", Kind.TEXT),
        ("text/*", Kind.TEXT),
        ("text/plain, */*;q=0.1", Kind.TEXT),
        ("text/plain;q=0.2, text/html;q=0.9", Kind.HTML),
        ("text/html;q=0.5, */*", Kind.JSON),
        ("text/html;q=0, */*;q=0.1", Kind.JSON),
        ("application/json;q=0, text/*;q=0.5", Kind.TEXT),
        ("text/plain;q=0.5, application/json;q=0.5", Kind.JSON),
        ("image/png", Kind.JSON),
        ("", Kind.JSON),
        (",;q=,=;;", Kind.JSON),
        ("text/html;q=nan", Kind.JSON),
        ("text/html;q=high, text/plain;q=0.1", Kind.TEXT),
    ],
)
def test_a_client_gets_the_form_it_prefers(accept: str | None, kind: Kind) -> None:
    request = request_with({} if accept is None else {"Accept": accept})

    assert kind_of(request) is kind


def test_a_text_browser_that_likes_both_gets_a_readable_form() -> None:
    assert kind_of(request_with({"Accept": LYNX})) in (Kind.TEXT, Kind.HTML)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("*/*", Kind.TEXT), ("image/png", Kind.TEXT), (CHROME, Kind.HTML), ("application/json", Kind.JSON)],
)
def test_without_a_preference_the_default_of_the_address_counts(accept: str, kind: Kind) -> None:
    assert kind_of(request_with({"Accept": accept}), default=Kind.TEXT) is kind


@given(st.text(st.characters(max_codepoint=255), max_size=100))
def test_no_accept_header_is_an_error(text: str) -> None:
    request = request_with({"Accept": text, "Accept-Encoding": text})

    assert kind_of(request) in Kind
    assert prefers_coding(request, "gzip") in (True, False)


@pytest.mark.parametrize(
    ("accepted", "coding", "is_accepted"),
    [
        ("gzip, deflate, br, zstd", "zstd", True),
        ("gzip, deflate, br, zstd", "xz", False),
        ("deflate, gzip", "zstd", False),
        ("identity", "gzip", False),
        ("gzip;q=0", "gzip", False),
        ("gzip;q=0.001", "gzip", True),
        ("*", "zstd", True),
        ("*;q=0, gzip", "zstd", False),
        ("zstd;q=0, *", "zstd", False),
        ("GZIP", "gzip", True),
        ("", "gzip", False),
        (None, "gzip", False),
        # Weights: as it came is as good as a coding, unless it is said to be worse.
        ("zstd;q=0.5", "zstd", True),
        ("identity;q=1, zstd;q=0.5", "zstd", False),
        ("zstd;q=0.5, identity;q=0.6", "zstd", False),
        ("zstd;q=0.5, identity;q=0.5", "zstd", True),
        ("zstd, identity;q=0.5", "zstd", True),
        ("zstd, identity", "zstd", True),
        ("gzip, identity, zstd;q=0.9", "zstd", False),
        ("zstd, gzip;q=0.9, identity;q=0", "zstd", True),
        ("identity;q=0", "zstd", False),
        ("identity;q=0, *", "zstd", True),
        ("*;q=0", "zstd", False),
        ("*;q=0, zstd;q=0.1", "zstd", True),
        ("*;q=0.5, zstd;q=0.3", "zstd", False),
        ("*;q=0.5, zstd;q=0.3, identity;q=0.2", "zstd", True),
        ("*;q=0.5, identity;q=0.9", "zstd", False),
        ("*;q=0.5", "zstd", True),
        # Names, spaces, other spellings.
        ("x-gzip", "gzip", True),
        ("x-gzip;q=0, gzip", "gzip", True),
        ("x-gzip, gzip;q=0", "gzip", False),
        ("x-zstd", "zstd", False),
        ("  ZStd ; Q=0.4 ,\tIDENTITY;q = 0.3", "zstd", True),
        (",,zstd,,", "zstd", True),
        ("zstdx, xzstd", "zstd", False),
        ("zstd;q=lots", "zstd", False),
        ("zstd;q=", "zstd", False),
        ("zstd;q=-1", "zstd", False),
        ("zstd;q=nan", "zstd", False),
        ("zstd;q=5", "zstd", True),
        ("zstd;level=3", "zstd", True),
    ],
)
def test_a_coding_is_sent_only_to_who_can_undo_it(accepted: str | None, coding: str, is_accepted: bool) -> None:
    request = request_with({} if accepted is None else {"Accept-Encoding": accepted})

    assert prefers_coding(request, coding) is is_accepted


def test_a_list_on_several_lines_is_one_list() -> None:
    def asking(*lines: tuple[str, str]) -> Request:
        request = request_with({})
        return Request(request.scope | {"headers": [(name.encode(), value.encode()) for name, value in lines]})

    assert prefers_coding(asking(("accept-encoding", "gzip"), ("accept-encoding", "zstd")), "zstd")
    assert not prefers_coding(asking(("accept-encoding", "zstd;q=0.5"), ("accept-encoding", "identity")), "zstd")
    assert kind_of(asking(("accept", "image/png"), ("accept", "text/plain"))) is Kind.TEXT
