"""One row as clients see it: the document, its tag, and one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import job_document
from service.failures import FAILURES
from service.job_document import document, etag, line, percent, readable_duration, readable_size, timestamp
from service.web.documented.schemas import Job
from service.work.attempt import Attempt
from storage.database import Database
from storage.jobs.job_views import job_rows
from storage.lifecycle import JobStatus
from tests.service.work.bench import Bench
from tests.storage.job_builder import Row, change_row, one_of_each

MEBIBYTE = 1024 * 1024


def status_row(database: Database, job_id: str) -> Row:
    with database.read() as connection:
        return dict(job_rows(connection, [job_id])[0])


class Recorded(Attempt):
    """An attempt that keeps every state somebody could be shown."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.seen: list[Row] = []

    def _record(self) -> None:
        now = self.progress()
        self.seen.append({"phase": now.phase, "bytes_done": now.bytes_done})

    def enter(self, phase: str, *, bytes_done: int = 0) -> None:
        super().enter(phase, bytes_done=bytes_done)
        self._record()

    def advance(self, size_bytes: int) -> None:
        super().advance(size_bytes)
        self._record()


@pytest.mark.parametrize(
    ("format_name", "contents", "phases"),
    [
        ("auto", [b"text " * MEBIBYTE], {"probing", "compressing", "storing", "verifying"}),
        ("auto", [bytes(range(256)) + b"x"], {"probing"}),
        ("gzip", [b"text " * MEBIBYTE], {"compressing", "storing", "verifying"}),
        ("zip", [b"text " * 100_000, b"more " * 100_000], {"compressing", "storing", "verifying"}),
        ("tar.gz", [b"", b"one"], {"compressing", "verifying"}),
    ],
)
def test_percent_never_falls_in_an_attempt_and_is_below_100(
    bench: Bench, format_name: str, contents: list[bytes], phases: set[str]
) -> None:
    names = tuple(f"{number}.txt" for number in range(len(contents)))
    job_id = bench.submit(*contents, names=names, format=format_name)
    job, _ = bench.claim()
    attempt = Recorded(job.size_bytes)

    bench.processor().process(job, attempt)

    row = status_row(bench.database, job_id)
    assert percent(row) == 100.0
    shown = [percent({**row, "status": "running", **seen}) for seen in attempt.seen]
    assert phases <= {seen["phase"] for seen in attempt.seen}
    assert shown == sorted(shown)
    assert shown[-1] < 100


def test_every_status_fits_the_described_shape(database: Database) -> None:
    for status, job_id in one_of_each(database).items():
        shown = Job.model_validate(document(status_row(database, job_id)))
        assert shown.status is status


def test_links_lead_only_where_something_can_be_done(database: Database) -> None:
    jobs = one_of_each(database)
    links = {status: document(status_row(database, job_id))["links"] for status, job_id in jobs.items()}

    there = {status: {name for name, link in found.items() if link} - {"self"} for status, found in links.items()}
    assert there == {
        JobStatus.QUEUED: {"events", "cancel", "original"},
        JobStatus.RUNNING: {"events", "cancel", "original"},
        JobStatus.SUCCEEDED: {"events", "result", "original"},
        JobStatus.FAILED: {"events", "retry", "original"},
        JobStatus.CANCELLED: {"events", "retry", "original"},
        JobStatus.EXPIRED: set(),
    }
    queued = jobs[JobStatus.QUEUED]
    assert links[JobStatus.QUEUED]["cancel"] == f"/jobs/{queued}/cancel"


@pytest.mark.parametrize(
    ("code", "there"),
    [
        ("source_missing", set()),
        # A bit may have flipped on the way from the disk: another try may find it whole.
        ("source_damaged", {"retry"}),
        ("codec_failed", {"retry", "original"}),
    ],
)
def test_what_needs_an_upload_that_is_gone_has_no_link(database: Database, code: str, there: set[str]) -> None:
    row = dict(status_row(database, one_of_each(database)[JobStatus.FAILED]))

    links = document(row | {"error_code": code})["links"]

    assert {name for name, link in links.items() if link} == {"self", "events"} | there


def test_links_are_absolute_where_an_address_is_set(database: Database) -> None:
    job_id = one_of_each(database)[JobStatus.SUCCEEDED]

    links = document(status_row(database, job_id), "https://up.example")["links"]

    assert links["self"] == f"https://up.example/jobs/{job_id}"
    assert links["result"] == f"https://up.example/jobs/{job_id}/result"


def test_a_damaged_result_is_still_a_success_with_nothing_to_download(database: Database) -> None:
    job_id = one_of_each(database)[JobStatus.SUCCEEDED]
    change_row(database, job_id, result_damaged_at=1_764_000_000_123)

    row = status_row(database, job_id)
    found = document(row)

    Job.model_validate(found)
    assert (found["status"], found["result"]["damaged_at"]) == ("succeeded", "2025-11-24T16:00:00.123Z")
    assert {name for name, link in found["links"].items() if link} == {"self", "events"}
    assert line(row) == f"succeeded: {row['name']}, but the stored result is damaged or lost since"


