"""The scrub: finds every damage, blames nothing that is whole, gone with its job, or only out of reach."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.work.low_priority import LOWEST, step_back_fully
from service.work.pace import Pace, Stopped
from service.work.scrub import KEEP_BYTES, CannotScrub, Scrubber
from storage.errors import StorageFailed
from storage.files.local_files import LocalFiles
from storage.ids import Key
from storage.jobs import job_table
from tests.service.payloads import noise, text
from tests.service.work.bench import Bench, until
from tests.storage.job_builder import act

FAST = 1e12


def flip(place: float) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 128
        path.write_bytes(content)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "first byte": flip(0.0),
    "middle": flip(0.5),
    "last byte": flip(1.0),
    "missing": Path.unlink,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a link": lambda path: (path.rename(path.with_suffix(".aside")), path.symlink_to(path.with_suffix(".aside"))),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@contextmanager
def scrubber(
    bench: Bench, store: LocalFiles | None = None, *, rate: float = FAST, are_files_there: bool = True
) -> Iterator[tuple[Scrubber, list[tuple[str, str]]]]:
    told: list[tuple[str, str]] = []
    found = Scrubber(
        bench.database,
        store or bench.store,
        Pace(rate),
        lambda job_id, what: told.append((job_id, what)),
        are_files_there=lambda: are_files_there,
    )
    try:
        yield found, told
    finally:
        found.close()


def scrub(bench: Bench, store: LocalFiles | None = None, **options: Any) -> tuple[Any, list[tuple[str, str]]]:
    with scrubber(bench, store, **options) as (found, told):
        found.results()
        found.sources()
        return found.tally, told


def done(bench: Bench, content: bytes) -> tuple[str, Path]:
    """Make a job succeed; return its id and where its result is."""
    job_id = bench.submit(content)
    assert bench.run()["status"] == "succeeded"
    return job_id, bench.files_dir / bench.row(job_id)["result_key"]


def is_marked(bench: Bench, job_id: str) -> bool:
    return bench.row(job_id)["result_damaged_at"] is not None


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("content", [text(100_000), noise(100_000)], ids=["compressed", "kept"])
def test_a_damaged_result_is_found_told_and_marked_alone(bench: Bench, damage: str, content: bytes) -> None:
    (good, _), (bad, path), (other, _) = (done(bench, given) for given in (content, content, content))
    DAMAGES[damage](path)

    tally, told = scrub(bench)

    assert [job_id for job_id, _ in told] == [bad]
    assert (tally.whole, tally.damaged, tally.repaired) == (2, 1, 0)
    assert [is_marked(bench, job_id) for job_id in (good, bad, other)] == [False, True, False]
    version = bench.row(bad)["version"]
    assert scrub(bench)[1] == told, "it is told each time"
    assert bench.row(bad)["version"] == version, "and noted once"


def test_a_restored_file_takes_the_mark_off(bench: Bench) -> None:
    job_id, path = done(bench, text(100_000))
    content = path.read_bytes()
    path.unlink()
    scrub(bench)
    path.write_bytes(content)

    tally, told = scrub(bench)

    assert told == [(job_id, "repaired")]
    assert (tally.whole, tally.damaged, tally.repaired) == (1, 0, 1)
    assert not is_marked(bench, job_id)


@pytest.mark.parametrize("change", ["delete", "expire"])
def test_a_job_that_ends_while_its_file_is_read_is_passed_over(bench: Bench, change: str) -> None:
    job_id, path = done(bench, text(100_000))

    class Late(LocalFiles):
        def open(self, key: Key) -> Any:
            if change == "delete":
                act(bench.database, lambda connection: job_table.delete_job(connection, job_id))
            else:
                act(bench.database, lambda c: c.exec_driver_sql("UPDATE jobs SET expires_at = 1"))
                act(bench.database, lambda c: job_table.expire(c, grave_milliseconds=9, limit=9))
            path.unlink()
            return super().open(key)

    tally, told = scrub(bench, Late(bench.files_dir))

    assert (told, tally.damaged) == ([], 0)


def test_files_whose_disk_is_gone_are_not_lost(bench: Bench) -> None:
    job_id, path = done(bench, text(100_000))
    path.unlink()

    with pytest.raises(CannotScrub, match="mounted"):
        scrub(bench, are_files_there=False)

    assert not is_marked(bench, job_id)


class Unreadable(LocalFiles):
    """A folder whose files cannot be opened, for one reason."""

    number = errno.EACCES

    def open(self, key: Key) -> Any:
        error = OSError(self.number, os.strerror(self.number))
        raise StorageFailed("opening") from error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ESTALE])
def test_what_hinders_the_scrub_itself_blames_no_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    job_id, _ = done(bench, text(100_000))
    monkeypatch.setattr(Unreadable, "number", number)

    with pytest.raises(CannotScrub, match=os.strerror(number)):
        scrub(bench, Unreadable(bench.files_dir))

    assert not is_marked(bench, job_id)


def test_a_sector_that_cannot_be_read_is_damage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, _ = done(bench, text(100_000))
    monkeypatch.setattr(Unreadable, "number", errno.EIO)

    _, told = scrub(bench, Unreadable(bench.files_dir))

    assert told == [(job_id, "damaged: cannot be read (Input/output error)")]
    assert is_marked(bench, job_id)


def test_what_memory_holds_is_dropped_before_and_after_and_on_the_way(bench: Bench) -> None:
    _, path = done(bench, noise(KEEP_BYTES + 3_000_000))
    calls: list[str] = []

    class Watched(LocalFiles):
        def open(self, key: Key) -> Any:
            calls.append("open")
            return super().open(key)

        def drop_cached(self, key: Key) -> None:
            assert key == path.name
            calls.append("drop")
            super().drop_cached(key)

    scrub(bench, Watched(bench.files_dir))

    assert calls == ["drop", "open", "drop", "drop"]


def test_waiting_sources_are_told_and_left_to_their_jobs(bench: Bench) -> None:
    bad = bench.submit(text(50_000), text(60_000), names=("a", "b"))
    bench.submit(text(70_000), checksum=None)
    good = bench.submit(text(80_000))
    before = [bench.row(job_id) for job_id in (bad, good)]
    [path] = [path for path in bench.files_dir.glob("s-*") if path.stat().st_size == 60_000]
    flip(0.3)(path)

    tally, told = scrub(bench)

    assert told == [(bad, "upload damaged: other bytes than were stored")]
    assert (tally.whole, tally.damaged) == (2, 1)
    assert [bench.row(job_id) for job_id in (bad, good)] == before


def test_a_source_that_became_a_result_meanwhile_is_passed_over(bench: Bench) -> None:
    bench.submit(text(50_000))

    class Late(LocalFiles):
        def open(self, key: Key) -> Any:
            bench.run()
            return super().open(key)

    with scrubber(bench, Late(bench.files_dir)) as (found, told):
        found.sources()

    assert (told, found.tally.damaged) == ([], 0)


def test_closing_ends_a_reading_in_the_middle_of_a_file(bench: Bench) -> None:
    done(bench, noise(3_000_000))
    before = threading.active_count()
    with scrubber(bench, rate=1) as (found, _):
        reading = threading.Thread(target=_quietly, args=(found.results,))
        reading.start()
        until(lambda: any(thread.name.startswith("scrub") for thread in threading.enumerate()))
    reading.join(10)

    assert threading.active_count() == before


def _quietly(act: Callable[[], object]) -> None:
    with pytest.raises(Stopped):
        act()


def test_a_pace_lets_through_what_is_allowed_and_stops_who_waits() -> None:
    now = [0.0]
    pace = Pace(1000, clock=lambda: now[0])
    waits: list[float] = []
    pace._stopped.wait = lambda seconds: waits.append(seconds)  # type: ignore[assignment, method-assign, func-returns-value]
    pace.take(500)
    now[0] = 0.5
    pace.take(250)
    now[0] = 9.0
    pace.take(1000)

    assert waits == [0.5, 0.25, 1.0]


def test_a_thread_steps_back_and_takes_no_other_with_it() -> None:
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: list[int] = []

    def look() -> None:
        step_back_fully()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert found == [LOWEST]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
