"""Group commit: who may rely on which fsync, and what a failed one means for them."""

from __future__ import annotations

import errno
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from storage.files.file_system import FileSystem
from storage.files.folder_sync import FolderSync


class GatedFileSystem(FileSystem):
    """Real but for fsync: each waits for its permit, which is None or the error to raise."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Semaphore(0)
        self.permits: list[BaseException | None] = []
        self.permitted = threading.Semaphore(0)
        self.in_flight = 0
        self.count = 0
        self.fsync = self._gated  # type: ignore[assignment]  # Numbers only, which is what a folder is synced by.

    def permit(self, error: BaseException | None = None) -> None:
        self.permits.append(error)
        self.permitted.release()

    def _gated(self, fd: int) -> None:
        self.in_flight += 1
        assert self.in_flight == 1
        self.started.release()
        assert self.permitted.acquire(timeout=10)
        self.in_flight -= 1
        error = self.permits[self.count]
        self.count += 1
        if error:
            raise error


@pytest.fixture
def gate() -> GatedFileSystem:
    return GatedFileSystem()


@pytest.fixture
def folder(gate: GatedFileSystem, tmp_path: Path) -> FolderSync:
    return FolderSync(gate, tmp_path)


def gather(threads: ThreadPoolExecutor, folder: FolderSync, count: int) -> list[Future[None]]:
    """Start ``count`` callers and return once each has joined a round."""
    arrived = threading.Semaphore(0)

    def call() -> None:
        arrived.release()
        folder.sync()

    futures = [threads.submit(call) for _ in range(count)]
    for _ in range(count):
        assert arrived.acquire(timeout=10)
    # Between saying so and joining lie a few instructions; threads that wait for the leader show that all are in.
    deadline = time.monotonic() + 10
    while _waiters(folder) < count - 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    return futures


def _waiters(folder: FolderSync) -> int:
    return len(folder._gathering.done._cond._waiters)  # type: ignore[attr-defined]  # Nothing public tells.


def test_those_who_come_during_an_fsync_share_the_next_one(gate: GatedFileSystem, folder: FolderSync) -> None:
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(folder.sync)
        assert gate.started.acquire(timeout=10)
        others = gather(threads, folder, 8)

        gate.permit()
        first.result(10)
        assert gate.started.acquire(timeout=10)
        assert not any(other.done() for other in others)
        gate.permit()
        wait(others, 10)

    assert gate.count == 2
    assert [other.exception() for other in others] == [None] * 8


def test_a_failed_fsync_fails_everybody_who_relied_on_it_and_nobody_else(
    gate: GatedFileSystem, folder: FolderSync
) -> None:
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(folder.sync)
        assert gate.started.acquire(timeout=10)
        others = gather(threads, folder, 5)

        gate.permit()
        gate.permit(OSError(errno.EIO, "lost"))
        wait(others, 10)

        errors = [other.exception() for other in others]
        assert first.exception() is None
        assert [getattr(error, "errno", None) for error in errors] == [errno.EIO] * 5
        assert len({id(error) for error in errors}) == 5
        assert gate.count == 2
        gate.permit()
        folder.sync()


def test_a_leader_that_is_interrupted_leaves_nobody_waiting(gate: GatedFileSystem, folder: FolderSync) -> None:
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(folder.sync)
        assert gate.started.acquire(timeout=10)
        others = gather(threads, folder, 3)

        gate.permit()
        gate.permit(KeyboardInterrupt())
        wait([first, *others], 10)

    kinds = sorted(type(other.exception()).__name__ for other in others)
    assert kinds == ["InterruptedError", "InterruptedError", "KeyboardInterrupt"]
    gate.permit()
    folder.sync()


def test_a_leader_that_is_interrupted_while_it_waits_its_turn_is_replaced(
    gate: GatedFileSystem, folder: FolderSync
) -> None:
    turn, folder._in_flight = folder._in_flight, InterruptedTurn()  # type: ignore[assignment]  # Interrupts at once.
    with pytest.raises(KeyboardInterrupt):
        folder.sync()
    folder._in_flight = turn

    gate.permit()
    folder.sync()

    assert gate.count == 1


class InterruptedTurn:
    """A lock whose wait ends with the user's Ctrl-C."""

    def __enter__(self) -> None:
        raise KeyboardInterrupt

    def __exit__(self, *error: object) -> None: ...


def test_one_caller_alone_costs_one_fsync(gate: GatedFileSystem, folder: FolderSync) -> None:
    for _ in range(3):
        gate.permit()
        folder.sync()

    assert gate.count == 3


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FolderSync(FileSystem(), tmp_path / "gone").sync()
