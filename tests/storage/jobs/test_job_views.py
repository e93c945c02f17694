"""What is read of jobs, and that reading and claiming cost the same beside twenty thousand ended jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from storage.database import Database
from storage.ids import Key, new_source_key, random_id, result_key
from storage.jobs import job_attempts, job_rescue, job_table, job_views
from storage.jobs.job_views import STATUS_COLUMNS, STATUS_SQL, Backlog, JobFilter
from storage.lifecycle import JobStatus
from storage.models import jobs
from tests.storage.job_builder import (
    HOUR,
    act,
    attempts_of,
    bring_to,
    change_row,
    claim,
    everything,
    fail,
    finish,
    new_source,
    now,
    row_of,
    running,
    submit,
)


def status(database: Database, job_id: str) -> dict[str, Any] | None:
    reader = database.reader()
    row = reader.execute(STATUS_SQL, (job_id,)).fetchone()
    reader.close()
    return row and dict(zip(STATUS_COLUMNS, row, strict=True))


def position(database: Database, job_id: str) -> int | None:
    row = status(database, job_id)
    assert row is not None
    place: int | None = row["queue_position"]
    return place


def listed(database: Database, **wanted: Any) -> list[str]:
    with database.read() as connection:
        return [row["id"] for row in job_views.list_jobs(connection, JobFilter(**wanted))]


def unnamed(database: Database, keys: list[Key]) -> list[Key]:
    with database.read() as connection:
        return job_views.unnamed(connection, keys)


@pytest.mark.parametrize("wanted", JobStatus)
def test_the_status_row_is_the_whole_row_and_the_place_in_the_queue(database: Database, wanted: JobStatus) -> None:
    job_id = bring_to(database, wanted)
    expected = row_of(database, job_id) | {
        "queue_position": 1 if wanted is JobStatus.QUEUED else None,
        "waiting_for": None,
    }

    assert status(database, job_id) == expected
    with database.read() as connection:
        assert [dict(row) for row in job_views.job_rows(connection, [job_id, "nobody"])] == [expected]


def test_an_unknown_job_has_no_status_row(database: Database) -> None:
    assert status(database, "nobody") is None


def test_place_one_is_next_and_places_follow_the_order_of_claims(database: Database) -> None:
    ids = [submit(database) for _ in range(4)]
    for job_id, run_at in zip(ids, (50, 40, 50, 30), strict=True):
        change_row(database, job_id, run_at=run_at)
    places = {job_id: position(database, job_id) for job_id in ids}

    assert [places[job_id] for job_id in ids] == [3, 2, 4, 1]
    claimed = [job.id for job in iter(lambda: claim(database), None)]
    assert claimed == sorted(ids, key=lambda job_id: places[job_id] or 0)


def test_places_move_up_when_a_job_leaves_the_queue(database: Database) -> None:
    first, second, third = (submit(database) for _ in range(3))
    act(database, lambda connection: job_table.cancel(connection, second))

    assert [position(database, job_id) for job_id in (first, second, third)] == [1, None, 2]


def test_lists_are_newest_first_and_go_on_from_a_row(database: Database) -> None:
    ids = [submit(database) for _ in range(5)]
    third = row_of(database, ids[2])["seq"]

    assert listed(database) == ids[::-1]
    assert listed(database, limit=2) == [ids[4], ids[3]]
    assert listed(database, before_seq=third) == [ids[1], ids[0]]


def test_lists_show_one_status_or_a_part_of_a_name(database: Database) -> None:
    ended = bring_to(database, JobStatus.FAILED)
    percent = submit(database, name="100%_Sure.log")
    plain = submit(database, name="100 a sure.log")

    assert listed(database, status=JobStatus.FAILED) == [ended]
    assert listed(database, status=JobStatus.QUEUED, name_contains="SURE") == [plain, percent]
    assert listed(database, name_contains="0%_s") == [percent]
    assert listed(database, status=JobStatus.EXPIRED) == []


def test_sources_and_attempts_come_in_their_order(database: Database) -> None:
    other = running(database)
    job = running(database, sources=(new_source(name="b"), new_source(name="a")), max_attempts=3)
    fail(database, job)
    again = claim(database)
    assert again is not None
    finish(database, other)
    with database.read() as connection:
        names = [row["name"] for row in job_views.job_sources(connection, job.id)]

    assert names == ["b", "a"]
    assert [(row["epoch"], row["outcome"]) for row in attempts_of(database, job.id)] == [(1, "failed"), (2, None)]


def test_the_backlog_of_an_empty_table_is_nothing(database: Database) -> None:
    bring_to(database, JobStatus.SUCCEEDED)
    with database.read() as connection:
        assert job_views.backlog(connection) == Backlog(0, 0, 0, 0.0)


def test_the_backlog_counts_what_waits_and_what_runs(database: Database) -> None:
    running(database, sources=(new_source(size_bytes=70),))
    oldest = submit(database, sources=(new_source(size_bytes=500),))
    submit(database, sources=(new_source(size_bytes=30),))
    change_row(database, oldest, created_at=now(database) - 60_000)
    with database.read() as connection:
        backlog = job_views.backlog(connection)

    assert (backlog.queued, backlog.running, backlog.source_bytes) == (2, 1, 600)
    assert 60 <= backlog.oldest_queued_seconds < 70


def test_a_clock_that_went_back_makes_no_negative_age(database: Database) -> None:
    change_row(database, submit(database), created_at=now(database) + HOUR)
    with database.read() as connection:
        assert job_views.backlog(connection).oldest_queued_seconds == 0


def test_keys_that_rows_name_are_kept_and_others_are_not(database: Database) -> None:
    queued = submit(database)
    source = Key(everything(database)["sources"][0]["key"])
    change_row(database, queued, run_at=now(database) + HOUR)
    ended = running(database)
    finish(database, ended)
    kept_as_is = running(database)
    finish(database, kept_as_is, key=kept_as_is.sources[0].key, stored_as_is=True)
    orphans = [new_source_key(), result_key(random_id(), 1), result_key(ended.id, 2), ended.sources[0].key]
    named = [source, result_key(ended.id, 1), kept_as_is.sources[0].key]

    assert unnamed(database, [*named, *orphans]) == orphans
    assert unnamed(database, []) == []


def test_what_the_running_attempt_writes_is_kept_and_what_earlier_ones_wrote_is_not(database: Database) -> None:
    job = running(database)
    fail(database, job)
    again = claim(database)
    assert again is not None
    written = [result_key(job.id, epoch) for epoch in (1, 2, 3)]

    assert unnamed(database, written) == [written[0], written[2]]
    fail(database, again)
    assert unnamed(database, written) == written


def test_more_keys_may_be_asked_for_than_a_statement_takes(database: Database) -> None:
    job = running(database)
    orphans = [result_key(random_id(), 1) for _ in range(40_000)]

    assert unnamed(database, [*orphans, result_key(job.id, 1)]) == orphans


QUEUED, RUNNING = 40, 4


def fill(database: Database, count: int) -> None:
    """Enter so many ended jobs, none of them due, and the same few that wait and run whatever the count."""
    columns = """id, manage_key_digest, name, format, level, ttl_milliseconds, source_size_bytes, source_files,
        max_attempts, epoch, attempts, created_at, run_at, status, finished_at, expires_at, result_key, lease_owner,
        lease_expires_at"""
    ended = f"""INSERT INTO jobs({columns}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        SELECT 'job' || i, '', 'n', 'zstd', 'fast', 1, 1, 1, 3, 1, 1, i, i,
        CASE i % 20 WHEN 0 THEN 'failed' WHEN 1 THEN 'cancelled' WHEN 2 THEN 'expired' ELSE 'succeeded' END,
        i, 9000000000000 + i, 'r-job' || i || '.1', NULL, NULL FROM n"""
    with database.transaction() as connection:
        connection.exec_driver_sql(ended, (count,))
        connection.exec_driver_sql("INSERT INTO sources(job_seq, position, key, name, size_bytes) "
                                   "SELECT seq, 0, 's-' || id, 'n', 1 FROM jobs")  # fmt: skip
    for _ in range(QUEUED + RUNNING):
        submit(database)
    for _ in range(RUNNING):
        assert claim(database) is not None


READS_AND_CHANGES: dict[str, Callable[[Connection], object]] = {
    "claim": lambda connection: job_attempts.claim(connection, "w", lease_milliseconds=1, is_idle=True),
    "status": lambda connection: connection.exec_driver_sql(STATUS_SQL, ("job7",)).all(),
    "status of many": lambda connection: job_views.job_rows(connection, ["job7", "job8", "nobody"]),
    "backlog": job_views.backlog,
    "newest": lambda connection: job_views.list_jobs(connection, JobFilter()),
    "expire": lambda connection: job_table.expire(connection, grave_milliseconds=1, limit=100),
    "prune": lambda connection: job_table.prune(connection, limit=100),
    "rescue_lapsed": job_rescue.rescue_lapsed,
    "rescue_worker": lambda connection: job_rescue.rescue_worker(connection, "w", is_blamed=True, max_losses=3),
    "unnamed": lambda connection: job_views.unnamed(
        connection, [Key(key) for key in ("s-job5", "s-nobody", "r-job5.1", "r-job5.2")]
    ),
}
INDEX = {
    "claim": "q USING COVERING INDEX ix_jobs_ready (status=?)",
    "status": "ahead USING COVERING INDEX ix_jobs_ready (status=? AND turn<?)",
    "expire": "jobs USING COVERING INDEX ix_jobs_expiry (status=? AND expires_at<?)",
    "prune": "jobs USING COVERING INDEX ix_jobs_expiry (status=? AND expires_at<?)",
    "rescue_lapsed": "jobs USING COVERING INDEX ix_jobs_lease (status=? AND lease_expires_at<?)",
    "unnamed": "sources USING COVERING INDEX ix_sources_key (key=?)",
}


def steps_and_plans(database: Database, action: Callable[[Connection], object]) -> tuple[int, list[str]]:
    """Run it and roll it back; return how many hundred instructions SQLite took, and the plans of its statements."""
    statements: list[tuple[str, Any]] = []
    steps = 0

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        statements.append((statement, parameters))

    def tick() -> int:
        nonlocal steps
        steps += 1
        return 0

    with database.engine.connect() as connection, connection.begin() as transaction:
        action(connection)
        transaction.rollback()
    with database.engine.connect() as connection, connection.begin() as transaction:
        driver = connection.connection.driver_connection
        assert driver is not None
        event.listen(connection, "before_cursor_execute", note)
        driver.set_progress_handler(tick, 10)
        action(connection)
        driver.set_progress_handler(None, 10)
        event.remove(connection, "before_cursor_execute", note)
        transaction.rollback()
    reader = database.reader()
    plans = [
        line[3]
        for statement, parameters in statements
        for line in reader.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]
    reader.close()
    return steps, plans


def test_nothing_costs_more_beside_twenty_thousand_ended_jobs(database: Database) -> None:
    fill(database, 200)
    small = {name: steps_and_plans(database, action)[0] for name, action in READS_AND_CHANGES.items()}
    act(database, lambda connection: connection.execute(jobs.delete()))
    fill(database, 20_000)

    for name, action in READS_AND_CHANGES.items():
        steps, plans = steps_and_plans(database, action)
        assert steps <= small[name] * 1.5 + 10, f"{name}: {small[name]} steps became {steps}"
        # A list reads along the numbers, from the newest, until its page is full.
        scans = [line for line in plans if line.startswith(("SCAN jobs", "SCAN q", "SCAN ahead", "SCAN sources"))]
        assert scans == (["SCAN jobs"] if name == "newest" else []), name
        assert any(INDEX.get(name, "") in line for line in plans), f"{name}: {plans}"
        assert not [line for line in plans if "ORDER BY" in line], name
