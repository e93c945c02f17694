"""Every file-system call of every operation made to fail, one by one, with each errno a disk gives.

The table is generated: fail the first call an operation makes, then the second, and so on until none is left to fail.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from storage.errors import FileMissing, StorageError, StorageFailed, StorageFull
from storage.files.file_store import NewFile
from storage.files.local_files import LocalFiles
from storage.files.local_part import MAX_BUFFERS, WRITEBACK_BYTES
from storage.ids import Key, new_source_key
from tests.parts import missing
from tests.storage.files.recording_file_system import RecordingFileSystem

PROJECT = Path(__file__).parents[3]
ERRORS = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EIO: StorageFailed,
    errno.EROFS: StorageFailed,
}
LARGE = [b"x"] * MAX_BUFFERS + [bytes(WRITEBACK_BYTES), b"end"]


class Scene:
    """A store with two neighbours in it, and the key an operation is about."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file_system = RecordingFileSystem()
        self.store = LocalFiles(root, file_system=self.file_system)
        self.key = new_source_key()
        self.neighbours = [self.put(b"neighbour"), self.put(b"neighbour")]

    def put(self, body: bytes) -> Key:
        part = self.store.create(new_source_key())
        part.write([body])
        part.commit()
        return part.key

    def put_dead_part(self) -> None:
        (self.root / (new_source_key() + ".part")).write_bytes(b"dead")

    def parts(self) -> list[str]:
        return [path.name for path in self.root.glob("*.part")]

    def is_visible(self) -> bool:
        return (self.root / self.key).exists()


# Each prepares what it needs and returns the operation itself.


def creating(scene: Scene) -> Callable[[], object]:
    return lambda: scene.store.create(scene.key).abort()


def writing(scene: Scene) -> Callable[[], object]:
    part = scene.store.create(scene.key)
    return lambda: part.write(LARGE)


def committing(scene: Scene) -> Callable[[], object]:
    part = scene.store.create(scene.key)
    part.write([b"whole"])
    return part.commit


def putting_many(scene: Scene) -> Callable[[], object]:
    def put() -> None:
        (error,) = scene.store.put_many([NewFile(scene.key, [b"whole"])])
        if error is not None:
            raise error

    return put


def aborting(scene: Scene) -> Callable[[], object]:
    part = scene.store.create(scene.key)
    part.write([b"half"])
    return part.abort


def opening(scene: Scene) -> Callable[[], object]:
    return lambda: scene.store.open(scene.neighbours[0]).close()


def measuring(scene: Scene) -> Callable[[], object]:
    return lambda: scene.store.size_bytes(scene.neighbours[0])


def deleting(scene: Scene) -> Callable[[], object]:
    doomed = [scene.put(b"doomed"), scene.put(b"doomed")]
    return lambda: scene.store.delete(doomed)


def listing(scene: Scene) -> Callable[[], object]:
    return lambda: list(scene.store.files())


def looking_at_space(scene: Scene) -> Callable[[], object]:
    return scene.store.space


def sweeping(scene: Scene) -> Callable[[], object]:
    scene.put_dead_part()
    scene.put_dead_part()
    return scene.store.remove_dead_parts


def starting(scene: Scene) -> Callable[[], object]:
    return lambda: LocalFiles(scene.root / "deeper" / "files", file_system=scene.file_system)


OPERATIONS = [
    creating, writing, committing, putting_many, aborting, opening, measuring, deleting, listing, looking_at_space,
    sweeping, starting,
]  # fmt: skip

# Calls whose failure loses nothing: closing what is synced, given up or only read, and what abort itself does.
FORGIVEN = {"committing": {"close"}, "aborting": {"unlink", "close"}, "creating": {"unlink", "close"}}
FORGIVEN |= {"putting_many": {"close"}, "sweeping": {"close"}, "starting": {"close"}}
COMMITTING = {"committing", "putting_many"}
NEEDS_A_SWEEP = {"creating", "aborting", "sweeping"}


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a Path would open one more


