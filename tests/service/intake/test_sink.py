"""The sink: whole and durable files of what arrives, and nothing of what does not arrive whole."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from hashlib import md5, sha256, sha512
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_hexdigest

import service
from service.intake.sink import GATHER_BYTES, GATHER_CHUNKS, SMALL_BYTES, Incoming, Received, Sink
from storage.errors import StorageFailed, StorageFull
from storage.files.local_files import LocalFiles
from storage.files.under_way import LOCK_FILE
from storage.ids import Key
from tests.service.payloads import cut, noise

MIB = 1024 * 1024
SERVICE = Path(service.__file__).parent


@pytest.fixture
def store(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "files")


@pytest.fixture
def sink(store: LocalFiles) -> Iterator[Sink]:
    sink = Sink(store)
    yield sink
    sink.close()


def left(folder: Path) -> list[str]:
    """Return the names of all files of the store, parts too."""
    return sorted(path.name for path in (folder / "files").iterdir() if path.name != LOCK_FILE)


def stored(store: LocalFiles, key: Key) -> bytes:
    with store.open(key) as file:
        return file.read()


async def fed(sink: Sink, chunks: list[bytes], *, wants_digest: bool = False) -> Incoming:
    incoming = sink.begin(wants_digest=wants_digest)
    for chunk in chunks:
        if incoming.add(chunk):
            await incoming.flush()
    return incoming


def received(sink: Sink, chunks: list[bytes], **options: Any) -> Received:
    async def story() -> Received:
        return await (await fed(sink, chunks, **options)).finish()

    return asyncio.run(story())


@pytest.mark.parametrize(
    "sizes",
    [[], [0], [1], [5, 0, 7], [GATHER_BYTES], [GATHER_BYTES - 1, 2], [300_000] * 12, [3 * GATHER_BYTES + 1, 5]],
)
@pytest.mark.parametrize("wants_digest", [True, False])
def test_what_was_fed_is_stored_in_order(sink: Sink, store: LocalFiles, sizes: list[int], wants_digest: bool) -> None:
    chunks = [noise(size, seed) for seed, size in enumerate(sizes)]
    content = b"".join(chunks)

    file = received(sink, chunks, wants_digest=wants_digest)

    assert stored(store, file.key) == content
    assert file.size_bytes == len(content)
    assert file.sha256 == (sha256(content).hexdigest() if wants_digest else None)
    assert file.unstored == []


def test_views_are_taken_as_they_are(sink: Sink, store: LocalFiles) -> None:
    whole = noise(2 * MIB)
    views: list[Any] = [memoryview(whole)[at : at + 70_000] for at in range(0, len(whole), 70_000)]

    assert stored(store, received(sink, views).key) == whole


@pytest.mark.parametrize("size", [0, 10, SMALL_BYTES + 1])
@pytest.mark.parametrize("wants_digest", [True, False])
def test_other_digests_are_given_where_they_were_asked_for(sink: Sink, size: int, wants_digest: bool) -> None:
    content = noise(size)

    async def story() -> Received:
        incoming = sink.begin(wants_digest=wants_digest, others=["md5", "sha512", "crc32", "adler32"])
        incoming.add(content)
        return incoming.finish_later() or await incoming.finish()

    file = asyncio.run(story())

    expected = {
        "md5": md5(content).hexdigest(),
        "sha512": sha512(content).hexdigest(),
        "crc32": f"{zlib.crc32(content):08x}",
        "adler32": f"{zlib.adler32(content):08x}",
    }
    assert file.digests == expected | ({"sha256": sha256(content).hexdigest()} if wants_digest else {})


def test_a_flush_is_due_by_bytes_and_by_pieces(sink: Sink) -> None:
    by_bytes, by_pieces = sink.begin(wants_digest=False), sink.begin(wants_digest=False)

    assert [by_bytes.add(bytes(GATHER_BYTES - 1)), by_bytes.add(b"x")] == [False, True]
    assert [by_pieces.add(b"x") for _ in range(GATHER_CHUNKS)] == [False] * (GATHER_CHUNKS - 1) + [True]


def test_nothing_is_created_before_there_is_something_to_write(sink: Sink, store: LocalFiles, tmp_path: Path) -> None:
    async def story() -> None:
        incoming = sink.begin(wants_digest=True)
        incoming.add(b"little")
        assert left(tmp_path) == []
        await incoming.abort()

    asyncio.run(story())
    assert left(tmp_path) == []


def test_at_most_one_write_is_under_way_and_one_is_gathered(sink: Sink, store: LocalFiles) -> None:
    writing: list[int] = []
    most = 0

    async def story() -> None:
        nonlocal most
        incoming = sink.begin(wants_digest=False)
        whole = incoming._write

        def watched(chunks: list[Any]) -> None:
            nonlocal most
            writing.append(1)
            most = max(most, len(writing))
            whole(chunks)
            writing.pop()

        incoming._write = watched  # type: ignore[method-assign]
        for _ in range(20):
            if incoming.add(bytes(MIB)):
                await incoming.flush()
            assert incoming._gathered_bytes <= MIB
        await incoming.finish()

    asyncio.run(story())
    assert most == 1


# Small files.


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES])
@pytest.mark.parametrize("wants_digest", [True, False])
def test_a_small_file_may_wait_for_its_row(
    sink: Sink, store: LocalFiles, tmp_path: Path, size: int, wants_digest: bool
) -> None:
    content = noise(size)

    async def story() -> Received | None:
        return (await fed(sink, [content[:10], content[10:]], wants_digest=wants_digest)).finish_later()

    file = asyncio.run(story())

    assert file is not None
    assert left(tmp_path) == []
    [new] = file.unstored
    assert (new.key, b"".join(new.chunks)) == (file.key, content)
    assert (file.size_bytes, file.sha256) == (size, sha256(content).hexdigest() if wants_digest else None)


@pytest.mark.parametrize("chunks", [[bytes(SMALL_BYTES + 1)], [b"x"] * GATHER_CHUNKS])
def test_a_larger_file_may_not_nor_one_that_is_being_written(
    sink: Sink, store: LocalFiles, chunks: list[bytes]
) -> None:
    async def story() -> Received:
        incoming = await fed(sink, chunks)
        assert incoming.finish_later() is None
        return await incoming.finish()

    assert stored(store, asyncio.run(story()).key) == b"".join(chunks)


# What does not arrive whole.


@pytest.mark.parametrize("mebibytes", [0, 1, 5])
def test_an_aborted_file_leaves_nothing(sink: Sink, store: LocalFiles, tmp_path: Path, mebibytes: int) -> None:
    async def story() -> None:
        incoming = await fed(sink, [bytes(MIB)] * mebibytes)
        await incoming.abort()
        await incoming.abort()

    asyncio.run(story())
    assert left(tmp_path) == []


def test_aborting_after_the_end_does_nothing(sink: Sink, store: LocalFiles) -> None:
    async def story() -> Received:
        incoming = await fed(sink, [b"hello"])
        file = await incoming.finish()
        await incoming.abort()
        return file

    assert stored(store, asyncio.run(story()).key) == b"hello"


def test_discarded_files_are_removed(sink: Sink, store: LocalFiles, tmp_path: Path) -> None:
    async def story() -> None:
        files = [await (await fed(sink, [b"x"])).finish() for _ in range(3)]
        await sink.discard(files[:2])
        await sink.discard([])
        assert left(tmp_path) == [files[2].key]

    asyncio.run(story())


class Gate:
    """Holds one step of the sink's threads until it is opened."""

    def __init__(self, incoming: Incoming, step: str) -> None:
        self.is_reached = threading.Event()
        self._may_go_on = threading.Event()
        real: Callable[..., Any] = getattr(incoming, step)

        def held(*arguments: Any) -> Any:
            self.is_reached.set()
            assert self._may_go_on.wait(10)
            return real(*arguments)

        setattr(incoming, step, held)

    def open(self) -> None:
        self._may_go_on.set()


