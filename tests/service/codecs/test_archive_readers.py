"""Archives opened by the programs that people have: names, contents, checksums, from files and from pipes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial, reduce
from itertools import chain, starmap
from pathlib import Path

import pytest
from isal import isal_zlib

from service.codecs.archive import ARCHIVES, Member
from service.codecs.codec import Format, Level
from tests.service.codecs.archive_readers import (
    BUSYBOX_FROM_A_PIPE,
    IN_A_ROW,
    READERS,
    Reader,
    Seen,
    each_of,
    java_reader,
    read_all,
    run,
    seen,
)
from tests.service.codecs.test_zip_member import SLOW_TO_DEFLATE
from tests.service.payloads import MIB, cut, giant, mixed, noise, text, write_sparse

GIB_4 = 1 << 32

HELD = {
    "notes.txt": text(50_000),
    "empty": b"",
    "folder/one byte": b"x",
    "folder/empty too": b"",
    "folder/中文 файл.txt": text(3 * MIB, 3),
    "folder/文中 файл.txt": text(MIB, 4),
    "photo.jpg": noise(2 * MIB + 1),
    "large photo.jpg": noise(9 * MIB),
    "long/" + "n" * 236 + ".txt": mixed(300_000),
    "long/" + "n" * 236 + ".tab": mixed(200_000),
    "-rf": text(100),
}
FILES = HELD | {"described.hex": SLOW_TO_DEFLATE, "after it": b"after it"}


def member(name: str, content: bytes) -> Member:
    return Member(name, len(content), lambda: cut(content, MIB))


def write(path: Path, members: Iterable[Member], target: Format = Format.ZIP) -> Path:
    write_sparse(path, ARCHIVES[target].pack(members, level=Level.FAST, threads=2))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    return made


@pytest.mark.parametrize(("target", "reader"), each_of(READERS), ids=str)
def test_every_reader_finds_every_file_as_it_was(target: Format, reader: Reader, tmp_path: Path, folder: Path) -> None:
    archive = write(tmp_path / f"packed{ARCHIVES[target].suffix}", starmap(member, FILES.items()), target)

    found = read_all(reader, archive, folder)

    assert found == {name: seen(content) for name, content in FILES.items()}
    # No mode stands in a zip's local header: bsdtar then takes 0664.
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} <= {0o644, 0o664}


def test_busybox_reads_a_pipe_of_everything_that_has_its_sizes_in_its_head(tmp_path: Path, folder: Path) -> None:
    archive = write(tmp_path / "packed.zip", starmap(member, HELD.items()))

    found = read_all(BUSYBOX_FROM_A_PIPE, archive, folder)

    assert found == {name: seen(content) for name, content in HELD.items()}


def many() -> Iterator[tuple[str, bytes]]:
    """Yield 70,000 files: a third empty, a third stored, a third deflated."""
    for number in range(70_000):
        yield f"many/{number}", (b"", b"%d " % number, b"number %d " % number * 9)[number % 3]


@pytest.fixture(scope="module")
def archives_of_many(tmp_path_factory: pytest.TempPathFactory) -> dict[Format, Path]:
    made = tmp_path_factory.mktemp("many")
    return {target: write(made / target.value, starmap(member, many()), target) for target in ARCHIVES}


@pytest.mark.parametrize(("target", "reader"), each_of(IN_A_ROW), ids=str)
def test_seventy_thousand_members_are_read_one_after_the_other(
    target: Format, reader: Reader, archives_of_many: dict[Format, Path], folder: Path
) -> None:
    assert run(reader, archives_of_many[target], folder) == b"".join(content for _, content in many())


@pytest.mark.parametrize("from_a_pipe", [True, False])
def test_java_finds_seventy_thousand_members(
    from_a_pipe: bool, archives_of_many: dict[Format, Path], folder: Path
) -> None:
    found = read_all(java_reader(from_a_pipe=from_a_pipe), archives_of_many[Format.ZIP], folder)

    assert found == {name: seen(content) for name, content in many()}


GIANTS = {
    "stored, as large as 32 bits can say": (GIB_4 - 1, noise(MIB)),
    "deflated and described, 64 bits wide": (GIB_4, SLOW_TO_DEFLATE),
}
AFTER_THEM = {"described, 32 bits wide": SLOW_TO_DEFLATE, "held": text(MIB), "last": b"small"}


@pytest.fixture(scope="module")
def archive_of_giants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of more than 4 GiB, of which the disk holds 35 MiB: two giants, and small members beyond them."""
    giants = (Member(name, size, partial(giant, size, start)) for name, (size, start) in GIANTS.items())
    return write(tmp_path_factory.mktemp("giants") / "a.zip", chain(giants, starmap(member, AFTER_THEM.items())))


@pytest.mark.timeout(600)
def test_java_reads_giants_from_a_pipe(archive_of_giants: Path, folder: Path) -> None:
    found = read_all(java_reader(from_a_pipe=True), archive_of_giants, folder)

    expected = {
        name: Seen(reduce(lambda crc32, chunk: isal_zlib.crc32(chunk, crc32), giant(size, start), 0), size)
        for name, (size, start) in GIANTS.items()
    }
    assert found == expected | {name: seen(content) for name, content in AFTER_THEM.items()}


@pytest.mark.timeout(600)
def test_bsdtar_reads_giants_from_a_pipe(archive_of_giants: Path, folder: Path) -> None:
    # It compares checksums itself, and complains.
    assert run(Reader("", ("bsdtar",), 'bsdtar -xOf - < <(cat "$1") >/dev/null'), archive_of_giants, folder) == b""


@pytest.mark.parametrize(
    "reader",
    [
        Reader("unzip", ("unzip",), 'unzip -p "$1" desc*32* held last'),
        Reader("7z", ("7z",), '7z x -so -bsp0 "$1" "desc*32*" held last'),
        Reader("bsdtar", ("bsdtar",), 'bsdtar -xOf "$1" "desc*32*" held last'),
    ],
    ids=str,
)
def test_what_lies_beyond_giants_is_found_in_a_file(reader: Reader, archive_of_giants: Path, folder: Path) -> None:
    assert run(reader, archive_of_giants, folder) == b"".join(AFTER_THEM.values())
