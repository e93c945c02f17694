"""A duty that is done again and again."""

from __future__ import annotations

import logging
import threading

import pytest

from service.machine import loop as loop_module
from service.machine.loop import Loop
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


def test_a_round_is_told_of_while_it_lasts_and_a_failure_until_it_is_over() -> None:
    may_go_on, is_well = threading.Event(), threading.Event()

    def duty() -> None:
        may_go_on.wait()
        if not is_well.is_set():
            raise MemoryError

    loop = Loop("working", duty, pause_seconds=0.001)
    assert (loop.rounds(), loop.failing(), loop.is_dead()) == (None, None, False)

    loop.start()
    until(lambda: loop.rounds() == 1)
    may_go_on.set()
    until(lambda: (failing := loop.failing()) and failing.times >= 2)
    failing = loop.failing()
    assert failing is not None
    assert (failing.name, type(failing.error)) == ("working", MemoryError)
    is_well.set()
    until(lambda: loop.failing() is None)
    loop.stop()

    assert (loop.rounds(), loop.is_dead()) == (None, False)