async def interrupted(task: asyncio.Task[Any], gate: Gate) -> None:
    """Cancel a task while a thread works for it; the thread goes on a little later."""
    await asyncio.to_thread(gate.is_reached.wait, 10)
    task.cancel()
    threading.Timer(0.05, gate.open).start()
    with pytest.raises(asyncio.CancelledError):
        await task


async def upload(incoming: Incoming, feed: Callable[[], Awaitable[Any]]) -> None:
    try:
        await feed()
    except BaseException:
        await incoming.abort()
        raise


def test_a_task_cancelled_while_it_waits_for_a_write_leaves_nothing(
    sink: Sink, store: LocalFiles, tmp_path: Path
) -> None:
    async def story() -> None:
        incoming = sink.begin(wants_digest=False)
        gate = Gate(incoming, "_write")

        async def feed() -> None:
            for _ in range(3):
                incoming.add(bytes(MIB))
                await incoming.flush()

        await interrupted(asyncio.create_task(upload(incoming, feed)), gate)

    asyncio.run(story())
    sink.close()
    assert left(tmp_path) == []


def test_a_task_cancelled_while_it_waits_for_the_commit_leaves_nothing(
    sink: Sink, store: LocalFiles, tmp_path: Path
) -> None:
    async def story() -> None:
        incoming = sink.begin(wants_digest=False)
        incoming.add(b"hello")
        gate = Gate(incoming, "_write_and_commit")
        await interrupted(asyncio.create_task(upload(incoming, incoming.finish)), gate)

    asyncio.run(story())
    sink.close()
    assert left(tmp_path) == []


