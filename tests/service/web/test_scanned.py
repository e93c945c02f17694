"""What clients see of uploads that are scanned: no byte of one goes out before it was found clean."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.headerregistry import Address
from pathlib import Path

import pytest

from service.telling.mail import Letterhead, compose
from service.telling.notify import Message
from service.telling.webhooks import body_of
from storage.jobs.job_views import job_rows
from tests.service.web.in_process import ADMIN, PAGE, InProcess, key_of
from tests.service.work.scanners import CLEAN, LOOKING, MALICIOUS, MARKER, scanner
from tests.storage.job_builder import Row, change_row

Start = Callable[..., InProcess]


@pytest.fixture
def scanning(start: Start) -> InProcess:
    """A service that scans; the worker's part is played by each test."""
    return start(scan_command="cat")


def found_malicious(app: InProcess, folder: Path) -> Row:
    receipt = app.put(b"some text " + MARKER)
    assert app.bench.run(scanner=scanner(folder, LOOKING))["error_code"] == "malicious"
    return receipt


def links_of(app: InProcess, receipt: Row) -> list[str]:
    return [name for name, link in app.status(receipt)["links"].items() if link]


def test_a_malicious_upload_is_gone_for_everybody_and_the_page_says_why(app: InProcess, tmp_path: Path) -> None:
    receipt = found_malicious(app, tmp_path)
    url = f"/jobs/{receipt['id']}"

    assert app.status(receipt)["error"] == {
        "code": "malicious",
        "title": "The upload was found to be malicious, and was removed.",
        "detail": "The file was found to be malicious, and was removed.",
    }
    assert links_of(app, receipt) == ["self", "events"]
    for method in ("GET", "HEAD"):
        assert app.client.request(method, f"{url}/original").status_code == 410
    app.refusal("GET", f"{url}/original", 410, "malicious")
    app.refusal("GET", f"{url}/original", 410, "malicious", headers={"Range": "bytes=0-3"})
    app.refusal("GET", f"{url}/result", 409, "no_result")
    for credential in (key_of(receipt), ADMIN):
        app.refusal("POST", f"{url}/retry", 410, "malicious", headers=credential)
    page = app.client.get(url, headers=PAGE | key_of(receipt)).text
    assert "found to be malicious" in page
    for what in ("retry", "original", "result"):
        assert f'/{what}"' not in page
    assert app.status(receipt)["error"]["code"] == "malicious", "whatever was asked for"
    assert list(app.bench.files_dir.glob("[sr]-*")) == []


def test_an_original_is_withheld_until_its_job_has_succeeded(scanning: InProcess, tmp_path: Path) -> None:
    receipt = scanning.put()
    url = f"/jobs/{receipt['id']}/original"
    assert receipt["links"]["original"] is None

    refused = scanning.client.get(url)
    scanning.bench.run(scanner=scanner(tmp_path, CLEAN))

    assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (409, "not_scanned", "1")
    assert scanning.client.get(url).content == b"hello " * 1000
    assert scanning.status(receipt)["links"]["original"] == url


@pytest.mark.parametrize("changes", [{"phase": "scanning"}, {"phase": "verifying"}])
def test_an_original_is_withheld_while_its_job_runs(scanning: InProcess, changes: Row) -> None:
    receipt = scanning.put()
    scanning.bench.claim()
    change_row(scanning.parts.database, receipt["id"], **changes)

    scanning.refusal("GET", f"/jobs/{receipt['id']}/original", 409, "not_scanned")
    assert "original" not in links_of(scanning, receipt)


@pytest.mark.parametrize("cause", ["cancelled", "scan_failed", "codec_failed"])
def test_an_original_is_withheld_for_good_where_no_result_says_that_it_is_clean(
    scanning: InProcess, cause: str
) -> None:
    receipt = scanning.put()
    scanning.client.post(f"/jobs/{receipt['id']}/cancel", headers=key_of(receipt))
    if cause != "cancelled":
        change_row(scanning.parts.database, receipt["id"], status="failed", error_code=cause)

    answer = scanning.client.get(f"/jobs/{receipt['id']}/original")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_scanned")
    assert "Retry-After" not in answer.headers
    assert links_of(scanning, receipt) == ["self", "events", "retry"]
    page = scanning.client.get(f"/jobs/{receipt['id']}", headers=PAGE | key_of(receipt)).text
    assert '/original"' not in page
    [listed] = scanning.client.get("/jobs", headers=ADMIN).json()["jobs"]
    assert listed["links"]["original"] is None


def test_without_a_scanner_an_original_is_given_at_once(app: InProcess) -> None:
    receipt = app.put()

    assert app.client.get(f"/jobs/{receipt['id']}/original").content == b"hello " * 1000
    assert receipt["links"]["original"]


def test_a_cancel_that_came_too_late_gives_nothing_back(app: InProcess, tmp_path: Path) -> None:
    receipt = app.put()
    job, attempt = app.bench.claim()
    app.client.post(f"/jobs/{receipt['id']}/cancel", headers=key_of(receipt))
    app.bench.processor(scanner=scanner(tmp_path, MALICIOUS)).process(job, attempt)

    assert app.status(receipt)["status"] == "cancelled"
    app.refusal("GET", f"/jobs/{receipt['id']}/original", 410, "malicious")
    app.refusal("POST", f"/jobs/{receipt['id']}/retry", 410, "malicious", headers=key_of(receipt))
    assert links_of(app, receipt) == ["self", "events"]


@pytest.mark.parametrize("scans", [False, True])
def test_messages_offer_no_original_that_would_be_refused(app: InProcess, tmp_path: Path, scans: bool) -> None:
    malicious, cancelled = found_malicious(app, tmp_path), app.put()
    app.client.post(f"/jobs/{cancelled['id']}/cancel", headers=key_of(cancelled))
    with app.parts.database.read() as connection:
        rows = {row["id"]: dict(row) for row in job_rows(connection, [malicious["id"], cancelled["id"]])}

    offered = {}
    for name, receipt in {"malicious": malicious, "cancelled": cancelled}.items():
        row = rows[receipt["id"]]
        letterhead = Letterhead(Address(addr_spec="vacpack@up.example"), "http://up.example", scans=scans)
        mail = compose(
            row, letterhead, message_id="m", recipient="a@b.example", language="en", now=datetime.now(UTC)
        ).as_string()
        hook = json.loads(body_of(Message("m", "http://a.example", "en", row), "", scans=scans))
        offered[name] = ("/original" in mail, hook["data"]["links"]["original"] is not None)

    assert offered == {"malicious": (False, False), "cancelled": (not scans, not scans)}
