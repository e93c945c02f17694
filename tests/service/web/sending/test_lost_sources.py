"""Jobs whose uploads are not in the store any more: nothing is offered that cannot work, and each refusal says why."""

from __future__ import annotations

import pytest

from tests.service.web.in_process import PAGE, InProcess, key_of
from tests.storage.job_builder import Row, change_row


def lost(app: InProcess) -> Row:
    """Upload a file, lose it, and let the job fail for that."""
    receipt = app.put()
    lose(app)
    assert app.bench.run()["error_code"] == "source_missing"
    return receipt


def lose(app: InProcess) -> None:
    for path in app.bench.files_dir.glob("s-*"):
        path.unlink()


def test_a_job_that_failed_for_its_source_offers_nothing_that_needs_it(app: InProcess) -> None:
    receipt = lost(app)
    document = app.status(receipt)
    page = app.client.get(f"/jobs/{receipt['id']}", headers=PAGE | key_of(receipt)).text

    assert (document["status"], document["error"]["code"]) == ("failed", "source_missing")
    assert [name for name, link in document["links"].items() if link] == ["self", "events"]
    for what in ("retry", "original", "result"):
        assert f'/{what}"' not in page
    assert f"/jobs/{receipt['id']}/delete" in page


@pytest.mark.parametrize("cause", ["failed", "cancelled"])
def test_what_could_only_fail_is_not_queued_again(app: InProcess, cause: str) -> None:
    if cause == "failed":
        receipt = lost(app)
    else:
        receipt = app.put()
        assert app.client.post(f"/jobs/{receipt['id']}/cancel", headers=key_of(receipt)).status_code == 200
        lose(app)

    refused = app.refusal("POST", f"/jobs/{receipt['id']}/retry", 410, "source_missing", headers=key_of(receipt))

    assert refused["detail"] == "It could only fail again. Send the file again."
    assert app.status(receipt)["status"] == cause
    app.refusal("GET", f"/jobs/{receipt['id']}/original", 410, "original_damaged")


@pytest.mark.parametrize(("method", "what"), [("POST", "retry"), ("GET", "original")])
@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_what_was_asked_for_in_vain_is_offered_no_more(app: InProcess, method: str, what: str, status: str) -> None:
    receipt = app.put()
    app.client.post(f"/jobs/{receipt['id']}/cancel", headers=key_of(receipt))
    if status == "failed":
        change_row(app.parts.database, receipt["id"], status="failed", error_code="codec_failed")
    before = app.status(receipt)
    lose(app)
    assert before["links"]["retry"]

    assert app.client.request(method, f"/jobs/{receipt['id']}/{what}", headers=key_of(receipt)).status_code == 410

    document = app.status(receipt)
    assert document["version"] == before["version"] + 1
    assert [name for name, link in document["links"].items() if link] == ["self", "events"]
    assert document["status"] == status
    assert (document["error"] or {}).get("code") == ("source_missing" if status == "failed" else None)
    page = app.client.get(f"/jobs/{receipt['id']}", headers=PAGE | key_of(receipt)).text
    for link in ("retry", "original"):
        assert f'/{link}"' not in page


def test_a_lost_source_is_noted_once_and_forgotten_where_it_was_brought_back(app: InProcess) -> None:
    receipt = app.put()
    app.client.post(f"/jobs/{receipt['id']}/cancel", headers=key_of(receipt))
    [path] = app.bench.files_dir.glob("s-*")
    aside = path.rename(app.bench.files_dir.parent / "aside")
    for _ in range(2):
        app.refusal("POST", f"/jobs/{receipt['id']}/retry", 410, "source_missing", headers=key_of(receipt))
    assert app.status(receipt)["version"] == 3
    aside.rename(path)

    assert app.client.post(f"/jobs/{receipt['id']}/retry", headers=key_of(receipt)).status_code == 202
    assert app.bench.run()["status"] == "succeeded"


def test_a_source_that_was_brought_back_is_worked_on(app: InProcess) -> None:
    receipt = app.put()
    [path] = app.bench.files_dir.glob("s-*")
    aside = path.rename(app.bench.files_dir.parent / "aside")
    assert app.bench.run()["error_code"] == "source_missing"
    aside.rename(path)

    assert app.client.post(f"/jobs/{receipt['id']}/retry", headers=key_of(receipt)).status_code == 202
    assert app.bench.run()["status"] == "succeeded"


def test_a_job_that_waits_without_its_source_can_be_cancelled(app: InProcess) -> None:
    receipt = app.put()
    lose(app)

    assert app.client.post(f"/jobs/{receipt['id']}/cancel", headers=key_of(receipt)).json()["status"] == "cancelled"


def test_a_result_that_is_gone_is_told_and_offered_no_more(app: InProcess) -> None:
    receipt = app.done()
    for path in app.bench.files_dir.glob("r-*"):
        path.unlink()

    app.refusal("GET", f"/jobs/{receipt['id']}/result", 410, "result_damaged")
    links = app.status(receipt)["links"]
    assert (links["result"], links["original"], links["retry"]) == (None, None, None)


def test_a_job_that_cannot_be_run_again_anyway_says_that(app: InProcess) -> None:
    receipt = app.done()

    app.refusal("POST", f"/jobs/{receipt['id']}/retry", 409, "not_retryable", headers=key_of(receipt))
