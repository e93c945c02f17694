"""One suite over every archive, and what only zip or tar has to answer for."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from service import zip_stream
from service.archive import ARCHIVES, Archive, Member
from service.codec import CODECS, CodecError, Format, Level
from tests.parts import missing
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
GIB_5 = 5 << 30


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


@EVERY_ARCHIVE
def test_standard_library_and_tools_open_it(archive: Archive, tmp_path: Path) -> None:
    file = tmp_path / f"packed{archive.suffix}"
    file.write_bytes(packed(archive, members(FILES)))
    commands = {
        Format.ZIP: ["unzip", "-qq", str(file)],
        Format.TAR_ZST: ["tar", "--zstd", "-xf", str(file)],
        Format.TAR_GZ: ["tar", "-xzf", str(file)],
    }
    if not all(map(shutil.which, (commands[archive.format][0], "zstd"))):
        missing("the tools are not installed")
    folder = tmp_path / "out"
    folder.mkdir()

    subprocess.run(commands[archive.format], cwd=folder, check=True)

    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content
        assert (folder / name).stat().st_mode & 0o777 == 0o644


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


def test_zip_of_a_member_of_five_gib_uses_zip64_and_little_memory(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < GIB_5:
        pytest.skip("the disk is too small even for a sparse file")
    zeros = bytes(16 * MIB)
    big = Member("big", GIB_5, lambda: (zeros for _ in range(GIB_5 // len(zeros))))
    small = Member("small", 5, lambda: iter([b"small"]))
    file = tmp_path / "big.zip"
    with file.open("wb") as out:
        for chunk in ARCHIVES[Format.ZIP].pack([big, small], level=Level.FAST, threads=2):
            out.write(chunk)

    with zipfile.ZipFile(file) as archive:
        info, tail = archive.infolist()
        assert (info.file_size, info.extract_version) == (GIB_5, 45)
        assert (tail.file_size, tail.extract_version) == (5, 20)
        assert archive.read(tail) == b"small"


def test_zip_directory_uses_zip64_for_offsets_and_counts(tmp_path: Path) -> None:
    entry = zip_stream.new_entry("far", size_bytes=1, method=zip_stream.STORED, offset=GIB_5)

    directory = zip_stream.central_directory([entry], GIB_5 + 100)

    with (tmp_path / "far.zip").open("wb") as out:
        out.seek(GIB_5 + 100)  # A hole: takes no room.
        out.write(directory)
    with zipfile.ZipFile(tmp_path / "far.zip") as archive:
        assert archive.infolist()[0].header_offset == GIB_5


def test_zip_directory_of_seventy_thousand_members_is_read_back() -> None:
    one = packed(ARCHIVES[Format.ZIP], [Member("0", 1, lambda: iter([b"x"]))])
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        offset = archive.start_dir
    entries = [
        zip_stream.new_entry(f"{number}", size_bytes=1, method=zip_stream.STORED, offset=0) for number in range(70_000)
    ]

    data = one[:offset] + zip_stream.central_directory(entries, offset)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 70_000
