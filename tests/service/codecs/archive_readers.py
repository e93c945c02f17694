"""Programs that open archives, as command lines: what people have on their machines, from a file and from a pipe."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from service.codecs.codec import Format
from tests.parts import missing

_HERE = Path(__file__).parent / "readers"
_JAVA = f"java -XX:TieredStopAtLevel=1 {quote(str(_HERE / 'ReadZip.java'))}"
_PERL = f"perl {quote(str(_HERE / 'read_zip.pl'))}"
_PYTHON = quote(sys.executable)


@dataclass(frozen=True)
class Reader:
    """One way to open an archive."""

    name: str
    needs: tuple[str, ...]
    command: str
    """For bash, in the folder where files are to appear; ``$1`` is the archive. A pipe's end may be left unread."""
    lists: bool = False
    """It prints CRC-32, size and name of what every member holds, instead of making files."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Seen:
    """What a reader found under a name."""

    crc32: int
    size_bytes: int


READERS = {
    Format.ZIP: (
        Reader("unzip", ("unzip",), 'unzip -qq "$1"'),
        Reader("7z", ("7z",), '7z x -bso0 -bsp0 "$1"'),
        Reader("bsdtar from a file", ("bsdtar",), 'bsdtar -xf "$1"'),
        Reader("bsdtar from a pipe", ("bsdtar",), 'bsdtar -xf - < <(cat "$1")'),
        Reader("busybox unzip", ("busybox",), 'busybox unzip -q "$1"'),
        Reader("Java's ZipFile", ("javac",), f'{_JAVA} "$1"', lists=True),
        Reader("Java's ZipInputStream", ("javac",), f'{_JAVA} < <(cat "$1")', lists=True),
        Reader("Perl's IO::Uncompress::Unzip", ("perl",), f'{_PERL} < <(cat "$1")', lists=True),
        Reader("Python's zipfile", (), f'{_PYTHON} -m zipfile -e "$1" .'),
    ),
    Format.TAR_ZST: (
        Reader("tar", ("tar", "zstd"), 'tar --zstd -xf "$1"'),
        Reader("bsdtar from a pipe", ("bsdtar",), 'bsdtar -xf - < <(cat "$1")'),
        Reader("busybox tar", ("busybox", "zstd"), 'zstd -dcq "$1" | busybox tar -xf -'),
        Reader("7z", ("7z", "zstd"), 'zstd -dcq "$1" | 7z x -bso0 -bsp0 -si -ttar'),
    ),
    Format.TAR_GZ: (
        Reader("tar", ("tar",), 'tar -xzf "$1"'),
        Reader("bsdtar from a pipe", ("bsdtar",), 'bsdtar -xf - < <(cat "$1")'),
        Reader("busybox tar", ("busybox",), 'busybox tar -xzf - < <(cat "$1")'),
        Reader("7z", ("7z",), '7z x -so -tgzip "$1" | 7z x -bso0 -bsp0 -si -ttar'),
        Reader("Python's tarfile", (), f'{_PYTHON} -m tarfile -e "$1" .'),
    ),
}
"""All that read every member of an archive of their format."""

BUSYBOX_FROM_A_PIPE = Reader("busybox unzip from a pipe", ("busybox",), 'busybox unzip -q - < <(cat "$1")')
"""It refuses members that are described after their data."""


IN_A_ROW = {
    Format.ZIP: (
        Reader("unzip", ("unzip",), 'unzip -p "$1"'),
        Reader("7z", ("7z",), '7z x -so -bsp0 "$1"'),
        Reader("bsdtar from a pipe", ("bsdtar",), 'bsdtar -xOf - < <(cat "$1")'),
        Reader("busybox unzip from a pipe", ("busybox",), 'busybox unzip -p - < <(cat "$1")'),
    ),
    Format.TAR_ZST: (Reader("bsdtar from a pipe", ("bsdtar",), 'bsdtar -xOf - < <(cat "$1")'),),
    Format.TAR_GZ: (Reader("busybox tar", ("busybox",), 'busybox tar -xzOf - < <(cat "$1")'),),
}
"""Those that print what all members hold, one after the other."""


def each_of(readers: Mapping[Format, Iterable[Reader]]) -> list[tuple[Format, Reader]]:
    """Return what to be parametrized with."""
    return [(target, reader) for target, some in readers.items() for reader in some]


def java_reader(*, from_a_pipe: bool) -> Reader:
    """Return a reader of zips that lists."""
    name = "Java's ZipInputStream" if from_a_pipe else "Java's ZipFile"
    return next(reader for reader in READERS[Format.ZIP] if reader.name == name)


def run(reader: Reader, archive: Path, folder: Path) -> bytes:
    """Return what a reader prints. It must end well, and without a word of complaint."""
    if absent := [tool for tool in reader.needs if shutil.which(tool) is None]:
        missing(f"{absent[0]} is not installed")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", reader.command, "bash", str(archive)],
        cwd=folder,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def read_all(reader: Reader, archive: Path, folder: Path) -> dict[str, Seen]:
    """Return everything the reader finds in the archive, by name; ``folder`` is empty and fills up."""
    printed = run(reader, archive, folder)
    if reader.lists:
        return _listed(printed.decode())
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): seen(path.read_bytes()) for path in files}


def seen(content: bytes) -> Seen:
    """Return how a content looks to a reader."""
    return Seen(zlib.crc32(content), len(content))


def _listed(printed: str) -> dict[str, Seen]:
    fields = [line.split(" ", 2) for line in printed.splitlines()]
    found = {name: Seen(int(crc32), int(size_bytes)) for crc32, size_bytes, name in fields}
    assert len(found) == len(fields)
    return found
