"""Changes that must get through are tried until they do, or until the process must end."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest

from service.machine.database_retry import TimeIsUp, end_of_writing, persist
from tests.service.work.bench import Bench


def test_a_change_is_tried_again_until_the_database_is_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.BUSY_TIMEOUT_MILLISECONDS", 1)
    with closing(sqlite3.connect(str(bench.database.url.database), isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")

        assert persist(bench.database, lambda _: "made", sleep=lambda _: holder.rollback()) == "made"


def test_a_change_is_given_up_when_the_process_must_end(bench: Bench) -> None:
    bench.database.end_by(time.monotonic())
    with closing(sqlite3.connect(str(bench.database.url.database), isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")

        with pytest.raises(TimeIsUp):
            persist(bench.database, lambda _: "never", sleep=lambda _: pytest.fail("it was tried again"))


@pytest.mark.parametrize(("grace", "writing"), [(10, 9), (5, 4), (1, 0.5), (0, 0)])
def test_a_part_of_the_grace_is_kept_for_ending(grace: float, writing: float) -> None:
    before = time.monotonic()

    assert before + writing <= end_of_writing(grace) <= time.monotonic() + writing