def attempt(operation: Callable[[], object]) -> StorageError | None:
    """Return the store's error, if any; any other error is the test's failure."""
    try:
        operation()
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("prepare", OPERATIONS)
def test_any_failed_call_gives_the_right_error_and_harms_nothing(
    tmp_path: Path, prepare: Callable[[Scene], Callable[[], object]], number: int
) -> None:
    name = prepare.__name__
    for nth in range(1, 100):
        scene = Scene(tmp_path / f"{nth}")
        operation = prepare(scene)
        held = open_descriptors()
        scene.file_system.forget()
        scene.file_system.fail_at(nth, number)

        error = attempt(operation)

        scene.file_system.heal()
        fired = scene.file_system.fired
        if fired is None:
            break
        told = f"{name}: call {nth}, {fired}, failed with {errno.errorcode[number]}"
        if fired in FORGIVEN.get(name, ()):
            assert error is None, told
        else:
            assert type(error) is ERRORS[number], told
            assert isinstance(error.__cause__, OSError), told
            assert error.__cause__.errno == number, told
        check_nothing_is_harmed(scene, name, told, committed=name in COMMITTING and error is None)
        assert open_descriptors() == held - (name in {"writing", "committing", "aborting"}), told
    assert error is None
    assert nth > 1


def check_nothing_is_harmed(scene: Scene, name: str, told: str, *, committed: bool) -> None:
    """No part, nothing under the key unless committed, neighbours whole, and the store goes on as it is."""
    assert scene.is_visible() == committed, told
    if scene.parts():
        assert name in NEEDS_A_SWEEP, told
        scene.store.remove_dead_parts()
    assert scene.parts() == [], told
    for neighbour in scene.neighbours:
        with scene.store.open(neighbour) as file:
            assert file.read() == b"neighbour", told
    again = scene.put(b"again")
    with scene.store.open(again) as file:
        assert file.read() == b"again", told
    # Never synced twice, so never reported as safe on a second try.
    synced = [what for call, what in scene.file_system.calls if call == "fsync" and what.endswith(".part")]
    assert len(synced) == len(set(synced)), told


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("prepare", OPERATIONS)
def test_a_disk_that_stays_broken_gives_the_right_error_and_leaks_nothing(
    tmp_path: Path, prepare: Callable[[Scene], Callable[[], object]], number: int
) -> None:
    name = prepare.__name__
    for nth in range(1, 100):
        scene = Scene(tmp_path / f"{nth}")
        operation = prepare(scene)
        held = open_descriptors()
        scene.file_system.fail_at(nth, number, lasting=True)

        error = attempt(operation)

        scene.file_system.heal()
        if scene.file_system.fired is None:
            break
        told = f"{name}: from call {nth} on everything failed with {errno.errorcode[number]}"
        assert error is None or type(error) is ERRORS[number], told
        assert open_descriptors() == held - (name in {"writing", "committing", "aborting"}), told
        scene.store.remove_dead_parts()
        assert scene.parts() == [], told
        scene.put(b"again")


@pytest.mark.parametrize("which", ["part", "folder"])
def test_an_fsync_that_fails_once_and_would_then_succeed_is_never_a_success(tmp_path: Path, which: str) -> None:
    scene = Scene(tmp_path / "files")
    part = scene.store.create(scene.key)
    part.write([b"lost"])
    scene.file_system.forget()
    scene.file_system.fail_at({"part": 1, "folder": 4}[which], errno.EIO)

    with pytest.raises(StorageFailed):
        part.commit()
    with pytest.raises(StorageFailed):
        part.commit()
    part.abort()

    synced = [what for call, what in scene.file_system.calls if call == "fsync"]
    assert synced == [scene.key + ".part", "files"][: {"part": 1, "folder": 2}[which]]
    with pytest.raises(FileMissing):
        scene.store.open(scene.key)


