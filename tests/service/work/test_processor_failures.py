"""What goes wrong in an attempt, and what is left afterwards: the source, and nothing else."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from service.codecs.archive import ARCHIVES, Archive, Member
from service.codecs.codec import CODECS, Chunk, CodecError, Format
from service.failures import FAILURES
from service.machine.database_retry import TimeIsUp
from service.work.attempt import Attempt, Cancelled, Fenced, Released
from service.work.processor import Processor, RetryPauses
from service.work.result_maker import Tools
from storage.database import Database
from storage.errors import StorageFailed
from storage.ids import result_key
from storage.jobs import job_rescue, job_table
from storage.jobs.job_attempts import ClaimedJob
from tests.service.payloads import text
from tests.service.work.bench import WORKER, Bench, sha256
from tests.service.work.faulty import (
    EarlyCodec,
    FakeCodec,
    FaultyStore,
    MisrememberingStore,
    as_it_is,
    flip_a_byte,
    raising,
)
from tests.storage.job_builder import Row, act, attempts_of


def assert_only_sources_are_left(bench: Bench) -> None:
    assert all(key.startswith("s-") for key in bench.stored_keys())
    assert bench.stored_keys()
    assert bench.parts() == []


@pytest.mark.parametrize("target", [*CODECS, *ARCHIVES])
def test_a_flipped_byte_in_the_stored_result_is_caught(bench: Bench, target: Format) -> None:
    contents = (text(60_000), text(50_000, seed=2))[: 1 + (target in ARCHIVES)]
    job_id = bench.submit(*contents, names=("a", "b")[: len(contents)], format=target)

    row = bench.run(FaultyStore(bench.files_dir, flip_a_byte))

    assert (row["status"], row["error_code"]) == ("queued", "verify_failed")
    assert_only_sources_are_left(bench)
    assert bench.run()["status"] == "succeeded"
    assert [attempt["outcome"] for attempt in attempts_of(bench.database, job_id)] == ["failed", "succeeded"]


def test_a_codec_that_gives_something_else_back_is_caught(bench: Bench) -> None:
    bench.submit(text(60_000))

    row = bench.run(codecs={Format.ZSTD: FakeCodec(lambda chunk: chunk[1:], lambda chunk: b"?" + chunk)})

    assert (row["status"], row["error_code"]) == ("queued", "verify_failed")


Pack = Callable[[list[Member]], list[Member]]
STRANGER = Member("c", 4, lambda: iter([b"more"]))


class Careless:
    """An archive that packs other members than it was given."""

    def __init__(self, archive: Archive, change: Pack) -> None:
        self._archive = archive
        self._change = change
        self.format, self.suffix, self.media_type = archive.format, archive.suffix, archive.media_type
        self.unpack = archive.unpack

    def pack(self, members: Iterable[Member], **options: Any) -> Generator[Chunk]:
        return self._archive.pack(self._change(list(members)), **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members[:-1],
        lambda members: [*members, STRANGER],
        lambda members: members[::-1],
        lambda members: [members[0], replace(STRANGER, name="b")],
    ],
    ids=["too few", "too many", "out of order", "another"],
)
def test_an_archive_that_does_not_hold_what_was_sent_is_caught(bench: Bench, change: Pack) -> None:
    bench.submit(b"one", b"two", names=("a", "b"))

    row = bench.run(archives={Format.ZIP: Careless(ARCHIVES[Format.ZIP], change)})

    assert (row["status"], row["error_code"]) == ("queued", "verify_failed")
    assert_only_sources_are_left(bench)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sha256": "0" * 64}, "source_damaged"),
        ({"checksum": "0" * 16}, "source_damaged"),
        ({"size_bytes": 59_999}, "source_damaged"),
        ({"size_bytes": 60_001}, "source_damaged"),
        ({"key": "s-" + "a" * 26}, "source_missing"),
    ],
)
@pytest.mark.parametrize("target", ["auto", "gzip", "zip"])
def test_a_source_that_is_not_what_arrived_fails(bench: Bench, changes: Row, code: str, target: str) -> None:
    bench.submit(text(60_000), format=target, max_attempts=1, **changes)

    row = bench.run()

    assert (row["status"], row["error_code"]) == ("failed", code)
    assert_only_sources_are_left(bench)


def test_only_a_source_that_is_gone_is_not_looked_at_again(bench: Bench) -> None:
    bench.submit(text(60_000), key="s-" + "a" * 26)

    assert bench.run()["status"] == "failed"


def test_a_bit_that_flipped_in_memory_only_costs_one_attempt(bench: Bench) -> None:
    content = text(60_000)
    bench.submit(content)

    store = MisrememberingStore(bench.files_dir)

    row = bench.run(store)
    assert (row["status"], row["error_code"]) == ("queued", "source_damaged")

    row = bench.run(store)
    assert (row["status"], row["source_sha256"]) == ("succeeded", sha256(content))


def test_a_source_received_by_an_earlier_version_has_no_checksum_and_is_compressed(bench: Bench) -> None:
    bench.submit(text(60_000), checksum=None)

    assert bench.run()["status"] == "succeeded"


def test_a_codec_that_stops_reading_early_proves_nothing(bench: Bench) -> None:
    bench.submit(text(600_000))

    row = bench.run(codecs={Format.ZSTD: EarlyCodec(as_it_is)})

    assert (row["status"], row["error_code"]) == ("queued", "verify_failed")
    assert_only_sources_are_left(bench)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFailed("writing: The file is too large"), "storage_failed"),
        (OSError(errno.EFBIG, "File too large"), "storage_failed"),
        (ZeroDivisionError("/etc/passwd"), "internal_error"),
    ],
)
def test_an_attempt_that_breaks_is_tried_again_and_says_why_in_our_words(
    bench: Bench, error: Exception, code: str
) -> None:
    bench.submit(text(60_000))

    row = bench.run(FaultyStore(bench.files_dir, raising(error)))

    assert (row["status"], row["error_code"]) == ("queued", code)
    assert "passwd" not in row["error_detail"]
    assert "device" not in row["error_detail"]
    assert_only_sources_are_left(bench)
    assert bench.run()["status"] == "succeeded"


def test_a_codec_that_refuses_is_told_apart_from_a_result_that_does_not_verify(bench: Bench) -> None:
    bench.submit(text(60_000))

    row = bench.run(codecs={Format.ZSTD: FakeCodec(raising(CodecError("no")))})

    assert (row["status"], row["error_code"]) == ("queued", "codec_failed")


def test_the_last_attempt_fails_for_good(bench: Bench) -> None:
    bench.submit(text(60_000), max_attempts=1)

    row = bench.run(FaultyStore(bench.files_dir, raising(StorageFailed("no"))))

    assert (row["status"], row["error_code"]) == ("failed", "storage_failed")
    assert row["error_code"] in FAILURES


class StoppedAfter(Attempt):
    """An attempt that is stopped, and whose world changes, once it has come so far."""

    def __init__(self, job: ClaimedJob, stop: Any, at_bytes: int) -> None:
        super().__init__(job.size_bytes)
        self._hook, self._left = stop, at_bytes

    def advance(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._left <= 0:
            self._hook(self)
        super().advance(size_bytes)


def test_a_cancel_ends_a_running_attempt_without_a_trace(bench: Bench) -> None:
    job_id = bench.submit(text(3_000_000))
    job, _ = bench.claim()
    bench.cancel(job_id)

    bench.processor().process(job, StoppedAfter(job, lambda attempt: attempt.stop(Cancelled), 1_000_000))

    assert bench.status(job_id) == "cancelled"
    assert_only_sources_are_left(bench)


def test_a_slow_level_that_only_hands_control_back_is_stopped_too(bench: Bench) -> None:
    job_id = bench.submit(text(60_000), format="zstd")
    job, attempt = bench.claim()
    bench.cancel(job_id)
    chunks_taken = []

    def stop_and_give_nothing(chunk: bytes) -> bytes:
        chunks_taken.append(chunk)
        attempt.stop(Cancelled)
        return b""

    bench.processor(codecs={Format.ZSTD: FakeCodec(stop_and_give_nothing)}).process(job, attempt)

    assert bench.status(job_id) == "cancelled"
    assert len(chunks_taken) == 1


def test_a_cancel_that_nobody_heard_still_wins_over_the_result(bench: Bench) -> None:
    job_id = bench.submit(text(60_000))
    job, attempt = bench.claim()
    bench.cancel(job_id)

    bench.processor().process(job, attempt)

    assert bench.status(job_id) == "cancelled"
    assert_only_sources_are_left(bench)


@pytest.mark.parametrize("is_told", [True, False])
def test_an_attempt_that_was_rescued_meanwhile_leaves_nothing(bench: Bench, is_told: bool) -> None:
    job_id = bench.submit(text(3_000_000))
    job, _ = bench.claim()

    def rescue(attempt: Attempt) -> None:
        act(bench.database, lambda c: job_rescue.rescue_worker(c, WORKER, is_blamed=False, max_losses=3))
        if is_told:
            attempt.stop(Fenced)

    bench.processor().process(job, StoppedAfter(job, rescue, 1_000_000))

    row = bench.row(job_id)
    assert (row["status"], row["attempts"], row["error_code"]) == ("queued", 0, None)
    assert_only_sources_are_left(bench)
    assert bench.run()["epoch"] == 2


def test_an_attempt_whose_job_was_deleted_leaves_nothing(bench: Bench) -> None:
    job_id = bench.submit(text(60_000))
    job, attempt = bench.claim()
    bench.store.delete(act(bench.database, lambda connection: job_table.delete_job(connection, job_id)))

    bench.processor().process(job, attempt)

    assert bench.stored_keys() == set()


def test_a_released_job_goes_back_to_its_place_uncounted(bench: Bench) -> None:
    job_id = bench.submit(text(3_000_000))
    run_at = bench.row(job_id)["run_at"]
    job, _ = bench.claim()

    bench.processor().process(job, StoppedAfter(job, lambda attempt: attempt.stop(Released), 1_000_000))

    row = bench.row(job_id)
    assert (row["status"], row["attempts"], row["run_at"]) == ("queued", 0, run_at)
    assert_only_sources_are_left(bench)


def test_a_job_whose_files_are_pulled_away_is_given_back_and_does_not_fail(bench: Bench) -> None:
    job_id = bench.submit(text(60_000))
    elsewhere = bench.files_dir.with_name("elsewhere")
    job, attempt = bench.claim()
    bench.files_dir.rename(elsewhere)

    bench.processor().process(job, attempt)

    row = bench.row(job_id)
    assert (row["status"], row["attempts"], row["error_code"]) == ("queued", 0, None)
    elsewhere.rename(bench.files_dir)
    assert bench.run()["status"] == "succeeded"


def test_what_stands_under_the_key_of_an_attempt_is_not_its_own_and_is_set_aside(bench: Bench) -> None:
    """Under an older database it may be the only result of the same attempt, and this one fails without its source."""
    bench.submit(text(60_000), key="s-" + "a" * 26)
    job, attempt = bench.claim()
    part = bench.store.create(result_key(job.id, job.epoch))
    part.write([b"the result of a newer database"])
    part.commit()

    bench.processor().process(job, attempt)

    assert bench.row(job.id)["error_code"] == "source_missing"
    assert [file.key for file in bench.store.quarantine.files()] == [result_key(job.id, job.epoch)]


class UnsureDatabase(Database):
    """A database that fails the next durable transactions: before they begin, or when they are committed already."""

    def __init__(self, database: Database, *, before: int = 0, after: int = 0, error: Exception | None = None) -> None:
        super().__init__(database.url.render_as_string())
        self._before, self._after = before, after
        self._error = error or OperationalError("COMMIT", {}, Exception("disk I/O error"))

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[Connection]:
        if self._before:
            self._before -= 1
            raise OperationalError("BEGIN IMMEDIATE", {}, Exception("database is locked"))
        with super().transaction(is_durable=is_durable) as connection:
            yield connection
        if self._after:
            self._after -= 1
            raise self._error


@pytest.mark.parametrize("trouble", [{"before": 2}, {"after": 1}, {"before": 1, "after": 1}])
def test_a_database_in_trouble_delays_the_end_of_an_attempt_and_changes_nothing(
    bench: Bench, trouble: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.machine.database_retry.FIRST_PAUSE_SECONDS", 0.001)
    bench.submit(text(60_000))
    job, attempt = bench.claim()
    database = UnsureDatabase(bench.database, **trouble)
    tools = Tools(bench.store, CODECS, ARCHIVES)

    Processor(database, tools, RetryPauses(0, 0)).process(job, attempt)
    database.close()

    row = bench.row(job.id)
    assert row["status"] == "succeeded"
    assert bench.stored_keys() == {row["result_key"]}


@pytest.mark.parametrize("error", [OperationalError("COMMIT", {}, Exception("disk I/O error")), MemoryError()])
def test_a_success_of_which_nobody_knows_whether_it_was_recorded_keeps_its_result(
    bench: Bench, error: Exception
) -> None:
    """The process must end, and the commit may have been made: then the row names the result, else a sweep takes it."""
    bench.submit(text(60_000))
    job, attempt = bench.claim()
    database = UnsureDatabase(bench.database, after=1, error=error)
    database.end_by(0)

    with pytest.raises((TimeIsUp, MemoryError)):
        Processor(database, Tools(bench.store, CODECS, ARCHIVES), RetryPauses(0, 0)).process(job, attempt)
    database.close()

    row = bench.row(job.id)
    assert row["status"] == "succeeded"
    assert row["result_key"] in bench.stored_keys()


def test_pauses_double_up_to_the_longest_and_are_never_alike() -> None:
    pauses = RetryPauses(1.0, 60.0)

    assert all(500 <= pauses.milliseconds(1) <= 1000 for _ in range(50))
    assert all(2000 <= pauses.milliseconds(3) <= 4000 for _ in range(50))
    assert all(30_000 <= pauses.milliseconds(1000) <= 60_000 for _ in range(50))
    assert len({pauses.milliseconds(1000) for _ in range(50)}) > 1


def test_every_code_has_a_sentence_and_what_rescue_writes_is_among_them(bench: Bench) -> None:
    assert all(kind.title.endswith(".") and len(code) <= 40 for code, kind in FAILURES.items())
    assert {"worker_lost", "worker_stalled"} <= set(FAILURES)
