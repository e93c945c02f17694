"""The service's clock in its row: what reads it, and what moves along when it is set."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from storage import clock_table
from storage.clock import AGREEMENT_MILLISECONDS, Clock, Reading, read_clocks, unproven
from storage.database import Database, Now, Proven
from storage.jobs import idempotency, job_rescue, job_table
from storage.jobs.idempotency import IdempotentRequest
from storage.jobs.worker_table import forget_silent, register
from storage.lifecycle import JobStatus
from storage.messages import deliveries
from storage.messages.due_messages import find_due
from storage.messages.outbox import Subscriber, subscribe
from storage.models import jobs
from storage.plain_reader import PlainReader
from tests.storage.job_builder import HOUR, WORKER, act, bring_to, claim, finish, row_of, running, submit

DAY = 24 * HOUR


def stepped(by: int) -> Reading:
    reading = read_clocks()
    return replace(reading, wall=reading.wall + by)


def advance(database: Database, reading: Reading, *, is_trusted: bool = False) -> Clock:
    return act(database, lambda connection: clock_table.advance(connection, reading, is_trusted=is_trusted))[1]


def believe(database: Database, by: int) -> Clock:
    """Have the wall clock step, and an hour of agreement pass for the clock's row alone."""
    reading = stepped(by)
    advance(database, reading)
    return advance(database, replace(reading, boot=reading.boot + HOUR, wall=reading.wall + HOUR))


def times(database: Database) -> tuple[int, int]:
    with database.read() as connection:
        now, proven = connection.execute(select(Now(), Proven())).one()
        return now, proven


def test_a_step_changes_neither_clock_until_it_is_believed(database: Database) -> None:
    before = times(database)

    assert unproven(advance(database, stepped(30 * DAY))) == pytest.approx(30 * DAY, abs=1000)

    now, proven = times(database)
    assert now == proven
    assert 0 <= now - before[0] < HOUR
    believe(database, 30 * DAY)
    assert times(database)[0] - now == pytest.approx(30 * DAY, abs=HOUR)


def test_after_a_restart_of_the_machine_only_the_proven_time_lags(database: Database) -> None:
    # Last looked at when the session began: the database is a copy.
    advance(database, stepped(0))
    advance(database, replace(stepped(2 * DAY), boot_id="another"))

    now, proven = times(database)
    assert now - proven == pytest.approx(2 * DAY, abs=60_000)


def test_nothing_is_expired_pruned_or_forgotten_in_doubt(database: Database) -> None:
    bring_to(database, JobStatus.SUCCEEDED)
    bring_to(database, JobStatus.EXPIRED)
    seq = row_of(database, submit(database))["seq"]
    request = IdempotentRequest("ab" * 32, "fingerprint")
    act(database, lambda c: idempotency.remember(c, request, seq, for_milliseconds=HOUR))
    act(database, lambda c: register(c, WORKER, host="here", pid=1, capacity=1))
    advance(database, replace(stepped(30 * DAY), boot_id="another"))

    assert act(database, lambda c: job_table.expire(c, grave_milliseconds=0, limit=10)) == []
    assert act(database, lambda c: job_table.prune(c, limit=10)) == 0
    assert act(database, lambda c: forget_silent(c, for_milliseconds=HOUR)) == 0
    assert act(database, lambda c: idempotency.find(c, request.key_digest)) is not None

    advance(database, replace(stepped(30 * DAY), boot_id="another"), is_trusted=True)
    assert act(database, lambda c: job_table.prune(c, limit=10)) == 1
    assert len(act(database, lambda c: job_table.expire(c, grave_milliseconds=0, limit=10))) == 1
    assert act(database, lambda c: idempotency.find(c, request.key_digest)) is None


@pytest.mark.parametrize("by", [30 * DAY, -30 * DAY])
def test_leases_pauses_and_ages_are_as_long_after_a_step_as_before(database: Database, by: int) -> None:
    held = running(database)
    waiting = submit(database)
    paused = submit(database)
    act(database, lambda c: c.execute(jobs.update().where(jobs.c.id == paused).values(run_at=Now() + HOUR)))

    believe(database, by)

    assert act(database, job_rescue.rescue_lapsed) == []
    row, now = row_of(database, held.id), times(database)[0]
    assert 0 < row["lease_expires_at"] - now + HOUR <= 20_000 + HOUR
    assert row["version"] == 3
    assert 0 <= now - row_of(database, waiting)["created_at"] < HOUR + 60_000
    taken = claim(database)
    assert (taken and taken.id, claim(database)) == (waiting, None)
    finish(database, held)
    assert row_of(database, held.id)["finished_at"] >= row_of(database, held.id)["started_at"]


@pytest.mark.parametrize("by", [30 * DAY, -30 * DAY])
def test_what_was_promised_is_kept_as_long_after_a_step_as_before(database: Database, by: int) -> None:
    job_id = bring_to(database, JobStatus.SUCCEEDED)
    left = row_of(database, job_id)["expires_at"] - times(database)[0]

    believe(database, by)

    assert row_of(database, job_id)["expires_at"] - times(database)[0] + AGREEMENT_MILLISECONDS >= left - 60_000
    assert act(database, lambda c: job_table.expire(c, grave_milliseconds=0, limit=10)) == []


def test_messages_are_due_after_a_step_back(database: Database) -> None:
    job = running(database)
    whom = Subscriber("email", "a@b.example", "mail.example", "en")  # type: ignore[arg-type]
    act(database, lambda c: subscribe(c, job.seq, [whom]))
    finish(database, job)

    believe(database, -30 * DAY)

    reader = PlainReader(database)
    due = find_due(reader)
    reader.close()
    assert due is not None
    assert act(database, lambda c: deliveries.claim(c, WORKER, due, lease_milliseconds=HOUR)) is not None


def test_the_row_is_written_once_a_minute_and_not_at_each_look(database: Database) -> None:
    reader = database.reader()
    reading = read_clocks()
    advance(database, reading)
    before = reader.execute("PRAGMA data_version").fetchone()

    advance(database, replace(reading, boot=reading.boot + 5000, wall=reading.wall + 5000))
    assert reader.execute("PRAGMA data_version").fetchone() == before
    advance(database, replace(reading, boot=reading.boot + 60_000, wall=reading.wall + 60_000))
    assert reader.execute("PRAGMA data_version").fetchone() != before
    reader.close()
