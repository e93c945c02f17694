"""Status of one job and of many, and what owners change, over real routes and rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from service.web.documented.schemas import AcceptedJob, Job, JobPage, SeveralJobs
from storage.lifecycle import JobStatus
from tests.service.web.in_process import ADMIN, PAGE, TEXT, InProcess, from_address, key_of
from tests.storage.job_builder import change_row, find_row, one_of_each, running

UNKNOWN = "a" * 26


def url_of(receipt: dict[str, Any]) -> str:
    return f"/jobs/{receipt['id']}"


def test_a_status_has_three_forms(app: InProcess) -> None:
    url = url_of(app.put())

    json_, text, page = (app.client.get(url, headers=headers) for headers in ({}, TEXT, PAGE))

    assert json_.headers["content-type"] == "application/json"
    assert Job.model_validate(json_.json()).status is JobStatus.QUEUED
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text == "queued: a.txt, number 1 in line\n"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert all("Accept" in answer.headers["vary"] for answer in (json_, text, page))
    assert all(answer.headers["cache-control"] == "no-cache, private" for answer in (json_, text, page))


@pytest.mark.parametrize("headers", [{}, TEXT])
def test_a_status_that_has_not_changed_is_not_sent_again(app: InProcess, headers: dict[str, str]) -> None:
    receipt = app.put()
    tag = app.client.get(url_of(receipt), headers=headers).headers["etag"]

    again = app.client.get(url_of(receipt), headers=headers | {"If-None-Match": f'"x", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)

    app.bench.run()
    assert app.client.get(url_of(receipt), headers=headers | {"If-None-Match": tag}).status_code == 200


def test_no_two_forms_share_a_tag(app: InProcess) -> None:
    url = url_of(app.put())
    tag_of_json = app.client.get(url).headers["etag"]

    assert app.client.get(url, headers=TEXT | {"If-None-Match": tag_of_json}).status_code == 200


def test_retry_after_is_sent_until_the_job_has_ended(app: InProcess) -> None:
    receipt = app.put()
    assert app.client.get(url_of(receipt)).headers["retry-after"] == "1"
    app.bench.run()
    assert "retry-after" not in app.client.get(url_of(receipt)).headers


@pytest.mark.parametrize("job_id", [UNKNOWN, "A" * 26, "x", "..%2f..%2fetc", "1" * 26, "a" * 27])
@pytest.mark.parametrize("what", ["", "/result", "/original"])
def test_an_unknown_job_is_not_found(app: InProcess, job_id: str, what: str) -> None:
    answer = app.client.get(f"/jobs/{job_id}{what}")

    assert answer.status_code == 404


@pytest.mark.parametrize("what", ["", "/result", "/original"])
def test_an_expired_job_is_gone(app: InProcess, what: str) -> None:
    job_id = one_of_each(app.parts.database)[JobStatus.EXPIRED]

    app.refusal("GET", f"/jobs/{job_id}{what}", 410, "job_expired")


def test_a_job_whose_time_is_over_is_gone_before_the_sweep_has_been_there(app: InProcess) -> None:
    receipt = app.done()
    change_row(app.parts.database, receipt["id"], expires_at=int(time.time() * 1000) - 1)

    app.refusal("GET", url_of(receipt), 410, "job_expired")
    app.refusal("GET", url_of(receipt) + "/result", 410, "job_expired")


@pytest.mark.parametrize("what", ["cancel", "retry"])
def test_an_expired_job_cannot_be_changed_any_more_but_deleted(app: InProcess, what: str) -> None:
    receipt = app.done()
    change_row(app.parts.database, receipt["id"], expires_at=int(time.time() * 1000) - 1)

    app.refusal("POST", f"{url_of(receipt)}/{what}", 410, "job_expired", headers=key_of(receipt))
    assert app.client.delete(url_of(receipt), headers=key_of(receipt)).status_code == 204


@pytest.mark.parametrize("status", list(JobStatus)[:-1])
def test_every_status_can_be_shown(app: InProcess, status: JobStatus) -> None:
    job_id = one_of_each(app.parts.database)[status]

    assert app.status(job_id)["status"] == status
    assert app.client.get(f"/jobs/{job_id}", headers=TEXT).text.startswith(f"{status}: a.log")
    assert app.client.get(f"/jobs/{job_id}", headers=PAGE).status_code == 200


# Long-polls.


def in_background(function: Callable[[], Any]) -> threading.Timer:
    timer = threading.Timer(0.2, function)
    timer.start()
    return timer


@pytest.mark.parametrize(("params", "headers"), [({"wait": "20"}, {}), ({}, {"Prefer": "respond-async, wait=20"})])
def test_a_wait_ends_when_the_job_does(app: InProcess, params: dict[str, str], headers: dict[str, str]) -> None:
    receipt = app.put()
    began = time.monotonic()
    work = in_background(app.bench.run)

    answer = app.client.get(url_of(receipt), params=params, headers=headers)

    work.join()
    assert answer.json()["status"] == "succeeded"
    assert time.monotonic() - began < 15
    assert answer.headers.get("preference-applied") == ("wait=20" if headers else None)


@pytest.mark.parametrize("form", [{}, TEXT])
def test_a_wait_with_a_tag_ends_with_the_next_change(app: InProcess, form: dict[str, str]) -> None:
    receipt = app.put()
    tag = app.client.get(url_of(receipt), headers=form).headers["etag"]
    change = in_background(lambda: change_row(app.parts.database, receipt["id"], version=2))

    answer = app.client.get(url_of(receipt), params={"wait": "20"}, headers=form | {"If-None-Match": tag})

    change.join()
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag


def test_a_wait_with_an_old_tag_is_answered_at_once(app: InProcess) -> None:
    receipt = app.put()

    began = time.monotonic()
    answer = app.client.get(url_of(receipt), params={"wait": "20"}, headers={"If-None-Match": '"0"'})

    assert answer.status_code == 200
    assert time.monotonic() - began < 10


def test_a_wait_ends_when_the_job_is_deleted(app: InProcess) -> None:
    receipt = app.put()
    deletion = in_background(lambda: app.client.delete(url_of(receipt), headers=key_of(receipt)))

    app.refusal("GET", url_of(receipt) + "?wait=20", 404, "job_not_found")
    deletion.join()


def test_a_wait_in_vain_is_answered_not_modified(start: Callable[..., InProcess]) -> None:
    app = start(max_wait_seconds=0.3)
    receipt = app.put()
    tag = app.client.get(url_of(receipt)).headers["etag"]

    began = time.monotonic()
    answer = app.client.get(url_of(receipt), params={"wait": "500000"}, headers={"If-None-Match": tag})

    # As long as the server allows, whatever was asked for.
    assert 0.28 <= time.monotonic() - began < 10
    assert answer.status_code == 304


@pytest.mark.parametrize("wait", ["-1", "1.5", "x", "", "1e3", "9" * 7, "٣"])
def test_a_wait_that_is_no_number_is_refused(app: InProcess, wait: str) -> None:
    document = app.refusal("GET", url_of(app.put()), 422, "bad_option", params={"wait": wait})

    assert document["option"] == "wait"


@pytest.mark.parametrize("prefer", ["respond-async", "wait", "await=20", "wait=x"])
def test_other_preferences_are_ignored(app: InProcess, prefer: str) -> None:
    began = time.monotonic()
    answer = app.client.get(url_of(app.put()), headers={"Prefer": prefer})

    assert answer.status_code == 200
    assert time.monotonic() - began < 10


# Several jobs, and lists.


def test_several_jobs_come_in_one_answer_in_the_order_asked_for(app: InProcess) -> None:
    expired = one_of_each(app.parts.database)[JobStatus.EXPIRED]
    first, second = app.put(name="1.txt"), app.put(name="2.txt")
    ids = [second["id"], UNKNOWN, first["id"], expired, second["id"]]

    answer = app.client.get("/jobs", params={"ids": ",".join(ids)})

    assert [job["id"] for job in answer.json()["jobs"]] == [second["id"], first["id"]]
    assert answer.json()["missing"] == [UNKNOWN, expired]
    assert answer.headers["retry-after"] == "1"
    SeveralJobs.model_validate(answer.json())


def test_several_jobs_that_have_not_changed_are_not_sent_again(app: InProcess) -> None:
    ids = ",".join(app.put()["id"] for _ in range(2))
    tag = app.client.get("/jobs", params={"ids": ids}).headers["etag"]
    assert app.client.get("/jobs", params={"ids": ids}, headers={"If-None-Match": tag}).status_code == 304

    app.bench.run()

    assert app.client.get("/jobs", params={"ids": ids}, headers={"If-None-Match": tag}).status_code == 200


def test_one_wait_follows_several_jobs(app: InProcess) -> None:
    receipts = [app.put() for _ in range(2)]
    ids = ",".join(receipt["id"] for receipt in receipts)
    tag = app.client.get("/jobs", params={"ids": ids}).headers["etag"]

    work = in_background(app.bench.run)
    changed = app.client.get("/jobs", params={"ids": ids, "wait": "20"}, headers={"If-None-Match": tag})
    work.join()
    statuses = [job["status"] for job in changed.json()["jobs"]]
    assert statuses[0] in ("running", "succeeded")
    assert statuses[1] == "queued"

    work = in_background(app.bench.run)
    ended = app.client.get("/jobs", params={"ids": ids, "wait": "20"})
    work.join()
    assert [job["status"] for job in ended.json()["jobs"]] == ["succeeded"] * 2
    assert "retry-after" not in ended.headers


@pytest.mark.parametrize("ids", ["", ",", "x", f"{UNKNOWN},../x", ",".join(["b" * 26] * 2 + ["B" * 26])])
def test_ids_that_are_none_are_refused(app: InProcess, ids: str) -> None:
    assert app.refusal("GET", "/jobs", 422, "bad_option", params={"ids": ids})["option"] == "ids"


def test_a_list_of_ids_is_bounded(app: InProcess) -> None:
    app.refusal("GET", "/jobs", 422, "bad_option", params={"ids": ",".join(["a" * 26] * 501)})


def test_the_list_of_all_jobs_is_for_the_admin(app: InProcess) -> None:
    receipt = app.put()

    for headers in ({}, key_of(receipt), {"Authorization": "Bearer wrong"}):
        app.refusal("GET", "/jobs", 401, "admin_only", headers=headers)
    answer = app.client.get("/jobs", headers=ADMIN)
    assert [job["id"] for job in answer.json()["jobs"]] == [receipt["id"]]
    assert "manage_key" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    JobPage.model_validate(answer.json())


def test_a_refused_list_says_how_to_sign_in(app: InProcess) -> None:
    assert app.client.get("/jobs").headers["www-authenticate"] == "Bearer"


def test_a_cursor_leads_through_all_jobs_newest_first(app: InProcess) -> None:
    made = [app.put(name=f"{number}.txt")["name"] for number in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    sizes = []
    while True:
        page = app.client.get("/jobs", params=params, headers=ADMIN).json()
        seen += [job["name"] for job in page["jobs"]]
        sizes.append(len(page["jobs"]))
        # A job that comes in meanwhile shifts nothing.
        app.put(name="late.txt")
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]

    assert seen == made[::-1]
    assert sizes == [2, 2, 1]


def test_lists_are_filtered_by_status_and_by_name(app: InProcess) -> None:
    app.done(name="report 100%.txt")
    app.put(name="Report_2.txt")
    app.put(name="other.bin")

    def names(**params: str) -> list[str]:
        return [job["name"] for job in app.client.get("/jobs", params=params, headers=ADMIN).json()["jobs"]]

    assert names(status="succeeded") == ["report 100%.txt"]
    assert names(status="queued") == ["other.bin", "Report_2.txt"]
    assert names(q="report") == ["Report_2.txt", "report 100%.txt"]
    assert names(q="%") == ["report 100%.txt"]
    assert names(q="_") == ["Report_2.txt"]
    assert names(q="report", status="queued") == ["Report_2.txt"]
    assert names(q="nothing") == []


@pytest.mark.parametrize(
    ("params", "option"),
    [
        ({"status": "done"}, "status"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"q": "x" * 241}, "q"),
    ],
)
def test_filters_that_mean_nothing_are_refused(app: InProcess, params: dict[str, str], option: str) -> None:
    document = app.refusal("GET", "/jobs", 422, "bad_option", params=params, headers=ADMIN)

    assert document["option"] == option


# What owners change.


def test_a_queued_job_is_cancelled_at_once(app: InProcess) -> None:
    receipt = app.put()

    answer = app.client.post(url_of(receipt) + "/cancel", headers=key_of(receipt))

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert answer.json()["links"]["retry"] == f"{url_of(receipt)}/retry"
    Job.model_validate(answer.json())


def test_a_running_job_is_asked_to_stop(app: InProcess) -> None:
    receipt = app.put()
    app.bench.claim()

    answer = app.client.post(url_of(receipt) + "/cancel", headers=key_of(receipt))

    assert (answer.status_code, answer.json()["status"], answer.json()["cancel_requested"]) == (202, "running", True)


def test_cancelling_again_is_no_error_and_cancelling_what_has_ended_is_one(app: InProcess) -> None:
    receipt = app.put()
    for _ in range(2):
        assert app.client.post(url_of(receipt) + "/cancel", headers=key_of(receipt)).status_code == 200

    done = app.done()
    document = app.refusal("POST", url_of(done) + "/cancel", 409, "not_cancellable", headers=key_of(done))
    assert document["job_status"] == "succeeded"


def test_a_retry_takes_a_place_in_the_queue_unless_the_admin_asks(
    start: Callable[..., InProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.intake.admission.RECHECK_SECONDS", 0.0)
    app = start(max_queued_jobs=2, max_queued_jobs_per_address=1)
    stranger = from_address("198.51.100.7")
    cancelled = []
    for _ in range(3):
        cancelled.append(app.client.put("/uploads/f", content=b"x", headers=stranger).json())
        app.client.post(url_of(cancelled[-1]) + "/cancel", headers=key_of(cancelled[-1]))

    first, *others = (url_of(job) + "/retry" for job in cancelled)
    keys = [key_of(job) for job in cancelled]

    assert app.client.post(first, headers=keys[0]).status_code == 202
    app.refusal("POST", others[0], 429, "address_share", headers=keys[1])
    assert app.client.post(others[0], headers=ADMIN).status_code == 202
    app.refusal("POST", others[1], 503, "queue_full", headers=keys[2])


def test_a_cancelled_job_is_run_again(app: InProcess) -> None:
    receipt = app.put()
    app.client.post(url_of(receipt) + "/cancel", headers=key_of(receipt))

    answer = app.client.post(url_of(receipt) + "/retry", headers=key_of(receipt))

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert app.bench.run()["status"] == "succeeded"


@pytest.mark.parametrize("bring_there", [lambda app: app.put(), lambda app: app.done()])
def test_a_job_that_did_not_fail_is_not_run_again(app: InProcess, bring_there: Callable[[InProcess], Any]) -> None:
    receipt = bring_there(app)

    app.refusal("POST", url_of(receipt) + "/retry", 409, "not_retryable", headers=key_of(receipt))


def test_a_change_is_answered_in_full_whatever_the_client_has(app: InProcess) -> None:
    receipt = app.put()
    cancelled = app.client.post(url_of(receipt) + "/cancel", headers=key_of(receipt))

    again = app.client.post(
        url_of(receipt) + "/cancel", headers=key_of(receipt) | {"If-None-Match": cancelled.headers["etag"]}
    )

    assert again.status_code == 200


@pytest.mark.parametrize("ends", [False, True])
def test_a_deleted_job_leaves_nothing(app: InProcess, ends: bool) -> None:
    receipt = app.put()
    if ends:
        app.bench.run()
    assert app.bench.stored_keys()

    answer = app.client.delete(url_of(receipt), headers=key_of(receipt))

    assert (answer.status_code, answer.content) == (204, b"")
    assert find_row(app.parts.database, receipt["id"]) is None
    assert app.bench.stored_keys() == set()
    app.refusal("GET", url_of(receipt), 404, "job_not_found")
    app.refusal("DELETE", url_of(receipt), 404, "job_not_found", headers=key_of(receipt))


CHANGES = [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")]


@pytest.mark.parametrize(("method", "what"), CHANGES)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_changes_need_the_manage_key(app: InProcess, method: str, what: str, headers: dict[str, str]) -> None:
    receipt, other = app.put(), app.put()

    app.refusal(method, url_of(receipt) + what, 403, "key_needed", headers=headers)
    app.refusal(method, url_of(receipt) + what, 403, "key_needed", headers=key_of(other))
    app.refusal(method, url_of(receipt) + what, 403, "key_needed", params={"key": receipt["id"]})
    assert app.status(receipt)["version"] == 1


@pytest.mark.parametrize(("method", "what"), CHANGES)
def test_changes_of_an_unknown_job_are_not_found(app: InProcess, method: str, what: str) -> None:
    for job_id in (UNKNOWN, "x"):
        app.refusal(method, f"/jobs/{job_id}{what}", 404, "job_not_found", headers=ADMIN)


def test_the_manage_key_may_come_in_the_link_and_the_admin_may_do_it_all(app: InProcess) -> None:
    first, second = app.put(), app.put()

    assert app.client.post(f"{url_of(first)}/cancel", params={"key": first["manage_key"]}).status_code == 200
    assert app.client.post(f"{url_of(second)}/cancel", headers=ADMIN).status_code == 200
    assert app.client.delete(url_of(second), headers=ADMIN).status_code == 204


def test_a_status_never_shows_a_key(app: InProcess) -> None:
    receipt = app.put()
    AcceptedJob.model_validate(receipt)

    for headers in ({}, TEXT, PAGE):
        assert receipt["manage_key"] not in app.client.get(url_of(receipt), headers=headers | key_of(receipt)).text


def test_head_is_answered_like_get_without_the_body(app: InProcess) -> None:
    receipt = app.done()
    for url in (url_of(receipt), f"/jobs?ids={receipt['id']}", "/", "/limits", "/livez"):
        get, head = app.client.get(url), app.client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.headers.get("etag") == get.headers.get("etag")


def test_a_running_job_shows_its_progress(app: InProcess) -> None:
    job = running(app.parts.database)
    change_row(app.parts.database, job.id, phase="compressing", bytes_done=500, bytes_per_second=100, version=5)

    assert app.status(job.id)["progress"] == {
        "phase": "compressing",
        "percent": 47.5,
        "bytes_done": 500,
        "bytes_total": 1000,
        "bytes_per_second": 100,
        "eta_seconds": 5.0,
    }
