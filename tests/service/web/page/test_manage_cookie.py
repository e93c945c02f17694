"""What a browser keeps of the forms it sent: the newest keys, in one cookie that is its host's own under HTTPS."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.service.web.in_process import PAGE, InProcess

OWN = PAGE | {"Sec-Fetch-Site": "same-origin"}


def sent(app: InProcess, base: str = "http://testserver") -> str:
    """Send a page's form as a browser does; return what its answer sets."""
    answer = app.client.post(f"{base}/uploads", files={"file": ("a.txt", b"x")}, headers=OWN)
    assert answer.status_code == 202
    return str(answer.headers["set-cookie"])


def test_a_browser_manages_every_job_it_sent(app: InProcess) -> None:
    first, second = ([sent(app), newest(app)][1] for _ in range(2))

    for job_id in (second, first):
        assert app.client.request("DELETE", f"/jobs/{job_id}", headers=OWN).status_code == 204


def newest(app: InProcess) -> str:
    [job, *_] = app.client.get("/jobs?limit=1", headers={"Authorization": "Bearer the-admin-token-of-tests"}).json()[
        "jobs"
    ]
    return str(job["id"])


def test_the_newest_twenty_are_kept(app: InProcess) -> None:
    values = [re.findall("[a-z2-7]{26}", sent(app)) for _ in range(22)]

    assert [len(keys) for keys in values] == [*range(1, 21), 20, 20]
    assert values[-1][1:] == values[-2][:-1]


def test_by_http_it_stays_below_the_path_that_people_know(start: Callable[..., InProcess]) -> None:
    cookie = sent(start())
    below = sent(start(public_url="http://up.example/vacpack"))

    assert re.fullmatch(r"vacpack_manage=[a-z2-7]{26}; HttpOnly; Max-Age=\d+; Path=/; SameSite=strict", cookie)
    assert "Path=/vacpack/;" in below


def test_by_https_it_is_the_hosts_own(start: Callable[..., InProcess]) -> None:
    direct = sent(start(), "https://testserver")
    behind_a_proxy = sent(start(public_url="https://up.example/vacpack"))

    for cookie in (direct, behind_a_proxy):
        assert re.fullmatch(
            r"__Host-vacpack_manage=[a-z2-7]{26}; HttpOnly; Max-Age=\d+; Path=/; SameSite=strict; Secure", cookie
        )


def test_what_is_no_key_in_a_cookie_is_passed_over(app: InProcess) -> None:
    for value in ("", ".", "x" * 26, "." * 5000, "a" * 4000, "\xff"):
        answer = app.client.get("/", headers={"Cookie": f"vacpack_manage={value}".encode("latin-1"), **PAGE})
        assert answer.status_code == 200
