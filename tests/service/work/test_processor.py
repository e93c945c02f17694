"""One attempt from claim to success, over a real database and real files."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Generator, Iterable
from typing import Any

import pytest
from sqlalchemy import select
from xxhash import xxh3_64_hexdigest

from service.codecs.archive import ARCHIVES
from service.codecs.archive_name import archive_names
from service.codecs.codec import CODECS, Chunk, Format, Level
from service.codecs.terms import Finished, ignore
from service.work.attempt import Attempt
from storage.ids import result_key
from storage.models import sources
from tests.service.payloads import cut, noise, text
from tests.service.work.bench import Bench, sha256
from tests.service.work.faulty import FakeCodec, FaultyStore, as_it_is


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("target", list(CODECS))
def test_every_format_and_level_stores_a_result_that_gives_the_source_back(
    bench: Bench, target: Format, level: Level
) -> None:
    content = text(300_000)
    bench.submit(content, format=target, level=level)

    row = bench.run()

    codec = CODECS[target]
    stored = bench.stored(row["result_key"])
    assert row["status"] == "succeeded"
    assert b"".join(codec.decompress([stored])) == content
    assert row["result_sha256"] == sha256(stored)
    assert row["result_checksum"] == xxh3_64_hexdigest(stored)
    assert row["result_size_bytes"] == len(stored)
    assert row["source_sha256"] == sha256(content)
    assert (row["result_format"], row["result_name"]) == (target, f"a.log{codec.suffix}")
    assert (row["result_media_type"], row["result_coding"]) == (codec.media_type, codec.coding)
    assert row["stored_as_is"] is False
    assert bench.stored_keys() == {row["result_key"]}
    assert bench.parts() == []


def test_a_large_gzip_has_a_content_coding_since_it_is_one_member(bench: Bench) -> None:
    bench.submit(text(9_000_000), format="gzip", level="balanced")

    row = bench.run()

    assert (row["status"], row["result_coding"]) == ("succeeded", "gzip")


def test_auto_makes_zstd_of_what_compresses(bench: Bench) -> None:
    bench.submit(text(50_000))

    row = bench.run()

    assert (row["result_format"], row["result_name"]) == ("zstd", "a.log.zst")


@pytest.mark.parametrize("content", [noise(3_000_000), b"", b"x"], ids=["noise", "nothing", "one byte"])
def test_auto_keeps_what_does_not_compress_as_it_came(bench: Bench, content: bytes) -> None:
    bench.submit(content)
    source = bench.stored_keys()

    row = bench.run()

    assert row["status"] == "succeeded"
    assert row["stored_as_is"] is True
    assert {row["result_key"]} == bench.stored_keys() == source
    assert (row["result_format"], row["result_name"], row["result_coding"]) == ("identity", "a.log", None)
    assert row["result_media_type"] == "application/octet-stream"
    assert row["result_sha256"] == row["source_sha256"] == sha256(content)
    assert row["result_checksum"] == xxh3_64_hexdigest(content)
    assert row["result_size_bytes"] == len(content)


def test_what_is_kept_keeps_its_media_type(bench: Bench) -> None:
    bench.submit(noise(10_000), media_type="image/jpeg")

    assert bench.run()["result_media_type"] == "image/jpeg"


def test_auto_keeps_the_source_when_the_probe_promised_too_much(bench: Bench) -> None:
    content = text(50_000)
    bench.submit(content)
    source = bench.stored_keys()

    row = bench.run(codecs={Format.ZSTD: FakeCodec(as_it_is)})

    assert row["stored_as_is"] is True
    assert row["source_sha256"] == sha256(content)
    assert bench.stored_keys() == {row["result_key"]} == source


@pytest.mark.parametrize("content", [noise(50_000), b""], ids=["noise", "nothing"])
def test_a_format_asked_for_by_name_is_made_even_if_larger(bench: Bench, content: bytes) -> None:
    bench.submit(content, format="gzip")

    row = bench.run()

    assert row["stored_as_is"] is False
    assert row["result_format"] == "gzip"
    assert row["result_size_bytes"] > len(content)
    assert b"".join(CODECS[Format.GZIP].decompress([bench.stored(row["result_key"])])) == content


NAMES = ("notes/a.txt", "notes/b.txt", "notes/b.txt", "../../etc/passwd")
CONTENTS = (text(70_000), noise(40_000), b"", b"root")


def unpacked(target: Format, archive: bytes) -> list[tuple[str, bytes]]:
    """Open an archive with what Python brings along."""
    if target is Format.ZIP:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return [(name, opened.read(name)) for name in opened.namelist()]
    codec = CODECS[Format.ZSTD if target is Format.TAR_ZST else Format.GZIP]
    with tarfile.open(fileobj=io.BytesIO(b"".join(codec.decompress([archive])))) as opened:
        return [(member.name, opened.extractfile(member).read()) for member in opened]  # type: ignore[union-attr]


@pytest.mark.parametrize("target", list(ARCHIVES))
def test_several_files_become_one_archive(bench: Bench, target: Format) -> None:
    bench.submit(*CONTENTS, names=NAMES, name="stuff", format=target)

    row = bench.run()

    stored = bench.stored(row["result_key"])
    assert row["status"] == "succeeded"
    assert unpacked(target, stored) == list(zip(archive_names(NAMES), CONTENTS, strict=True))
    assert (row["result_format"], row["result_name"]) == (target, f"stuff.{target}")
    assert (row["result_sha256"], row["result_coding"]) == (sha256(stored), None)
    assert row["result_checksum"] == xxh3_64_hexdigest(stored)
    assert row["source_sha256"] is None
    assert bench.stored_keys() == {row["result_key"]}
    with bench.database.read() as connection:
        proven = connection.execute(select(sources.c.sha256, sources.c.key).order_by(sources.c.position)).all()
    assert proven == [(sha256(content), None) for content in CONTENTS]


def test_several_files_without_a_format_become_a_zip_that_names_it_once(bench: Bench) -> None:
    bench.submit(b"a", b"b", names=("a", "b"), name="Stuff.ZIP")

    row = bench.run()

    assert (row["result_format"], row["result_name"]) == ("zip", "Stuff.ZIP")


@pytest.mark.parametrize("target", [*CODECS, *ARCHIVES])
def test_the_same_files_and_options_give_the_same_bytes(bench: Bench, target: Format) -> None:
    contents, names = (CONTENTS, NAMES) if target in ARCHIVES else ((text(9_000_000),), ("a",))
    results = set()
    for threads in (1, 2):
        bench.submit(*contents, names=names, format=target, level="fast")
        job, _ = bench.claim()
        bench.processor().process(job, Attempt(job.size_bytes, threads=threads))
        results.add(bench.row(job.id)["result_sha256"])

    assert len(results) == 1


def test_the_codec_is_given_the_threads_of_the_attempt(bench: Bench) -> None:
    codec = FakeCodec(lambda chunk: chunk[1:], lambda chunk: b"x" + chunk)
    bench.submit(b"x" * 1000)
    job, _ = bench.claim()

    bench.processor(codecs={Format.ZSTD: codec}).process(job, Attempt(job.size_bytes, threads=7))

    assert bench.status(job.id) == "succeeded"
    assert codec.threads_seen == [7]


def test_a_digest_taken_at_the_door_is_compared(bench: Bench) -> None:
    content = text(50_000)
    bench.submit(content, sha256=sha256(content))

    assert bench.run()["status"] == "succeeded"


def test_a_file_that_a_power_loss_revived_under_the_result_key_is_replaced(bench: Bench) -> None:
    content = text(50_000)
    bench.submit(content)
    job, attempt = bench.claim()
    part = bench.store.create(result_key(job.id, job.epoch))
    part.write([b"from another life"])
    part.commit()

    bench.processor().process(job, attempt)

    assert bench.status(job.id) == "succeeded"
    assert b"".join(CODECS[Format.ZSTD].decompress([bench.stored(result_key(job.id, job.epoch))])) == content


class RecordedAttempt(Attempt):
    """An attempt that remembers its phases and how far each came."""

    def __init__(self, bytes_total: int) -> None:
        super().__init__(bytes_total)
        self.seen: dict[str, int] = {}

    def enter(self, phase: str, *, bytes_done: int = 0) -> None:
        super().enter(phase, bytes_done=bytes_done)
        self.seen[phase] = bytes_done

    def advance(self, size_bytes: int) -> None:
        super().advance(size_bytes)
        self.seen[self.progress().phase] += size_bytes


@pytest.mark.parametrize(
    ("content", "changes", "phases"),
    [
        (text(600_000), {"format": "xz"}, ["compressing", "storing", "verifying"]),
        (text(600_000), {}, ["probing", "compressing", "storing", "verifying"]),
        (noise(600_000), {}, ["probing", "digesting"]),
    ],
)
def test_every_byte_of_the_source_is_counted_in_every_phase(
    bench: Bench, content: bytes, changes: dict[str, Any], phases: list[str]
) -> None:
    bench.submit(content, **changes)
    job, _ = bench.claim()
    attempt = RecordedAttempt(job.size_bytes)

    bench.processor().process(job, attempt)

    assert attempt.seen == {phase: 0 if phase == "probing" else len(content) for phase in phases}


def test_every_byte_of_every_member_is_counted(bench: Bench) -> None:
    bench.submit(*CONTENTS, names=NAMES)
    job, _ = bench.claim()
    attempt = RecordedAttempt(job.size_bytes)

    bench.processor().process(job, attempt)

    assert attempt.seen == dict.fromkeys(("compressing", "storing", "verifying"), sum(map(len, CONTENTS)))


class ReadingAhead(FakeCodec):
    """A codec that reads everything before it has done anything, then does it in four steps."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(as_it_is)
        self._attempt = attempt
        self.told: list[int] = []

    def compress(self, chunks: Iterable[Chunk], *, finished: Finished = ignore, **options: Any) -> Generator[Chunk]:
        content = b"".join(chunks)
        for piece in cut(content, len(content) // 4):
            self.told.append(self._attempt.progress().bytes_done)
            yield piece
            finished(len(piece))


def test_progress_is_what_the_codec_has_finished_and_not_what_it_has_read(bench: Bench) -> None:
    bench.submit(text(400_000), format="zstd")
    job, attempt = bench.claim()
    codec = ReadingAhead(attempt)

    bench.processor(codecs={Format.ZSTD: codec}).process(job, attempt)

    assert bench.status(job.id) == "succeeded"
    assert codec.told == [0, 100_000, 200_000, 300_000]


@pytest.mark.parametrize("target", [Format.TAR_GZ, Format.TAR_ZST, Format.ZIP])
def test_progress_of_an_archive_is_what_of_its_members_is_finished(bench: Bench, target: Format) -> None:
    contents = [text(100_000), b"", b"x", noise(2_000_000), text(1_000_000, 2)]
    bench.submit(*contents, names=("a", "b", "c", "d" * 200, "e"), format=target, level="small")
    job, _ = bench.claim()
    attempt = RecordedAttempt(job.size_bytes)

    bench.processor().process(job, attempt)

    assert bench.status(job.id) == "succeeded"
    assert attempt.seen == dict.fromkeys(("compressing", "storing", "verifying"), sum(map(len, contents)))


def test_sources_that_cannot_be_deleted_are_left_to_the_sweep(bench: Bench) -> None:
    bench.submit(text(50_000))

    row = bench.run(FaultyStore(bench.files_dir, as_it_is, refuses_to_delete=True))

    assert row["status"] == "succeeded"
    assert len(bench.stored_keys()) == 2
