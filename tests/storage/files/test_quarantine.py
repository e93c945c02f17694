"""Files that seem to be nobody's are kept for a while, can be put back, and make way when room is needed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage.errors import StorageLost
from storage.files.file_system import FileSystem
from storage.files.local_files import LocalFiles
from storage.files.local_quarantine import FOLDER, LocalQuarantine
from storage.ids import Key, new_source_key, random_id, result_key


def owned(root: Path, **options: float) -> LocalFiles:
    return LocalFiles(root, check=lambda: None, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> LocalFiles:
    return owned(tmp_path)


def keep(store: LocalFiles, content: bytes = b"bytes", key: Key | None = None) -> Key:
    part = store.create(key or new_source_key())
    part.write([content])
    part.commit()
    return part.key


def names(store: LocalFiles) -> set[str]:
    return {file.key for file in store.files()}


def aside(store: LocalFiles) -> set[str]:
    return {file.key for file in store.quarantine.files()}


def test_a_file_is_set_aside_with_its_time_stamp_and_can_be_put_back(store: LocalFiles, tmp_path: Path) -> None:
    key, missing = keep(store), new_source_key()
    os.utime(tmp_path / key, (1000, 1000))

    assert store.quarantine.take([key, missing]) == 1

    assert (names(store), aside(store)) == (set(), {key})
    assert (tmp_path / FOLDER / key).stat().st_mtime == 1000
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert store.quarantine.put_back([key, missing]) == 1
    assert (names(store), aside(store)) == ({key}, set())
    with store.open(key) as file:
        assert file.read() == b"bytes"


def test_a_file_is_not_put_back_over_another(store: LocalFiles) -> None:
    key = keep(store, b"old", result_key(random_id(), 1))
    store.quarantine.take([key])
    keep(store, b"new", key)

    assert store.quarantine.put_back([key]) == 0

    with store.open(key) as file:
        assert file.read() == b"new"


def test_what_has_been_there_for_its_time_is_removed_however_old_it_was_before(tmp_path: Path) -> None:
    now = [0.0]
    store = owned(tmp_path)
    quarantine = LocalQuarantine(FileSystem(), tmp_path, lambda: None, 100, now=lambda: now[0])
    key = keep(store)
    os.utime(tmp_path / key, (1000, 1000))
    quarantine.take([key])
    (set_aside,) = quarantine.files()

    now[0] = set_aside.modified_at + 99
    assert quarantine.remove_old() == 0
    now[0] = set_aside.modified_at + 100
    assert quarantine.remove_old() == 1
    assert aside(store) == set()


def test_where_nothing_is_kept_files_are_removed_at_once(tmp_path: Path) -> None:
    store = owned(tmp_path, quarantine_seconds=0)
    key = keep(store)

    assert store.quarantine.take([key, new_source_key()]) == 1

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_removed_is_made_again(store: LocalFiles, tmp_path: Path) -> None:
    store.quarantine.take([keep(store)])
    for path in (tmp_path / FOLDER).iterdir():
        path.unlink()
    (tmp_path / FOLDER).rmdir()

    assert (aside(store), store.quarantine.remove_old()) == (set(), 0)
    assert store.quarantine.take([keep(store)]) == 1
    assert len(aside(store)) == 1


def let_the_clock_tick(folder: Path) -> None:
    """Wait until what happens now has a later time than what happened before: it has steps of some milliseconds."""
    probe = folder / "probe"
    probe.write_bytes(b"")
    began = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == began:
        probe.write_bytes(b"")
    probe.unlink()


def test_what_has_been_there_longest_makes_way_first(store: LocalFiles, tmp_path: Path) -> None:
    keys = [keep(store, b"x" * 1000) for _ in range(4)]
    for key in keys:
        store.quarantine.take([key])
        let_the_clock_tick(tmp_path)

    assert store.quarantine.make_room(1500) == 2000

    assert aside(store) == set(keys[2:])
    assert store.quarantine.make_room(10**9) == 2000
    assert store.quarantine.make_room(1) == 0


class FullDisk(FileSystem):
    """Says that there is no room as long as something is set aside."""

    def __init__(self, root: Path, call: str) -> None:
        super().__init__()
        real = getattr(self, call)

        def refuse(*arguments: object) -> object:
            if list((root / FOLDER).glob("?-*")):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        setattr(self, call, refuse)


@pytest.mark.parametrize("call", ["writev", "open"])
def test_a_full_disk_makes_the_quarantine_give_way_and_the_write_goes_on(tmp_path: Path, call: str) -> None:
    store = owned(tmp_path)
    store.quarantine.take([keep(store, b"x" * 1000) for _ in range(3)])
    cramped = LocalFiles(tmp_path, file_system=FullDisk(tmp_path, call), check=lambda: None)

    key = keep(cramped, b"needs room")

    with store.open(key) as file:
        assert file.read() == b"needs room"
    assert aside(store) == set()


def test_a_store_without_its_owner_sweeps_nothing(tmp_path: Path) -> None:
    store = LocalFiles(tmp_path)
    key = keep(store)

    with pytest.raises(ValueError, match="owner"):
        store.quarantine.take([key])
    assert store.quarantine.make_room(1) == 0
    assert names(store) == {key}


def test_a_store_that_was_pulled_away_writes_and_removes_nothing(tmp_path: Path) -> None:
    whole = owned(tmp_path)
    kept, put = keep(whole), keep(whole)
    whole.quarantine.take([put])
    (tmp_path / f"{new_source_key()}.part").write_bytes(b"dead")

    def lost() -> None:
        raise StorageLost("the folder of the files has been replaced", "")

    store = LocalFiles(tmp_path, check=lost, quarantine_seconds=0)
    before = sorted(tmp_path.rglob("*"))
    for refused in (
        lambda: store.create(new_source_key()),
        lambda: store.put_many([]),
        lambda: store.delete([kept]),
        lambda: store.remove_dead_parts(),
        lambda: store.quarantine.take([kept]),
        lambda: store.quarantine.put_back([put]),
        lambda: store.quarantine.remove_old(),
    ):
        with pytest.raises(StorageLost):
            refused()
    assert store.quarantine.make_room(1) == 0
    assert sorted(tmp_path.rglob("*")) == before
    with store.open(kept) as file:
        assert file.read() == b"bytes", "what can be read is read"


@pytest.mark.parametrize("key", ["owner", "../x", "quarantine", "s-x"])
def test_only_keys_are_moved(store: LocalFiles, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.quarantine.take([Key(key)])
    with pytest.raises(ValueError, match="not a key"):
        store.quarantine.put_back([Key(key)])