@pytest.mark.parametrize("call", ["writev", "fsync", "rename"])
def test_of_many_files_one_that_fails_does_the_others_no_harm(tmp_path: Path, call: str) -> None:
    scene = Scene(tmp_path / "files")
    files = [NewFile(new_source_key(), [b"%d" % number]) for number in range(3)]
    scene.file_system.forget()
    again = [NewFile(new_source_key(), file.chunks) for file in files]
    scene.store.put_many(again)
    # The second call of its kind is the second file's: each step is taken for all files before the next.
    of_this_kind = [number for number, (name, _) in enumerate(scene.file_system.calls, 1) if name == call]
    scene.store.delete([file.key for file in again])
    scene.store.put_many(files[:1])
    scene.file_system.forget()
    scene.file_system.fail_at(of_this_kind[1], errno.ENOSPC)

    outcomes = scene.store.put_many([*files[1:], NewFile(scene.key, [b"last"])])

    scene.file_system.heal()
    assert [type(outcome) for outcome in outcomes] == [type(None), StorageFull, type(None)]
    assert scene.parts() == []
    assert scene.file_system.fired == call
    assert {file.key for file in scene.store.files()} == {
        *scene.neighbours, files[0].key, files[1].key, scene.key
    }  # fmt: skip


def test_when_the_shared_fsync_of_the_folder_fails_no_file_of_the_batch_is_left(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "files")
    files = [NewFile(new_source_key(), [b"small"]), NewFile(new_source_key(), [b"small"])]
    scene.file_system.forget()
    scene.store.put_many(files)
    fsyncs = [
        number for number, (name, what) in enumerate(scene.file_system.calls, 1) if (name, what) == ("fsync", "files")
    ]
    assert len(fsyncs) == 1
    scene.store.delete([file.key for file in files])
    scene.file_system.forget()
    scene.file_system.fail_at(fsyncs[0], errno.EIO)

    outcomes = scene.store.put_many(files)

    scene.file_system.heal()
    assert [type(outcome) for outcome in outcomes] == [StorageFailed, StorageFailed]
    assert {file.key for file in scene.store.files()} == set(scene.neighbours)


def test_one_file_that_cannot_be_deleted_does_not_spare_the_others(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "files")
    doomed = [scene.put(b"doomed") for _ in range(3)]
    scene.file_system.fail_at(2, errno.EIO)

    with pytest.raises(StorageFailed):
        scene.store.delete(doomed)

    assert {file.key for file in scene.store.files()} == {doomed[1], *scene.neighbours}


def test_one_dead_part_that_cannot_be_removed_does_not_spare_the_others(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "files")
    for _ in range(3):
        scene.put_dead_part()
    scene.file_system.fail_at(2, errno.EIO)

    with pytest.raises(StorageFailed):
        scene.store.remove_dead_parts()

    assert len(scene.parts()) == 1


def test_a_failed_write_frees_its_room_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "files")
    part = scene.store.create(scene.key)
    part.write([b"half"])
    scene.file_system.fail_at(1, errno.ENOSPC)

    with pytest.raises(StorageFull):
        part.write([b"rest"])

    assert scene.parts() == []
    with suppress(StorageFailed):
        part.commit()
    assert not scene.is_visible()


FILL_A_DISK = """
import sys
from pathlib import Path
from storage.errors import FileMissing, StorageFull
from storage.ids import new_source_key
from storage.files.local_files import LocalFiles

def put(size):
    part = store.create(new_source_key())
    part.write([b"x" * 4096] * (size // 4096))
    part.commit()
    return part.key

root = Path(sys.argv[1])
store = LocalFiles(root)
kept = put(256 * 1024)
free = store.space().free_bytes
assert 0 < free < 1024 * 1024, free
part = store.create(new_source_key())
try:
    part.write([b"y" * 4096] * 300)
except StorageFull:
    pass
else:
    raise AssertionError("a full disk went unseen")
assert [path.name for path in root.iterdir()] == [kept]
assert store.space().free_bytes == free
with store.open(kept) as file:
    assert file.read() == b"x" * 256 * 1024
put(512 * 1024)
store.delete([kept])
put(256 * 1024)
print("passed")
"""


def test_a_disk_that_is_really_full_is_told_cleaned_and_used_again(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    mountable = run([*namespace, "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$1"', "sh", str(tmp_path)])
    if mountable.returncode:
        missing(f"a small tmpfs cannot be mounted here: {mountable.stderr.strip()}")

    filled = run([*namespace, "sh", "-c", mount, "sh", str(tmp_path), sys.executable, FILL_A_DISK])

    assert (filled.returncode, filled.stdout) == (0, "passed\n"), filled.stderr


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
