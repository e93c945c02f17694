"""Clocks that disagree are told of, once."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from service.machine import timekeeping
from service.machine.timekeeping import keep_time
from storage.clock import AGREEMENT_MILLISECONDS, Reading, read_clocks
from tests.service.work.bench import Bench

DAY = 24 * 3_600_000


class Machine:
    """Clocks as a test sets them."""

    def __init__(self) -> None:
        self.reading = read_clocks()

    def step(self, milliseconds: int) -> None:
        self.reading = replace(self.reading, wall=self.reading.wall + milliseconds)

    def wait(self, milliseconds: int) -> None:
        self.reading = replace(
            self.reading, boot=self.reading.boot + milliseconds, wall=self.reading.wall + milliseconds
        )

    def read(self) -> Reading:
        return self.reading


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(timekeeping, "read_clocks", machine.read)
    return machine


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.message.split(";")[0]) for record in caplog.records]


def test_a_step_is_warned_of_once_and_its_end_is_told(
    bench: Bench, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keep_time(bench.database)
    machine.step(30 * DAY)
    for _ in range(3):
        keep_time(bench.database)
        machine.wait(5000)
    assert told(caplog) == [("WARNING", "the wall clock is not believed yet")]

    machine.wait(AGREEMENT_MILLISECONDS)
    for _ in range(3):
        keep_time(bench.database)

    assert told(caplog)[1:] == [("INFO", "the wall clock is believed")]


def test_a_short_restart_of_the_machine_is_no_warning(
    bench: Bench, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keep_time(bench.database)
    machine.wait(5000)
    machine.reading = replace(machine.reading, boot_id="another", boot=9000)

    keep_time(bench.database)

    assert told(caplog) == [("INFO", "the wall clock is not believed yet")]
