"""Addresses below a path, with a port or without one, in brackets: what is told leads back here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Scope

from service.web.addresses import settle
from tests.service.web.in_process import PAGE, TEXT, InProcess, key_of

AT = "/vacpack"
PUBLIC = "https://up.example/vacpack/"


def request(path: str, method: str = "GET") -> Scope:
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode()}


@pytest.mark.parametrize(
    ("path", "method", "settled"),
    [
        ("/vacpack/", "GET", "/"),
        ("/vacpack", "GET", "/"),
        ("/vacpack/uploads", "POST", "/uploads"),
        ("/vacpack/jobs/x/result", "GET", "/jobs/x/result"),
        ("/vacpack/jobs/x/", "GET", "/jobs/x"),
        ("/vacpack/vacpack", "PUT", "/vacpack"),
        # The proxy has taken it off.
        ("/", "GET", "/"),
        ("/uploads", "POST", "/uploads"),
        # A file of that name.
        ("/vacpack", "PUT", "/vacpack"),
        ("/vacpacks/jobs", "GET", "/vacpacks/jobs"),
        ("/uploads/", "PUT", "/uploads/"),
        ("/uploads/a/", "PUT", "/uploads/a/"),
    ],
)
def test_the_path_before_all_addresses_is_taken_off_once(path: str, method: str, settled: str) -> None:
    scope = settle(request(path, method), AT)

    assert (scope["path"], scope["raw_path"]) == (settled, settled.encode())


def test_an_encoded_path_is_taken_off_as_it_is_written() -> None:
    scope = {"type": "http", "method": "GET", "path": "/böx/jobs/é", "raw_path": b"/b%C3%B6x/jobs/%C3%A9"}

    settled = settle(scope, "/b%C3%B6x")

    assert (settled["path"], settled["raw_path"]) == ("/jobs/é", b"/jobs/%C3%A9")


@pytest.fixture
def below(start: Callable[..., InProcess]) -> InProcess:
    """A service that people know below a path."""
    return start(public_url=PUBLIC)


@pytest.mark.parametrize("before", ["", AT])
def test_everything_below_a_path_leads_there(below: InProcess, before: str) -> None:
    answer = below.client.post(f"{before}/uploads", files={"file": ("a.txt", b"hello " * 1000)})
    receipt = answer.json()
    assert below.bench.run()["status"] == "succeeded"

    assert answer.headers["location"] == f"{AT}/jobs/{receipt['id']}"
    assert set(filter(None, receipt["links"].values())) <= {
        f"https://up.example{AT}/jobs/{receipt['id']}{what}" for what in ("", "/events", "/cancel", "/original")
    }
    assert below.client.get(f"{before}/jobs/{receipt['id']}").json()["status"] == "succeeded"
    assert below.client.get(f"{before}/jobs/{receipt['id']}/original").content == b"hello " * 1000
    assert below.client.put(f"{before}/a.txt", content=b"x", headers=TEXT).text.startswith(
        f"https://up.example{AT}/jobs/"
    )
    assert below.client.delete(f"{before}/jobs/{receipt['id']}", headers=key_of(receipt)).status_code == 204


def test_pages_below_a_path_name_nothing_outside_it(below: InProcess) -> None:
    job = below.done()
    pages = [
        below.client.get("/", headers=PAGE),
        below.client.get(f"/jobs/{job['id']}", headers=PAGE | key_of(job)),
        below.client.get("/uplaods", headers=PAGE),
        below.client.get("/docs", headers=PAGE),
        below.client.post("/uploads", files={"file": b"x"}, headers=PAGE),
    ]

    for page in pages:
        found = re.findall(r'(?:href|src|action|formaction)="([^"#?]*)', page.text) + re.findall(
            r"url=([^\"]*)", page.text
        )
        assert [address for address in found if address and not address.startswith(f"{AT}/")] == []
        for address in re.findall(r'(?:href|src)="([^"]*\.(?:js|css|svg))"', page.text):
            assert below.client.get(address).status_code == 200, address
    assert f"Path={AT}/;" in below.client.get("/?lang=en", headers=PAGE).headers["set-cookie"] + ";"


def test_scripts_name_no_address_but_below_their_own(below: InProcess) -> None:
    page = below.client.get("/", headers=PAGE).text + below.client.get("/docs", headers=PAGE).text
    job_page = below.client.get(f"/jobs/{below.put()['id']}", headers=PAGE).text

    for script in set(re.findall(r"/static/(\w+\.js)", page + job_page)):
        text = below.client.get(f"/static/{script}").text
        assert re.findall(r"""["'`]/(?:jobs|uploads|openapi|docs|limits|static)\b""", text) == [], script


def test_the_manual_and_the_description_below_a_path_say_so(below: InProcess) -> None:
    manual = below.client.get("/").text

    assert set(re.findall(r"https?://[^ )\n]+", manual)) == {
        f"https://up.example{AT}{what}" for what in ("/", "/uploads", "/uploads/folder.tar", "/limits", "/docs")
    }
    assert below.client.get("/openapi.json").json()["servers"] == [{"url": AT}]
    assert f"GET {AT}/ tells" in below.client.get("/uplaods", headers=TEXT).text


def test_without_a_path_the_description_is_of_the_root(app: InProcess) -> None:
    assert app.client.get("/openapi.json").json()["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("host", ["[::1]:8000", "[2001:db8::7]", "up.example:8443", "127.0.0.1:8000"])
def test_links_begin_with_the_host_as_the_client_wrote_it(app: InProcess, host: str) -> None:
    text = app.client.put("/a.txt", content=b"x", headers=TEXT | {"Host": host}).text
    manual = app.client.get("/", headers={"Host": host}).text

    assert text.startswith(f"http://{host}/jobs/")
    assert f"curl -T big.log http://{host}/\n" in manual


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "%", "::1", "\\"])
def test_a_host_that_is_none_breaks_nothing(app: InProcess, host: str) -> None:
    for method, url in (("GET", "/uplaods"), ("PUT", "/jobs"), ("GET", "/"), ("PUT", "/a.txt")):
        assert app.client.request(method, url, headers={"Host": host}, content=b"x").status_code < 500


def test_json_that_names_paths_only_names_them_without_a_public_address(app: InProcess) -> None:
    links: dict[str, Any] = json.loads(app.client.put("/a.txt", content=b"x").content)["links"]

    assert links["self"].startswith("/jobs/")
