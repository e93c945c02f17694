"""Who is dead, told by locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.work.life_lock import LifeLocks
from storage.ids import random_id


def test_a_worker_is_alive_until_the_last_process_that_has_its_lock_is_gone(tmp_path: Path) -> None:
    locks, worker_id = LifeLocks(tmp_path / "locks"), random_id()
    lock = locks.take(worker_id)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=(lock.fd,))
    try:
        os.close(lock.fd)
        assert locks.dead() == []
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()

    assert locks.dead() == [worker_id]
    locks.forget(worker_id)
    assert locks.dead() == []


def test_a_worker_whose_jobs_could_not_be_taken_up_is_among_the_dead(tmp_path: Path) -> None:
    locks, worker_id = LifeLocks(tmp_path), random_id()

    locks.take(worker_id).leave()

    assert locks.dead() == [worker_id]


def test_a_worker_that_ended_in_good_order_is_not_among_the_dead(tmp_path: Path) -> None:
    locks = LifeLocks(tmp_path)
    lock = locks.take(random_id())
    assert locks.dead() == []

    lock.end()

    assert locks.dead() == []
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_locks_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.lock").touch()

    assert LifeLocks(tmp_path).dead() == []


def test_a_lock_that_somebody_removes_while_it_is_taken_is_taken_again(tmp_path: Path) -> None:
    locks = LifeLocks(tmp_path)
    is_over = threading.Event()

    def bury() -> None:
        while not is_over.is_set():
            for worker_id in locks.dead():
                locks.forget(worker_id)

    undertakers = [threading.Thread(target=bury) for _ in range(2)]
    for undertaker in undertakers:
        undertaker.start()
    taken = [locks.take(random_id()) for _ in range(300)]
    is_over.set()
    for undertaker in undertakers:
        undertaker.join()

    assert len(list(tmp_path.iterdir())) == 300
    assert locks.dead() == []
    for lock in taken:
        lock.end()


def test_a_lock_that_was_removed_is_made_again_and_never_seen_free(tmp_path: Path) -> None:
    locks, worker_id = LifeLocks(tmp_path / "locks"), random_id()
    lock = locks.take(worker_id)
    path = tmp_path / "locks" / f"{worker_id}.lock"
    lock.keep()
    seen: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.extend(locks.dead())

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(200):
        path.unlink()
        (tmp_path / "locks").rmdir()
        assert locks.dead() == []
        lock.keep()
        assert path.exists()
    stop.set()
    looking.join()

    assert seen == []
    assert list((tmp_path / "locks").iterdir()) == [path]
    lock.end()
    assert locks.dead() == []


def test_locks_are_not_made_where_the_folder_around_them_is_away(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    locks = LifeLocks(data / "locks")
    lock = locks.take(random_id())
    data.rename(tmp_path / "elsewhere")

    with pytest.raises(FileNotFoundError):
        lock.keep()
    with pytest.raises(FileNotFoundError):
        locks.take(random_id())

    assert locks.dead() == []
    assert not data.exists(), "nothing is in the way of what is put back"
    (tmp_path / "elsewhere").rename(data)
    lock.keep()
    lock.end()
