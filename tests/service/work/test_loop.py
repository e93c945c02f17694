"""A duty that is done again and again."""

from __future__ import annotations

import logging
import threading

import pytest

from service.work import loop as loop_module
from service.work.loop import Loop
from tests.service.work.bench import until


def test_it_is_done_at_once_then_when_woken_and_after_stop_no_more() -> None:
    done: list[int] = []
    loop = Loop("counting", lambda: done.append(1), pause_seconds=60)
    loop.start()
    until(lambda: len(done) == 1)

    loop.wake()
    until(lambda: len(done) == 2)
    loop.stop()

    loop.wake()
    assert len(done) == 2


def test_it_is_done_without_a_wake_after_the_pause() -> None:
    done: list[int] = []
    loop = Loop("counting", lambda: done.append(1), pause_seconds=0.01)
    loop.start()

    until(lambda: len(done) >= 3)

    loop.stop()


def test_trouble_is_logged_once_and_never_ends_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "LONGEST_PAUSE_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    tries: list[int] = []
    is_well = threading.Event()

    def duty() -> None:
        tries.append(1)
        if len(tries) > 1 and not is_well.is_set():
            raise OSError("database is locked")

    loop = Loop("working", duty, pause_seconds=0.001)
    loop.start()
    until(lambda: len(tries) > 5)
    is_well.set()
    until(lambda: "working works again" in caplog.messages)
    loop.stop()

    assert caplog.messages == ["working does not work just now; trying again", "working works again"]
