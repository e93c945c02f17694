"""What every ``FileStore`` does: one suite over all implementations. A new one joins as a parameter of ``store``."""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import time

import pytest

from storage.errors import FileMissing, StorageFailed
from storage.files.file_store import Chunk, FileStore, NewFile
from storage.files.local_files import LocalFiles
from storage.ids import KEY_PATTERN, Key, attempt_of, is_job_id, new_source_key, random_id, result_key

ODD_KEYS = [
    "",
    ".",
    "..",
    "../s-" + "a" * 26,
    "/etc/passwd",
    "s-" + "a" * 25,
    "s-" + "a" * 27,
    "s-" + "A" * 26,
    "s-" + "a" * 26 + "\n",
    "s-" + "a" * 26 + "\0",
    "s-" + "a" * 26 + ".part",
    "r-" + "a" * 26,
    "r-" + "a" * 26 + ".-1",
    "r-" + "a" * 26 + ".12345678901",
    "s-" + "a" * 24 + "/b",
]


@pytest.fixture(params=["local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    """Return an empty store of each kind."""
    stores = {"local": lambda: LocalFiles(tmp_path / "files")}
    return stores[request.param]()


def put(store: FileStore, key: Key, *chunks: Chunk) -> Key:
    part = store.create(key)
    part.write(chunks)
    part.commit()
    return key


def content(store: FileStore, key: Key) -> bytes:
    with store.open(key) as file:
        return file.read()


def test_many_small_files_are_stored_at_once(store: FileStore) -> None:
    files = [NewFile(new_source_key(), [b"file ", b"%d" % number]) for number in range(20)]
    files.append(NewFile(new_source_key(), []))

    assert store.put_many(files) == [None] * 21

    assert [content(store, file.key) for file in files[:20]] == [b"file %d" % number for number in range(20)]
    assert content(store, files[20].key) == b""
    assert store.put_many([]) == []


def test_of_many_files_only_the_one_whose_key_is_taken_is_refused(store: FileStore) -> None:
    taken = put(store, new_source_key(), b"first")
    other = new_source_key()

    refused, stored = store.put_many([NewFile(taken, [b"second"]), NewFile(other, [b"third"])])

    assert isinstance(refused, StorageFailed)
    assert stored is None
    assert content(store, taken) == b"first"
    assert content(store, other) == b"third"


def test_bytes_come_back_as_they_were_written(store: FileStore) -> None:
    key = new_source_key()
    part = store.create(key)

    part.write([b"one, ", b"two"])
    part.write([b", three"])
    assert part.key == key
    assert part.size_bytes == 15
    part.commit()

    assert content(store, key) == b"one, two, three"
    assert store.size_bytes(key) == 15


def test_a_file_of_no_bytes_is_a_file(store: FileStore) -> None:
    key = new_source_key()

    store.create(key).commit()

    assert content(store, key) == b""
    assert store.size_bytes(key) == 0
    assert [file.key for file in store.files()] == [key]


def test_empty_chunks_and_no_chunks_add_nothing(store: FileStore) -> None:
    part = store.create(new_source_key())

    part.write([])
    part.write([b"", bytearray(), memoryview(b"")])
    part.write([b"", b"x", b""])
    part.commit()

    assert part.size_bytes == 1
    assert content(store, part.key) == b"x"


def test_more_chunks_than_one_system_call_takes_stay_in_order(store: FileStore) -> None:
    chunks = [number.to_bytes(3, "big") for number in range(5000)]

    key = put(store, new_source_key(), *chunks)

    assert content(store, key) == b"".join(chunks)


def test_every_kind_of_chunk_is_taken_by_its_bytes(store: FileStore) -> None:
    words = memoryview(bytes(range(16))).cast("I")

    key = put(store, new_source_key(), b"ab", bytearray(b"cd"), memoryview(b"xefx")[1:3], words)

    assert content(store, key) == b"abcdef" + bytes(range(16))


def test_a_large_file_comes_back_whole(store: FileStore) -> None:
    chunks = [os.urandom(256 * 1024) for _ in range(4)]
    part = store.create(new_source_key())

    for _ in range(20):
        part.write(chunks)
    part.commit()

    with store.open(part.key) as file:
        found = hashlib.sha256(file.read()).hexdigest()
    assert found == hashlib.sha256(b"".join(chunks) * 20).hexdigest()
    assert store.size_bytes(part.key) == 20 * 1024 * 1024


def test_a_part_cannot_be_seen_under_its_key(store: FileStore) -> None:
    part = store.create(new_source_key())
    part.write([b"half"])

    with pytest.raises(FileMissing):
        store.open(part.key)
    with pytest.raises(FileMissing):
        store.size_bytes(part.key)
    assert list(store.files()) == []

    part.abort()


def test_abort_leaves_nothing_and_may_be_repeated(store: FileStore) -> None:
    part = store.create(new_source_key())
    part.write([b"half"])

    part.abort()
    part.abort()

    assert list(store.files()) == []
    assert store.remove_dead_parts() == 0
    with pytest.raises(FileMissing):
        store.open(part.key)


def test_abort_after_commit_keeps_the_file(store: FileStore) -> None:
    part = store.create(new_source_key())
    part.write([b"kept"])
    part.commit()

    part.abort()

    assert content(store, part.key) == b"kept"


def test_a_finished_part_takes_no_more_calls(store: FileStore) -> None:
    committed, aborted = store.create(new_source_key()), store.create(new_source_key())
    committed.write([b"kept"])
    committed.commit()
    aborted.abort()

    for part in (committed, aborted):
        with pytest.raises(StorageFailed):
            part.write([b"more"])
        with pytest.raises(StorageFailed):
            part.commit()

    assert content(store, committed.key) == b"kept"
    assert [file.key for file in store.files()] == [committed.key]


def test_an_aborted_key_may_be_used_again(store: FileStore) -> None:
    key = new_source_key()
    store.create(key).abort()

    put(store, key, b"second")

    assert content(store, key) == b"second"


def test_a_committed_file_is_never_replaced(store: FileStore) -> None:
    key = put(store, result_key(random_id(), 3), b"first")

    with pytest.raises(StorageFailed):
        put(store, key, b"second")

    assert content(store, key) == b"first"
    assert store.remove_dead_parts() == 0


def test_a_key_with_a_living_part_is_refused_and_the_part_unharmed(store: FileStore) -> None:
    part = store.create(result_key(random_id(), 0))
    part.write([b"first"])

    with pytest.raises(StorageFailed):
        put(store, part.key, b"second")
    part.commit()

    assert content(store, part.key) == b"first"


def test_an_open_file_is_seekable_and_outlives_its_deletion(store: FileStore) -> None:
    key = put(store, new_source_key(), b"0123456789")

    with store.open(key) as file:
        store.delete([key])

        assert file.read(4) == b"0123"
        assert file.seek(-3, os.SEEK_END) == 7
        assert file.read() == b"789"
    with pytest.raises(FileMissing):
        store.open(key)


def test_a_missing_file_is_named_in_the_error(store: FileStore) -> None:
    key = new_source_key()

    with pytest.raises(FileMissing, match=key) as opened:
        store.open(key)
    with pytest.raises(FileMissing, match=key):
        store.size_bytes(key)

    assert opened.value.key == key


def test_delete_takes_many_keys_and_passes_over_missing_ones(store: FileStore) -> None:
    first, second, kept = (put(store, new_source_key(), b"x") for _ in range(3))

    store.delete(iter([first, new_source_key(), second, first]))
    store.delete([])

    assert [file.key for file in store.files()] == [kept]


def test_a_deleted_key_may_be_used_again(store: FileStore) -> None:
    key = put(store, new_source_key(), b"first")
    store.delete([key])

    put(store, key, b"second")

    assert content(store, key) == b"second"


def test_files_lists_committed_files_with_size_and_time(store: FileStore) -> None:
    before = time()
    keys = {put(store, new_source_key(), b"x" * size): size for size in (0, 1, 1000)}
    part = store.create(new_source_key())
    part.write([b"unseen"])

    listed = list(store.files())

    assert {file.key: file.size_bytes for file in listed} == keys
    assert all(before - 2 <= file.modified_at <= time() + 2 for file in listed)
    part.abort()


def test_files_may_be_left_before_its_end_and_suffers_deletions_meanwhile(store: FileStore) -> None:
    keys = {put(store, new_source_key(), b"x") for _ in range(50)}

    listing = store.files()
    first = next(listing)
    store.delete(keys - {first.key})
    rest = [file.key for file in listing]

    assert set(rest) <= keys
    assert [file.key for file in store.files()] == [first.key]


@pytest.mark.parametrize("odd", ODD_KEYS)
def test_what_is_no_key_is_refused_before_anything_is_touched(store: FileStore, odd: str) -> None:
    key = Key(odd)

    with pytest.raises(ValueError, match="not a key"):
        store.create(key)
    with pytest.raises(ValueError, match="not a key"):
        store.open(key)
    with pytest.raises(ValueError, match="not a key"):
        store.size_bytes(key)
    with pytest.raises(ValueError, match="not a key"):
        store.delete([key])


def test_one_odd_key_deletes_none_of_the_others(store: FileStore) -> None:
    key = put(store, new_source_key(), b"x")

    with pytest.raises(ValueError, match="not a key"):
        store.delete([key, Key("..")])

    assert content(store, key) == b"x"


def test_sixteen_threads_commit_at_once(store: FileStore) -> None:
    def put_ten(thread: int) -> list[tuple[Key, bytes]]:
        wanted = [(new_source_key(), f"{thread}/{number}".encode() * 100) for number in range(10)]
        for key, body in wanted:
            put(store, key, body)
            assert content(store, key) == body
        return wanted

    with ThreadPoolExecutor(16) as threads:
        wanted = [pair for pairs in threads.map(put_ten, range(16)) for pair in pairs]

    assert {file.key for file in store.files()} == {key for key, _ in wanted}
    assert all(content(store, key) == body for key, body in wanted)
    assert store.remove_dead_parts() == 0


def test_one_of_many_threads_that_want_a_key_gets_it(store: FileStore) -> None:
    key = result_key(random_id(), 1)

    def attempt(thread: int) -> int | None:
        with suppress(StorageFailed):
            put(store, key, b"%d" % thread)
            return thread
        return None

    with ThreadPoolExecutor(16) as threads:
        winners = [winner for winner in threads.map(attempt, range(16)) if winner is not None]

    assert len(winners) == 1
    assert content(store, key) == b"%d" % winners[0]


def test_living_parts_of_this_process_are_kept_by_a_sweep(store: FileStore) -> None:
    part = store.create(new_source_key())
    part.write([b"alive, "])

    assert store.remove_dead_parts() == 0
    part.write([b"still"])
    part.commit()

    assert content(store, part.key) == b"alive, still"


def test_space_is_there_and_free_is_part_of_total(store: FileStore) -> None:
    space = store.space()

    assert 0 < space.free_bytes <= space.total_bytes


def test_keys_are_random_or_say_their_attempt() -> None:
    job_id = random_id()

    assert re.fullmatch("[a-z2-7]{26}", job_id)
    assert len({new_source_key() for _ in range(1000)}) == 1000
    assert KEY_PATTERN.fullmatch(new_source_key())
    assert KEY_PATTERN.fullmatch(result_key(job_id, 12))
    assert attempt_of(result_key(job_id, 12)) == (job_id, 12)
    assert attempt_of(new_source_key()) is None


def test_a_job_id_is_told_from_other_text() -> None:
    assert is_job_id(random_id())
    assert not any(is_job_id(text) for text in ["", "a" * 25, "a" * 27, "A" * 26, "a" * 26 + "\n", new_source_key()])
