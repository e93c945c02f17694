"""Which job a key made, for how long it is known, and that it makes one only."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from storage.database import Database
from storage.jobs import idempotency, job_table
from storage.jobs.idempotency import EarlierRequest, IdempotentRequest
from storage.models import idempotency_keys
from tests.storage.job_builder import HOUR, act, now, row_of, submit

REQUEST = IdempotentRequest(key_digest="aa" * 32, fingerprint="bb" * 32)


def find(database: Database, key_digest: str = REQUEST.key_digest) -> EarlierRequest | None:
    with database.read() as connection:
        return idempotency.find(connection, key_digest)


def remember(database: Database, job_id: str, request: IdempotentRequest = REQUEST, *, time: int = HOUR) -> None:
    seq = row_of(database, job_id)["seq"]
    act(database, lambda connection: idempotency.remember(connection, request, seq, for_milliseconds=time))


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(idempotency_keys)).scalar_one()


def test_a_key_finds_the_job_it_made_and_what_was_asked(database: Database) -> None:
    job_id = submit(database)
    assert find(database) is None
    before = now(database)
    remember(database, job_id)

    assert find(database) == EarlierRequest(fingerprint="bb" * 32, job_id=job_id)
    assert find(database, "cc" * 32) is None
    with database.read() as connection:
        expires_at = connection.execute(select(idempotency_keys.c.expires_at)).scalar_one()
    assert before + HOUR <= expires_at <= now(database) + HOUR


def test_a_key_makes_one_job_only(database: Database) -> None:
    first, second = submit(database), submit(database)
    remember(database, first)

    with pytest.raises(IntegrityError):
        remember(database, second)
    found = find(database)
    assert found is not None
    assert found.job_id == first


def test_a_key_whose_time_is_over_is_forgotten_and_can_be_used_again(database: Database) -> None:
    first, second = submit(database), submit(database)
    remember(database, first, time=0)
    assert find(database) is None
    remember(database, second)

    found = find(database)
    assert found is not None
    assert found.job_id == second


def test_remembering_clears_away_what_is_over(database: Database) -> None:
    job_id = submit(database)
    for number in range(5):
        remember(database, job_id, IdempotentRequest(f"{number}", "f"), time=0)
    remember(database, job_id)

    assert rows(database) == 1


def test_a_key_goes_with_its_job(database: Database) -> None:
    job_id = submit(database)
    remember(database, job_id)
    act(database, lambda connection: job_table.delete_job(connection, job_id))

    assert find(database) is None
    assert rows(database) == 0
