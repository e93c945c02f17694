"""A real disk of a few MiB, for what happens when it is full, has no inodes left, or may not be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

FILLING = "filling"
CHUNK_BYTES = 4096


def can_mount() -> bool:
    """Whether this user may mount, at least where only its own programs see it."""
    asked = ["unshare", "-m", "true"]
    return shutil.which("unshare") is not None and subprocess.run(asked, check=False).returncode == 0


mounting = pytest.mark.skipif(not can_mount(), reason="mounting needs root")


class SmallDisk:
    """A tmpfs at ``path``."""

    def __init__(self, path: Path, options: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", str(path)], check=True)

    @property
    def free_bytes(self) -> int:
        """Room left."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Take all room but so much, as another program would; again, if more has come."""
        with (self.path / FILLING).open("ab", buffering=0) as file, suppress(OSError):
            while self.free_bytes > leave_bytes:
                file.write(bytes(CHUNK_BYTES))

    def empty(self) -> None:
        """Give it all back."""
        (self.path / FILLING).unlink()

    def remount(self, options: str) -> None:
        """Change how the path is mounted: over itself, so that what is open stays open."""
        subprocess.run(["mount", "--bind", str(self.path), str(self.path)], check=True)
        subprocess.run(["mount", "-o", f"remount,bind,{options}", str(self.path)], check=True)

    def undo(self) -> None:
        """Take the last mount away."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


MakeDisk = Callable[[str], SmallDisk]


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Mount small disks; they are gone in the end."""
    made: list[SmallDisk] = []

    def make(options: str) -> SmallDisk:
        made.append(SmallDisk(tmp_path / f"disk{len(made)}", options))
        return made[-1]

    yield make
    for disk in made:
        while os.path.ismount(disk.path):
            disk.undo()
