"""Claims are fair between callers, and in order of due time for each of them."""

from __future__ import annotations

from storage.database import Database
from storage.jobs import job_table
from storage.jobs.fair_turns import ROUND_BYTES
from storage.jobs.job_attempts import ClaimedJob
from storage.jobs.job_views import backlog, job_rows
from tests.storage.job_builder import act, claim, fail, finish, new_source, row_of, submit

MANY, FEW, HERE = "192.0.2.1", "192.0.2.2", ""
LARGE = ROUND_BYTES * 100


def sent(database: Database, caller: str, count: int = 1, size_bytes: int = 10) -> list[str]:
    return [submit(database, caller=caller, sources=(new_source(size_bytes=size_bytes),)) for _ in range(count)]


def claimed(database: Database) -> ClaimedJob:
    job = claim(database)
    assert job is not None
    return job


def claims_until(database: Database, job_id: str) -> int:
    """Return how many other jobs are claimed before this one, each done at once."""
    for number in range(1000):
        job = claimed(database)
        finish(database, job)
        if job.id == job_id:
            return number
    raise AssertionError("it never had its turn")


def test_a_small_job_waits_for_a_round_of_another_s_hundred_and_not_for_all(database: Database) -> None:
    for caller, other in ((MANY, FEW), (HERE, MANY)):
        sent(database, caller, 100)
        assert claims_until(database, sent(database, other)[0]) <= 8
        while job := claim(database):
            finish(database, job)


def test_a_small_job_waits_for_one_of_another_s_large_ones(database: Database) -> None:
    sent(database, MANY, 20, LARGE)
    finish(database, claimed(database))

    assert claims_until(database, sent(database, FEW)[0]) <= 1


def test_who_comes_again_and_again_does_not_pass_those_who_wait(database: Database) -> None:
    (waiting,) = sent(database, FEW, 1)
    for _ in range(20):
        sent(database, MANY, 5)
        if claimed(database).id == waiting:
            return
    raise AssertionError("it never had its turn")


def test_two_callers_are_served_alike_by_bytes(database: Database) -> None:
    large = set(sent(database, MANY, 10, LARGE))
    small = set(sent(database, FEW, 400, ROUND_BYTES))
    order = [claimed(database).id for _ in range(200)]

    served = sum(job in small for job in order), sum(job in large for job in order)
    assert 1 <= served[1] <= 3
    assert served[0] >= 190


def test_the_jobs_of_one_caller_go_in_the_order_of_their_arrival(database: Database) -> None:
    ids = [sent(database, MANY, 1, size)[0] for size in (10, LARGE, 10, 10, LARGE, 10)] + sent(database, MANY, 30)

    assert [claimed(database).id for _ in ids] == ids


def test_the_place_in_the_queue_is_the_one_in_which_it_is_claimed(database: Database) -> None:
    ids = sent(database, MANY, 20) + sent(database, FEW, 3) + sent(database, HERE, 3)
    with database.read() as connection:
        places = {row["id"]: row["queue_position"] for row in job_rows(connection, ids)}

    assert [places[claimed(database).id] for _ in ids] == list(range(1, 27))


def test_a_retry_waits_for_another_turn(database: Database) -> None:
    jobs = sent(database, MANY, 40)
    first = claimed(database)
    assert first.id == jobs[0]
    fail(database, first, is_fatal=True)
    act(database, lambda connection: job_table.retry(connection, first.id, attempts_more=1))

    assert row_of(database, first.id)["turn"] >= row_of(database, jobs[-1])["turn"]


def test_nothing_is_remembered_of_callers_that_have_nothing_to_do(database: Database) -> None:
    sent(database, MANY, 30, LARGE)
    while job := claim(database):
        finish(database, job)

    assert row_of(database, sent(database, MANY)[0])["turn"] == 0


def test_what_addresses_have_under_way_is_counted_and_of_who_is_exempt_nothing(database: Database) -> None:
    sent(database, MANY, 3, 100)
    sent(database, FEW, 1, 7)
    sent(database, HERE, 5, 1)
    finish(database, claimed(database))

    with database.read() as connection:
        counted = backlog(connection).by_caller

    assert sorted(counted.items()) == [(MANY, (2, 200)), (FEW, (1, 7))]
