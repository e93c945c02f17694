"""What every answer tells browsers about itself: one rule, over every address and every way to be refused."""

from __future__ import annotations

import pytest
from httpx2 import Response
from starlette.routing import Mount

from service.web.http.security_headers import DEFAULTS, completed
from tests.service.web.in_process import ADMIN, PAGE, TEXT, InProcess, key_of

NAMES = [name.decode() for name, _ in DEFAULTS]


def is_safe(answer: Response) -> bool:
    """Whether each default is there once, and says nothing weaker of content."""
    policy = answer.headers.get("content-security-policy", "")
    return (
        all(len(answer.headers.get_list(name)) == 1 for name in NAMES)
        and answer.headers["x-content-type-options"] == "nosniff"
        and "default-src 'none'" in policy
        and "frame-ancestors 'none'" in policy
        and "unsafe-inline" not in policy
    )


def test_every_address_answers_safely_in_every_form(app: InProcess) -> None:
    receipt = app.done()
    seen = set()
    for route in app.routes():
        path = str(getattr(route, "path", "")).replace("{job_id}", receipt["id"])
        if isinstance(route, Mount):
            path = {"/static": "/static/page.css", "/docs/assets": "/docs/assets/swagger-ui.css"}[path]
        if path.endswith("/events"):
            continue
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            for form in ({}, TEXT, PAGE):
                answer = app.client.request(method, path, headers=form | ADMIN)
                assert is_safe(answer), (method, path, form, answer.status_code, answer.headers)
                seen.add(answer.status_code)
    assert {200, 204, 404, 409} <= seen


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("PATCH", "/livez", 405),
        ("GET", "/metrics", 401),
        ("GET", "/static/nothing", 404),
        ("PUT", "/jobs", 405),
        ("POST", "/uploads?format=nonsense", 422),
    ],
)
def test_refusals_are_safe_too(app: InProcess, method: str, path: str, status: int) -> None:
    answer = app.client.request(method, path)

    assert (answer.status_code, is_safe(answer)) == (status, True)


def test_not_modified_and_partial_answers_are_safe(app: InProcess) -> None:
    result = app.done()["links"]["self"] + "/result"
    tag = app.client.get(result).headers["etag"]

    assert is_safe(app.client.get(result, headers={"If-None-Match": tag}))
    assert is_safe(app.client.get(result, headers={"Range": "bytes=0-1"}))


def test_browsers_are_told_to_stay_with_https_only_where_they_came_by_it(app: InProcess) -> None:
    assert app.client.get("https://testserver/livez").headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in app.client.get("http://testserver/livez").headers


def test_a_page_says_more_than_the_defaults_and_is_not_overruled(app: InProcess) -> None:
    answer = app.client.get("/", headers=PAGE)

    assert answer.headers["referrer-policy"] == "same-origin"
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_what_an_answer_sets_itself_stays() -> None:
    given = [(b"referrer-policy", b"origin"), (b"etag", b'"1"')]

    assert completed(given, is_secure=False)[:2] == given
    assert [name for name, _ in completed(given, is_secure=True)].count(b"referrer-policy") == 1


def test_a_deleted_job_is_told_of_safely(app: InProcess) -> None:
    receipt = app.put()

    assert is_safe(app.client.delete(f"/jobs/{receipt['id']}", headers=key_of(receipt)))
