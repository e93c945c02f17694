"""What is particular to the folder: modes, the order of calls, locks and sweeps, odd things lying about."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from storage.errors import FileMissing, StorageFailed
from storage.files.file_store import PartFile
from storage.files.file_system import FileSystem
from storage.files.local_files import LocalFiles
from storage.files.local_part import WRITEBACK_BYTES
from storage.ids import Key, new_source_key
from tests.storage.files.recording_file_system import CALLS, RecordingFileSystem

PROJECT = Path(__file__).parents[3]

HOLD_A_PART = """
import sys
from pathlib import Path
from storage.ids import Key
from storage.files.local_files import LocalFiles

part = LocalFiles(Path(sys.argv[1])).create(Key(sys.argv[2]))
part.write([b"half"])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def recorder() -> RecordingFileSystem:
    return RecordingFileSystem()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(root: Path, recorder: RecordingFileSystem) -> LocalFiles:
    return LocalFiles(root, file_system=recorder)


@contextmanager
def process_holding(root: Path, key: Key) -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that writes a part; it ends when its input is closed."""
    command = [sys.executable, "-c", HOLD_A_PART, str(root), key]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        yield child


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_a_commit_writes_syncs_renames_and_syncs_the_folder_in_this_order(
    store: LocalFiles, recorder: RecordingFileSystem
) -> None:
    part = store.create(new_source_key())
    name = part.key + ".part"
    recorder.forget()

    part.write([b"one"])
    part.write([b"two", b"three"])
    part.commit()

    assert recorder.calls == [
        ("writev", name),
        ("writev", name),
        ("fsync", name),
        ("rename", name),
        ("open", "files"),
        ("fsync", "files"),
        ("close", "files"),
        ("close", name),
    ]


def test_a_new_file_costs_four_calls_before_its_first_byte(store: LocalFiles, recorder: RecordingFileSystem) -> None:
    recorder.forget()

    part = store.create(new_source_key())

    name = part.key + ".part"
    assert recorder.calls == [("open", name), ("flock", name), ("fstat", name), ("lstat", part.key)]
    part.abort()


def test_writing_out_begins_before_the_end_of_a_large_file(store: LocalFiles, recorder: RecordingFileSystem) -> None:
    part = store.create(new_source_key())
    piece = bytes(WRITEBACK_BYTES // 4)
    recorder.forget()

    for _ in range(9):
        part.write([piece])
    part.commit()

    calls = [call for call, _ in recorder.calls]
    assert calls[:10] == ["writev"] * 4 + ["begin_writeback"] + ["writev"] * 4 + ["begin_writeback"]
    assert calls.count("fsync") == 2


def test_the_folder_and_its_parents_are_private_and_durable(tmp_path: Path, recorder: RecordingFileSystem) -> None:
    root = tmp_path / "deep" / "files"

    store = LocalFiles(root, file_system=recorder)
    part = store.create(new_source_key())
    part.commit()

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (root.parent, root, root / part.key)]
    assert modes == [0o700, 0o700, 0o600]
    synced = [name for call, name in recorder.calls if call == "fsync"]
    assert synced[:2] == [tmp_path.name, "deep"]


def test_a_folder_that_is_there_is_used_as_it_is(root: Path) -> None:
    first = LocalFiles(root)
    root.chmod(0o750)
    part = first.create(new_source_key())
    part.commit()

    again = LocalFiles(root)

    assert [file.key for file in again.files()] == [part.key]
    assert stat.S_IMODE(root.stat().st_mode) == 0o750


def test_a_root_that_is_no_folder_is_refused(root: Path) -> None:
    root.write_bytes(b"a file")

    with pytest.raises(StorageFailed):
        LocalFiles(root)


def test_a_relative_root_is_fixed_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalFiles(Path("files"))
    monkeypatch.chdir("/")

    part = store.create(new_source_key())
    part.commit()

    assert names(tmp_path / "files") == {part.key}


def test_the_part_of_a_killed_process_is_removed(store: LocalFiles, root: Path) -> None:
    key = new_source_key()

    with process_holding(root, key) as child:
        assert store.remove_dead_parts() == 0
        assert names(root) == {key + ".part"}
        child.send_signal(signal.SIGKILL)
        child.wait(10)

        assert store.remove_dead_parts() == 1

    assert names(root) == set()


def test_a_living_process_keeps_its_part_while_a_dead_ones_goes(store: LocalFiles, root: Path) -> None:
    living, dead = new_source_key(), new_source_key()

    with process_holding(root, living), process_holding(root, dead) as child:
        child.kill()
        child.wait(10)

        assert store.remove_dead_parts() == 1
        assert names(root) == {living + ".part"}


def test_a_dead_part_keeps_its_key_until_it_is_swept(store: LocalFiles, root: Path) -> None:
    key = new_source_key()
    (root / (key + ".part")).write_bytes(b"dead")

    with pytest.raises(StorageFailed):
        store.create(key)
    assert store.remove_dead_parts() == 1
    store.create(key).commit()

    assert names(root) == {key}


def test_a_sweep_between_the_creation_and_the_lock_of_a_part_does_no_harm(
    store: LocalFiles, root: Path, recorder: RecordingFileSystem
) -> None:
    swept: list[int] = []

    def sweep_first(call: str, name: str) -> None:
        if call == "flock" and not swept:
            swept.append(LocalFiles(root).remove_dead_parts())

    recorder.before = sweep_first
    part = store.create(new_source_key())
    part.write([b"whole"])
    part.commit()

    assert swept == [1]
    assert (root / part.key).read_bytes() == b"whole"


def test_a_writer_waits_for_a_sweep_that_holds_its_part(root: Path, recorder: RecordingFileSystem) -> None:
    """The sweep has the lock and is about to unlink when the writer asks for it."""
    store, sweeper = LocalFiles(root), LocalFiles(root, file_system=recorder)
    about_to_unlink, go_on = threading.Event(), threading.Event()
    created = RecordingFileSystem()
    sweeping = threading.Thread(target=sweeper.remove_dead_parts)

    def pause_the_sweep(call: str, name: str) -> None:
        if call == "unlink":
            about_to_unlink.set()
            assert go_on.wait(10)

    def start_the_sweep(call: str, name: str) -> None:
        if call == "flock" and not about_to_unlink.is_set():
            sweeping.start()
            assert about_to_unlink.wait(10)
            # By then this thread most likely waits for the lock; should it come later, it gets it at once.
            threading.Timer(0.05, go_on.set).start()

    recorder.before, created.before = pause_the_sweep, start_the_sweep
    part = LocalFiles(root, file_system=created).create(new_source_key())
    part.write([b"whole"])
    part.commit()
    sweeping.join(10)

    assert [call for call, _ in created.calls].count("flock") == 2
    assert [file.key for file in store.files()] == [part.key]


@pytest.mark.parametrize("call", ["open", "flock", "close"])
def test_a_commit_during_a_sweep_does_no_harm(
    store: LocalFiles, root: Path, recorder: RecordingFileSystem, call: str
) -> None:
    writer = LocalFiles(root)
    part = writer.create(new_source_key())
    part.write([b"whole"])

    def commit_first(now: str, name: str) -> None:
        if now == call and name == part.key + ".part":
            part.commit()

    recorder.before = commit_first

    assert store.remove_dead_parts() == 0
    assert names(root) == {part.key}


def test_a_sweep_never_takes_a_new_part_for_the_one_it_opened(
    store: LocalFiles, root: Path, recorder: RecordingFileSystem
) -> None:
    writer, key = LocalFiles(root), new_source_key()
    first = writer.create(key)
    later: list[PartFile] = []

    def swap(call: str, name: str) -> None:
        if call == "flock" and not later:
            first.abort()
            later.append(writer.create(key))

    recorder.before = swap
    assert store.remove_dead_parts() == 0
    later[0].write([b"whole"])
    later[0].commit()

    assert (root / key).read_bytes() == b"whole"


def test_two_sweeps_at_once_remove_a_part_once(store: LocalFiles, root: Path, recorder: RecordingFileSystem) -> None:
    (root / (new_source_key() + ".part")).write_bytes(b"dead")
    other: list[int] = []

    def sweep_too(call: str, name: str) -> None:
        if call == "flock" and not other:
            other.append(LocalFiles(root).remove_dead_parts())

    recorder.before = sweep_too

    assert (store.remove_dead_parts(), other) == (0, [1])


def test_things_that_are_no_stored_files_are_passed_over_and_left_alone(store: LocalFiles, root: Path) -> None:
    part = store.create(new_source_key())
    part.commit()
    (root / "notes.txt").write_text("ours")
    (root / "notes.part").write_text("ours")
    (root / (part.key + ".part.part")).write_text("ours")
    (root / new_source_key()).mkdir()
    (root / (new_source_key() + ".part")).mkdir()
    (root / new_source_key()).symlink_to("notes.txt")
    (root / (new_source_key() + ".part")).symlink_to("notes.txt")
    before = names(root)

    assert [file.key for file in store.files()] == [part.key]
    assert store.remove_dead_parts() == 0
    assert names(root) == before


def test_symbolic_links_are_never_followed(store: LocalFiles, root: Path, tmp_path: Path) -> None:
    secret, key = tmp_path / "secret", new_source_key()
    secret.write_bytes(b"secret")
    (root / key).symlink_to(secret)
    other = new_source_key()
    (root / (other + ".part")).symlink_to(tmp_path / "made")

    with pytest.raises(StorageFailed):
        store.open(key)
    with pytest.raises(StorageFailed):
        store.create(key)
    with pytest.raises(StorageFailed):
        store.create(other)
    store.delete([key])

    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "made").exists()


def test_a_file_that_goes_while_files_looks_at_it_is_passed_over(
    store: LocalFiles, root: Path, recorder: RecordingFileSystem
) -> None:
    part = store.create(new_source_key())
    part.commit()
    recorder.before = lambda call, name: (root / name).unlink() if call == "lstat" else None

    assert list(store.files()) == []


def test_a_folder_that_goes_and_comes_back_needs_no_restart(store: LocalFiles, root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "away")

    with pytest.raises(StorageFailed):
        store.space()
    with pytest.raises(StorageFailed):
        list(store.files())
    with pytest.raises(StorageFailed):
        store.create(new_source_key())
    with pytest.raises(FileMissing):
        store.open(new_source_key())
    (tmp_path / "away").rename(root)
    part = store.create(new_source_key())
    part.commit()

    assert [file.key for file in store.files()] == [part.key]


def test_space_is_what_statvfs_leaves_to_others_than_root(store: LocalFiles, root: Path) -> None:
    found = os.statvfs(root)

    space = store.space()

    assert space.total_bytes == found.f_blocks * found.f_frsize
    assert abs(space.free_bytes - found.f_bavail * found.f_frsize) < 2**30


@given(
    chunks=some.lists(some.binary(max_size=20), max_size=12),
    limits=some.lists(some.integers(1, 30), min_size=1, max_size=8),
)
def test_short_writes_lose_and_repeat_nothing(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], limits: list[int]
) -> None:
    file_system = ShortFileSystem(limits)
    store = LocalFiles(tmp_path_factory.mktemp("short"), file_system=file_system)
    part = store.create(new_source_key())

    part.write(chunks)
    part.commit()

    with store.open(part.key) as file:
        assert file.read() == b"".join(chunks)
    assert part.size_bytes == sum(map(len, chunks))


class ShortFileSystem(FileSystem):
    """Writes at most so many bytes a call, by turns."""

    def __init__(self, limits: list[int]) -> None:
        super().__init__()
        turn = iter(range(10**6))

        def short(fd: int, views: list[memoryview]) -> int:
            return os.write(fd, b"".join(views)[: limits[next(turn) % len(limits)]]) if limits != [0] else 0

        self.writev = short  # type: ignore[assignment]  # As the real call, for what a part gives it.


def test_a_system_that_writes_nothing_is_an_error_not_a_loop(root: Path) -> None:
    store = LocalFiles(root, file_system=ShortFileSystem([0]))
    part = store.create(new_source_key())

    with pytest.raises(StorageFailed):
        part.write([b"x"])

    assert names(root) == set()


def test_an_early_writeback_that_is_unknown_here_is_tried_once(tmp_path: Path) -> None:
    file_system = FileSystem()
    reading, writing = os.pipe()

    file_system.begin_writeback(writing, 0, 1)
    file_system.begin_writeback(-1, 0, 1)

    os.close(reading)
    os.close(writing)


def test_an_early_writeback_that_fails_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        FileSystem().begin_writeback(-1, 0, 1)


def test_dropping_what_memory_holds_changes_no_byte_and_never_raises(tmp_path: Path) -> None:
    recorder = RecordingFileSystem()
    files = LocalFiles(tmp_path / "files", file_system=recorder)
    key = new_source_key()
    files.drop_cached(key)
    part = files.create(key)
    part.write([b"content"])
    part.commit()

    recorder.forget()
    files.drop_cached(key)
    assert [call for call, _ in recorder.calls] == ["open_reader", "drop_cached"]
    for nth in (1, 2):
        recorder.fail_at(nth, errno.EIO)
        files.drop_cached(key)
        assert recorder.fired is not None

    with files.open(key) as file:
        assert file.read() == b"content"


def test_the_recording_file_system_records_every_call_there_is() -> None:
    calls = {name for name in vars(FileSystem) if not name.startswith("_")}

    assert calls == set(CALLS)
