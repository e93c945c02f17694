"""Conditional requests: each precondition by itself, and their order of precedence (RFC 9110, 13.2.2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ServiceError
from service.web.http.preconditions import is_not_modified
from service.web.page.pages import STATIC
from tests.service.payloads import noise, text
from tests.service.web.asking import request_with
from tests.service.web.in_process import ADMIN, TEXT, InProcess, key_of

TAG = '"t"'
MODIFIED = datetime(2026, 11, 21, 20, tzinfo=UTC)
EARLIER, SAME, LATER = (
    format_datetime(MODIFIED + timedelta(seconds=seconds), usegmt=True) for seconds in (-1, 0, 3600)
)
SEND, KEPT, FAILED = 200, 304, 412


def outcome(headers: dict[str, str], *, etag: str | None = TAG, is_dated: bool = False) -> int:
    modified_at = int(MODIFIED.timestamp()) if is_dated else None
    try:
        return KEPT if is_not_modified(request_with(headers), etag, modified_at=modified_at) else SEND
    except ServiceError as error:
        return error.kind.status


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, SEND),
        ({"If-Match": TAG}, SEND),
        ({"If-Match": "*"}, SEND),
        ({"If-Match": f'"a", {TAG}'}, SEND),
        ({"If-Match": '"a"'}, FAILED),
        ({"If-Match": f"W/{TAG}"}, FAILED),  # strongly compared
        ({"If-Match": "t"}, FAILED),
        ({"If-Match": ""}, FAILED),
        ({"If-None-Match": TAG}, KEPT),
        ({"If-None-Match": f"W/{TAG}"}, KEPT),  # weakly compared
        ({"If-None-Match": "*"}, KEPT),
        ({"If-None-Match": f'"a",W/"b" , {TAG}'}, KEPT),
        ({"If-None-Match": '"a"'}, SEND),
        ({"If-None-Match": '"a, t"'}, SEND),
        ({"If-None-Match": "t"}, SEND),
        ({"If-None-Match": ""}, SEND),
        # Precedence.
        ({"If-Match": '"a"', "If-None-Match": TAG}, FAILED),
        ({"If-Match": TAG, "If-None-Match": TAG}, KEPT),
        ({"If-Match": TAG, "If-None-Match": '"a"'}, SEND),
        # Dates of what has none.
        ({"If-Unmodified-Since": EARLIER}, SEND),
        ({"If-Modified-Since": LATER}, SEND),
    ],
)
def test_tags_decide_where_there_are_no_dates(headers: dict[str, str], expected: int) -> None:
    assert outcome(headers) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"If-Unmodified-Since": EARLIER}, FAILED),
        ({"If-Unmodified-Since": SAME}, SEND),
        ({"If-Unmodified-Since": LATER}, SEND),
        ({"If-Modified-Since": EARLIER}, SEND),
        ({"If-Modified-Since": SAME}, KEPT),
        ({"If-Modified-Since": LATER}, KEPT),
        ({"If-Modified-Since": "yesterday"}, SEND),
        ({"If-Modified-Since": ""}, SEND),
        ({"If-Modified-Since": "Sat, 99 Nov 2026 20:00:00 GMT"}, SEND),
        ({"If-Modified-Since": "Sat, 21 Nov 99999999999 20:00:00 GMT"}, SEND),
        ({"If-Unmodified-Since": "tomorrow"}, SEND),
        # A tag is asked instead of a date.
        ({"If-Match": TAG, "If-Unmodified-Since": EARLIER}, SEND),
        ({"If-Match": '"a"', "If-Unmodified-Since": LATER}, FAILED),
        ({"If-None-Match": '"a"', "If-Modified-Since": LATER}, SEND),
        ({"If-None-Match": TAG, "If-Modified-Since": EARLIER}, KEPT),
        ({"If-Unmodified-Since": EARLIER, "If-None-Match": TAG}, FAILED),
    ],
)
def test_dates_decide_where_no_tag_does(headers: dict[str, str], expected: int) -> None:
    assert outcome(headers, is_dated=True) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({"If-Match": TAG}, FAILED), ({"If-Match": "*"}, SEND), ({"If-None-Match": TAG}, SEND), ({}, SEND)],
)
def test_what_has_no_tag_is_named_by_none(headers: dict[str, str], expected: int) -> None:
    assert outcome(headers, etag=None) == expected


def of_result(app: InProcess) -> str:
    return f"/jobs/{app.done(text(100_000), format='zstd')['id']}/result"


def of_transcoded(app: InProcess) -> str:
    return of_result(app) + "?format=gzip"


def of_decoded(app: InProcess) -> str:
    return of_result(app).replace("result", "original")


def of_kept(app: InProcess) -> str:
    return f"/jobs/{app.done(noise(100_000))['id']}/original"


def of_source(app: InProcess) -> str:
    return f"/jobs/{app.put(text(100_000))['id']}/original"


def of_status(app: InProcess) -> str:
    return f"/jobs/{app.put()['id']}"


def of_several(app: InProcess) -> str:
    return f"/jobs?ids={app.put()['id']},{app.put()['id']}"


def of_static(app: InProcess) -> str:
    return "/static/" + min(path.name for path in STATIC.iterdir() if path.is_file())


EVERYTHING = [of_result, of_transcoded, of_decoded, of_kept, of_source, of_status, of_several, of_static]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("what", EVERYTHING)
def test_every_route_with_a_tag_heeds_preconditions_before_ranges(
    app: InProcess, what: Callable[[InProcess], str], method: str
) -> None:
    url = what(app)
    tag = app.client.get(url).headers["etag"]

    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = app.client.request(method, url, headers=named)
        if answer.status_code == 304:
            assert (answer.content, answer.headers["etag"]) == (b"", tag)
            assert "content-range" not in answer.headers
        return answer.status_code

    assert status(If_Match=tag) == status(If_Match=f'"x", {tag}') == status(If_Match="*") == 200
    assert status(If_Match='"x"') == status(If_Match=f"W/{tag}") == 412
    assert status(If_Match='"x"', If_None_Match=tag, Range="bytes=0-1") == 412
    assert status(If_None_Match=tag) == status(If_None_Match=f"W/{tag}") == status(If_None_Match="*") == 304
    assert status(If_None_Match=tag, Range="bytes=0-1") == status(If_None_Match=tag, Range="bytes=999999999-") == 304
    assert status(If_None_Match='"x"', If_Match=tag) == 200


@pytest.mark.parametrize("what", [of_result, of_kept, of_source, of_static])
def test_a_range_is_sent_only_of_the_version_it_is_of(app: InProcess, what: Callable[[InProcess], str]) -> None:
    url = what(app)
    whole = app.client.get(url)
    tag = whole.headers["etag"]
    asked = {"Range": "bytes=2-5"}

    part = app.client.get(url, headers=asked | {"If-Range": tag, "If-Match": tag, "If-None-Match": '"x"'})

    size = len(whole.content)
    assert (part.status_code, part.headers["content-range"]) == (206, f"bytes 2-5/{size}")
    assert part.content == whole.content[2:6]
    for other in ('"x"', f"W/{tag}", whole.headers.get("last-modified", LATER), EARLIER):
        assert app.client.get(url, headers=asked | {"If-Range": other}).content == whole.content
    assert app.client.head(url, headers=asked).status_code == 200
    beyond = app.client.get(url, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert app.client.get(url, headers={"Range": f"bytes={size}-", "If-Range": '"x"'}).status_code == 200
    for ignored in ("bytes=0-1,3-4", "lines=1-2", "bytes=5-2", "bytes"):
        assert app.client.get(url, headers={"Range": ignored}).status_code == 200


@pytest.mark.parametrize("what", [of_transcoded, of_decoded])
def test_what_is_made_while_it_is_sent_has_no_ranges_and_says_so(
    app: InProcess, what: Callable[[InProcess], str]
) -> None:
    url = what(app)
    tag = app.client.get(url).headers["etag"]

    for headers in ({}, {"If-Range": tag}):
        answer = app.client.get(url, headers={"Range": "bytes=0-1"} | headers)
        assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
        assert "content-range" not in answer.headers


def test_our_own_files_have_dates(app: InProcess) -> None:
    url = of_static(app)
    modified = app.client.get(url).headers["last-modified"]
    before = format_datetime(
        datetime.fromtimestamp((STATIC / url.removeprefix("/static/")).stat().st_mtime, UTC) - timedelta(1), usegmt=True
    )

    assert app.client.get(url, headers={"If-Modified-Since": modified}).status_code == 304
    assert app.client.get(url, headers={"If-Modified-Since": before}).status_code == 200
    assert app.client.get(url, headers={"If-Unmodified-Since": modified}).status_code == 200
    app.refusal("GET", url, 412, "precondition_failed", headers={"If-Unmodified-Since": before})


@pytest.mark.parametrize("path", ["/jobs/" + "a" * 26, "/jobs/" + "a" * 26 + "/result", "/nothing/here"])
def test_where_there_would_be_an_error_anyway_that_is_the_answer(app: InProcess, path: str) -> None:
    for headers in ({"If-Match": '"x"'}, {"If-Match": "*"}, {"If-None-Match": "*"}):
        assert app.client.get(path, headers=headers).status_code == 404
    receipt = app.put()
    assert app.client.get(f"/jobs/{receipt['id']}/result", headers={"If-Match": '"x"'}).status_code == 409


def test_the_list_of_all_has_no_tag(app: InProcess) -> None:
    assert app.client.get("/jobs", headers=ADMIN).status_code == 200
    app.refusal("GET", "/jobs", 412, "precondition_failed", headers=ADMIN | {"If-Match": '"1"'})
    assert app.client.get("/jobs", headers=ADMIN | {"If-Match": "*"}).status_code == 200


CHANGES = [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""), ("POST", "/delete")]


@pytest.mark.parametrize("accepted", [{}, TEXT], ids=["JSON", "text"])
@pytest.mark.parametrize(("method", "command"), CHANGES)
def test_a_change_is_made_at_the_version_it_is_meant_for_only(
    app: InProcess, method: str, command: str, accepted: dict[str, str]
) -> None:
    receipt = app.put()
    url, key = f"/jobs/{receipt['id']}", key_of(receipt)
    old = app.client.get(url, headers=accepted).headers["etag"]
    if command == "/retry":
        app.client.post(url + "/cancel", headers=key)
    else:
        app.bench.claim()

    def change(tags: str) -> int:
        return app.client.request(method, url + command, headers=key | {"If-Match": tags}).status_code

    before = app.status(receipt)
    assert change(old) == change('"x"') == change(f"W/{old}") == change("") == 412
    assert app.status(receipt) == before
    now = app.client.get(url, headers=accepted).headers["etag"]
    assert change(f"{old}, {now}") in (200, 202, 204)


@pytest.mark.parametrize(("method", "command"), CHANGES)
def test_who_may_not_change_a_job_learns_nothing_of_its_version(app: InProcess, method: str, command: str) -> None:
    url = f"/jobs/{app.put()['id']}{command}"

    app.refusal(method, url, 403, "key_needed", headers={"If-Match": '"x"'})


def test_a_job_is_not_deleted_if_it_must_not_be_what_it_is(app: InProcess) -> None:
    receipt = app.put()
    url = f"/jobs/{receipt['id']}"
    tag = app.client.get(url).headers["etag"]

    app.refusal("DELETE", url, 412, "precondition_failed", headers=key_of(receipt) | {"If-None-Match": tag})

    assert app.client.delete(url, headers=key_of(receipt) | {"If-None-Match": '"x"'}).status_code == 204


@pytest.mark.parametrize(("method", "url"), [("PUT", "/f"), ("PUT", "/uploads/f"), ("POST", "/uploads"), ("PUT", "/")])
def test_an_upload_replaces_nothing(app: InProcess, method: str, url: str) -> None:
    for tags in ("*", '"x"'):
        app.refusal(method, url, 412, "precondition_failed", content=b"x", headers={"If-Match": tags})
    assert app.bench.stored_keys() == set()

    made: Any = app.client.request(method, url, content=b"x", headers={"If-None-Match": "*"})

    assert made.status_code == 202


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_precondition_is_an_error_of_ours(given_text: str) -> None:
    for name in ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"):
        assert outcome({name: given_text}, is_dated=True) in (SEND, KEPT, FAILED)