def test_a_row_that_a_message_of_an_earlier_version_carries_has_no_such_column(database: Database) -> None:
    row = status_row(database, one_of_each(database)[JobStatus.SUCCEEDED])
    del row["result_damaged_at"]

    assert document(row)["result"]["damaged_at"] is None
    assert "damaged" not in line(row)


@pytest.mark.parametrize("code", [*FAILURES, "a_code_of_an_older_release"])
def test_a_failed_job_says_why(database: Database, code: str) -> None:
    job_id = one_of_each(database)[JobStatus.FAILED]
    change_row(database, job_id, error_code=code)

    error = document(status_row(database, job_id))["error"]

    assert error["code"] == code
    assert error["title"] == (FAILURES[code].title if code in FAILURES else "The job failed.")
    assert error["detail"] == "It broke."


def test_the_tag_changes_with_the_version_and_with_the_place_in_the_queue(database: Database) -> None:
    row = status_row(database, one_of_each(database)[JobStatus.QUEUED])

    tags = [
        etag(row | changes)
        for changes in ({}, {"version": 2}, {"queue_position": 2}, {"queue_position": None}, {"version": 12})
    ]
    assert len(set(tags)) == len(tags)
    assert etag({**row, "version": 1, "queue_position": 11}) != etag({**row, "version": 11, "queue_position": 1})


def test_each_status_has_a_line_for_people(database: Database) -> None:
    rows = {status: status_row(database, job_id) for status, job_id in one_of_each(database).items()}
    rows[JobStatus.RUNNING] |= {"phase": "compressing", "bytes_done": 500, "bytes_per_second": 100}
    rows[JobStatus.SUCCEEDED] |= {"started_at": 1000, "finished_at": 201_000}

    assert {str(status): line(row) for status, row in rows.items()} == {
        "queued": "queued: a.log, number 1 in line",
        "running": "running: a.log, compressing 47.5 %, 100 bytes/s, 5 s left",
        "succeeded": "succeeded: a.log, 1 kB -> 100 bytes, 90 % smaller, zstd, 3 min 20 s",
        "failed": "failed: a.log, codec_failed: It broke.",
        "cancelled": "cancelled: a.log",
        "expired": "expired: a.log",
    }


def test_a_job_that_just_started_has_a_line_too(database: Database) -> None:
    row = status_row(database, one_of_each(database)[JobStatus.RUNNING])

    assert line(row | {"phase": "starting", "bytes_per_second": None}) == "running: a.log, starting 0 %"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"stored_as_is": True}, "1 kB, kept as is: compressing would not make it smaller"),
        ({"result_size_bytes": 1500}, "1 kB -> 1.5 kB, 50 % larger, zstd, 0 s"),
        ({"result_size_bytes": 9, "source_size_bytes": 0}, "0 bytes -> 9 bytes, 0 % smaller, zstd, 0 s"),
    ],
)
def test_the_outcome_is_told_honestly(database: Database, changes: Row, outcome: str) -> None:
    row = status_row(database, one_of_each(database)[JobStatus.SUCCEEDED]) | {"started_at": 1, "finished_at": 2}

    assert line(row | changes) == f"succeeded: a.log, {outcome}"


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"status": "queued"}, 1),
        ({"status": "running", "bytes_per_second": None}, 1),
        ({"status": "running", "bytes_per_second": 100, "bytes_done": 200}, 2),
        ({"status": "running", "bytes_per_second": 1}, 30),
        ({"status": "succeeded"}, None),
        ({"status": "expired"}, None),
    ],
)
def test_asking_again_is_worth_while_after_a_part_of_what_is_left(
    database: Database, changes: Row, seconds: int | None
) -> None:
    row = status_row(database, one_of_each(database)[JobStatus.RUNNING]) | {"bytes_done": 0}

    assert job_document.retry_after_seconds(row | changes) == seconds


def test_times_are_rfc_3339_in_utc_to_the_millisecond() -> None:
    assert timestamp(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(None) is None


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1125, "1.13 kB"),
        (100_500, "101 kB"),
        (1_050_000, "1.05 MB"),
        (999_600, "1 MB"),
        (10**9, "1 GB"),
        (123_456_789_012, "123 GB"),
        (5 * 10**15, "5 PB"),
        (2**63 - 1, "9.22 EB"),
    ],
)
def test_sizes_are_read_in_three_digits(size_bytes: int, text: str) -> None:
    assert readable_size(size_bytes) == text


@given(st.integers(0, 2**63 - 1))
def test_no_size_is_shown_as_a_power_of_ten(size_bytes: int) -> None:
    assert "e" not in readable_size(size_bytes).split()[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (2.5, "3 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (604800, "7 days"),
        (-3, "0 s"),
    ],
)
def test_durations_are_read(seconds: float, text: str) -> None:
    assert readable_duration(seconds) == text
