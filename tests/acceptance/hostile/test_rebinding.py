"""Pages of other sites: behind a name of their own, or with the cookie of a page of ours."""

from __future__ import annotations

from tests.acceptance.asking import ask, job_at
from tests.acceptance.hostile.attacker import hostile_ask, statuses
from tests.acceptance.hostile.victim import VICTIM, beside_victim
from tests.acceptance.raw_socket import END, FORM, part
from tests.acceptance.service_process import ServiceProcess

TRIES = 40
STRANGE = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:8000",
    "localhost@evil.example",
)
FOREIGN: tuple[dict[str, str], ...] = (
    {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
    {"Origin": "null"},
    {"Origin": "http://evil.example"},
    {"Sec_Fetch_Site": "same-site"},
    {},
)


def test_a_name_that_is_not_ours_is_answered_nothing(service: ServiceProcess) -> None:
    paths = (("/", "GET"), ("/uploads/f", "PUT"), ("/jobs", "GET"), ("/admin", "GET"))

    with beside_victim(service):
        answers = [
            hostile_ask(service, *paths[number % len(paths)], Host=STRANGE[number % len(STRANGE)])
            for number in range(TRIES)
        ]

    assert {status for status, _ in statuses(answers)} <= {400, 421}
    assert 421 in {answer.status for answer in answers}


def test_another_site_s_page_cannot_use_the_cookie(service: ServiceProcess) -> None:
    form = part("file", b"x", filename="a") + END
    name, _, value = FORM.partition(": ")
    own = {"X_Forwarded_For": VICTIM, "Accept": "text/html", "Origin": service.url, name: value}
    page = ask(f"{service.url}/uploads", "POST", form, **own)
    cookie, job_id = page.headers["Set-Cookie"].partition(";")[0], page.headers["Vacpack-Job-Id"]

    with beside_victim(service):
        answers = [
            ask(f"{service.url}/jobs/{job_id}/delete", "POST", X_Forwarded_For=VICTIM, Cookie=cookie, **foreign)
            for foreign in FOREIGN
        ]

    assert {status for status, _ in statuses(answers)} == {403}
    assert job_at(service.url, job_id)["id"] == job_id
    deleted = ask(
        f"{service.url}/jobs/{job_id}/delete", "POST", X_Forwarded_For=VICTIM, Cookie=cookie, Origin=service.url
    )
    assert deleted.status in (200, 204, 303)