def test_what_cannot_be_removed_then_is_left_to_the_sweep(
    sink: Sink, store: LocalFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Any) -> None:
        raise StorageFailed("no unlink")

    monkeypatch.setattr(store, "delete", failing)

    async def story() -> None:
        incoming = sink.begin(wants_digest=False)
        incoming.add(b"hello")
        gate = Gate(incoming, "_write_and_commit")
        await interrupted(asyncio.create_task(upload(incoming, incoming.finish)), gate)

    asyncio.run(story())
    assert len(left(tmp_path)) == 1


@pytest.mark.parametrize("mebibytes", [0, 3])
def test_a_store_that_is_full_fails_the_upload_and_nothing_is_left(
    sink: Sink, store: LocalFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mebibytes: int
) -> None:
    async def story() -> None:
        incoming = sink.begin(wants_digest=True)

        def full(_: Any) -> None:
            raise StorageFull("ENOSPC")

        monkeypatch.setattr(incoming, "_write", full)

        async def feed() -> Received:
            for _ in range(mebibytes):
                incoming.add(bytes(MIB))
                await incoming.flush()
            return await incoming.finish()

        with pytest.raises(StorageFull):
            await upload(incoming, feed)

    asyncio.run(story())
    assert left(tmp_path) == []


def test_closing_waits_for_what_is_under_way(store: LocalFiles) -> None:
    sink = Sink(store)
    finished: list[int] = []

    async def story() -> None:
        future = sink.call(lambda: finished.append(threading.Event().wait(0.05) or 1))
        sink.close()
        await future

    asyncio.run(story())
    assert finished == [1]


@pytest.mark.parametrize("size_bytes", [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * GATHER_BYTES + 7])
def test_every_file_has_the_checksum_of_what_arrived(sink: Sink, size_bytes: int) -> None:
    content = noise(size_bytes)
    chunks = [bytes(chunk) for chunk in cut(content, 40_000)]

    async def later() -> Received | None:
        return (await fed(sink, chunks)).finish_later()

    files = [received(sink, chunks), received(sink, chunks, wants_digest=True)]
    if (small := asyncio.run(later())) is not None:
        files.append(small)

    assert {file.checksum for file in files} == {xxh3_64_hexdigest(content)}
    assert (small is None) == (size_bytes > SMALL_BYTES)


def test_a_source_is_made_by_the_sink_alone() -> None:
    """What makes files of clients' bytes elsewhere would make them without a checksum."""
    callers = [path for path in SERVICE.rglob("*.py") if "new_source_key(" in path.read_text()]

    assert [path.name for path in callers] == ["sink.py"]
