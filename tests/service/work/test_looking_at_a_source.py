"""Reading a source, and looking at it besides: what is hashed, what is counted, and what stops either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

import pytest

from service.codecs.zip_member import HELD_BYTES
from service.failures import AttemptFailed
from service.work.attempt import Attempt, Cancelled
from service.work.source_reader import READ_BYTES, SourceReader
from storage.files.local_files import LocalFiles
from storage.ids import Key
from storage.jobs.job_attempts import ClaimedSource
from tests.service.payloads import MIB, noise
from tests.service.work.bench import Bench, sha256

CONTENT = noise(3 * READ_BYTES + 5)
PHOTO = noise(HELD_BYTES + 1)
"""Stored in a zip, and too large to be held until its CRC is known."""


def source_of(bench: Bench) -> ClaimedSource:
    return ClaimedSource(bench.keep(CONTENT), "a", len(CONTENT), sha256(CONTENT))


def test_looking_gives_the_same_bytes_and_does_not_hash_them(bench: Bench) -> None:
    reader = SourceReader(bench.store, source_of(bench))
    reading = iter(reader)

    first = next(reading)
    assert b"".join(reader.look()) == CONTENT
    with pytest.raises(AttemptFailed):
        _ = reader.sha256
    assert first + b"".join(reading) == CONTENT

    assert reader.sha256 == sha256(CONTENT)


@pytest.mark.parametrize("size_bytes", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_looking_at_a_source_of_another_size_says_that_it_is_damaged(bench: Bench, size_bytes: int) -> None:
    source = replace(source_of(bench), size_bytes=size_bytes)

    with pytest.raises(AttemptFailed) as caught:
        list(SourceReader(bench.store, source).look())

    assert caught.value.code == "source_damaged"


class OpeningStore(LocalFiles):
    """A folder that does something before a file is opened for the second time."""

    def __init__(self, bench: Bench, act: Callable[[Key], object]) -> None:
        super().__init__(bench.files_dir, check=lambda: None)
        self._act, self._opened = act, set[Key]()

    def open(self, key: Key) -> BinaryIO:
        if key in self._opened:
            self._act(key)
        self._opened.add(key)
        return super().open(key)


class Summing(Attempt):
    """An attempt that adds up what its first phase advanced, and does something once that is 2 MiB."""

    def __init__(self, bytes_total: int, act: Callable[[], object]) -> None:
        super().__init__(bytes_total)
        self.summed = 0
        self._act = act

    def advance(self, size_bytes: int) -> None:
        super().advance(size_bytes)
        if self.progress().phase == "compressing":
            self.summed += size_bytes
            if self.summed == 2 * MIB:
                self._act()


def test_a_member_that_is_looked_at_first_is_counted_once_and_proven(bench: Bench) -> None:
    bench.submit(PHOTO, b"small", names=("a.jpg", "b"), format="zip")
    job, _ = bench.claim()
    looks: list[Key] = []
    attempt = Summing(job.size_bytes, lambda: looks.append(Key("2 MiB")))

    bench.processor(OpeningStore(bench, looks.append)).process(job, attempt)

    assert bench.status(job.id) == "succeeded"
    assert looks[:2] == [job.sources[0].key, "2 MiB"]
    assert attempt.summed == len(PHOTO) + len(b"small")
    assert attempt.progress().bytes_done == job.size_bytes


def test_a_cancel_ends_an_attempt_that_is_only_looking(bench: Bench) -> None:
    bench.submit(PHOTO, b"small", names=("a.jpg", "b"), format="zip")
    job, attempt = bench.claim()
    bench.cancel(job.id)

    bench.processor(OpeningStore(bench, lambda _: attempt.stop(Cancelled))).process(job, attempt)

    assert bench.status(job.id) == "cancelled"
    assert attempt.progress().phase == "compressing"
    assert attempt.progress().bytes_done < len(PHOTO)
    assert bench.parts() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, "source_damaged"), ({"checksum": None}, "codec_failed")],
    ids=["with a checksum", "of an earlier version"],
)
def test_a_source_that_changes_after_it_was_looked_at_makes_no_result(
    bench: Bench, changes: dict[str, None], code: str
) -> None:
    bench.submit(PHOTO, b"small", names=("a.jpg", "b"), format="zip", **changes)
    job, _ = bench.claim()

    def change() -> None:
        with (bench.files_dir / job.sources[0].key).open("r+b") as file:
            file.seek(len(PHOTO) - 5)
            file.write(b"other")

    bench.processor().process(job, Summing(job.size_bytes, change))

    row = bench.row(job.id)
    assert (row["status"], row["error_code"]) == ("queued", code)
    assert row["result_key"] is None
