"""One suite over every archive, and what only zip or tar has to answer for."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest

from service.codecs.archive import ARCHIVES, Archive, Member
from service.codecs.codec import CODECS, CodecError, Format, Level
from tests.service.payloads import MIB, cut, mixed, noise, text, thread_count, threads_settle_at

EVERY_ARCHIVE = pytest.mark.parametrize("archive", ARCHIVES.values(), ids=lambda archive: archive.format.value)
EVERY_LEVEL = pytest.mark.parametrize("level", Level)

FILES = {
    "notes.txt": text(50_000),
    "empty": b"",
    "folder/one byte": b"x",
    "folder/中文 файл.txt": text(3 * MIB, 3),
    "photo.jpg": noise(2 * MIB + 1),
    "long/" + "n" * 236 + ".txt": mixed(300_000),
}


def members(files: dict[str, bytes], chunk_bytes: int = MIB) -> Iterator[Member]:
    for name, content in files.items():
        yield Member(name, len(content), lambda content=content: cut(content, chunk_bytes))  # type: ignore[misc]


def packed(archive: Archive, files: Iterable[Member], level: Level = Level.FAST, *, threads: int = 2) -> bytes:
    return b"".join(archive.pack(files, level=level, threads=threads))


def unpacked(archive: Archive, data: bytes) -> dict[str, bytes]:
    return {name: b"".join(content) for name, content in archive.unpack(io.BytesIO(data))}


@EVERY_LEVEL
@EVERY_ARCHIVE
def test_every_member_comes_back_in_order(archive: Archive, level: Level) -> None:
    result = unpacked(archive, packed(archive, members(FILES), level))

    assert list(result.items()) == list(FILES.items())


@EVERY_ARCHIVE
def test_archive_of_nothing_is_valid(archive: Archive) -> None:
    assert unpacked(archive, packed(archive, [])) == {}


@EVERY_ARCHIVE
def test_threads_and_cuts_do_not_change_the_bytes(archive: Archive) -> None:
    outputs = {
        packed(archive, members(FILES, chunk_bytes), Level.BALANCED, threads=threads)
        for threads, chunk_bytes in [(1, MIB), (2, 77_777), (4, 5 * MIB)]
    }

    assert len(outputs) == 1


@EVERY_ARCHIVE
@pytest.mark.parametrize("promised", [99, 101])
def test_member_of_another_size_than_promised_is_refused(archive: Archive, promised: int) -> None:
    with pytest.raises(CodecError):
        packed(archive, [Member("a", promised, lambda: iter([bytes(100)]))])


@EVERY_ARCHIVE
def test_cut_off_archive_is_refused(archive: Archive) -> None:
    whole = packed(archive, members(FILES))

    for position in (0, 1, 10, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        with pytest.raises(CodecError):
            unpacked(archive, whole[:position])


@EVERY_ARCHIVE
def test_garbage_after_the_end_is_refused(archive: Archive) -> None:
    whole = packed(archive, members(FILES))

    with pytest.raises(CodecError):
        unpacked(archive, whole + b"garbage")


@EVERY_ARCHIVE
def test_flipped_byte_in_the_content_is_never_silent(archive: Archive) -> None:
    files = {"a.txt": text(40_000), "b.bin": noise(3000)}
    whole = packed(archive, members(files))

    for position in range(0, len(whole), 307):
        spoilt = bytearray(whole)
        spoilt[position] ^= 0x10
        try:
            result = unpacked(archive, bytes(spoilt))
        except CodecError:
            continue
        # What a zip says twice (times, modes, the local header) may differ without touching the content.
        assert result != files or archive.format is Format.ZIP


@EVERY_ARCHIVE
def test_closing_midway_leaves_no_thread(archive: Archive) -> None:
    before = thread_count()
    stream = archive.pack(members({"a": mixed(20 * MIB)}), level=Level.FAST, threads=4)
    assert len(list(islice(stream, 3))) == 3

    stream.close()
    del stream

    assert threads_settle_at(before)


def test_tar_has_fixed_times_and_no_owner() -> None:
    data = packed(ARCHIVES[Format.TAR_GZ], members(FILES))

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            assert (info.mtime, info.mode, info.uid, info.gid, info.uname) == (0, 0o644, 0, 0, "")


def test_tar_with_something_else_than_files_is_refused() -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    data = b"".join(CODECS[Format.GZIP].compress([plain.getvalue()], level=Level.FAST))

    with pytest.raises(CodecError):
        unpacked(ARCHIVES[Format.TAR_GZ], data)


def test_zip_stores_what_does_not_compress_and_marks_names_as_utf8() -> None:
    data = packed(ARCHIVES[Format.ZIP], members(FILES))

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            stored = info.filename in {"photo.jpg", "empty", "folder/one byte"}
            assert info.compress_type == (zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
            assert info.flag_bits & 0x800
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.extract_version == 20
