"""For all tests: fixtures that any may ask for, how many run at once, and what a failed one leaves to look at."""

from __future__ import annotations

import os
from collections.abc import Generator

import hypothesis
import pytest

from tests.acceptance.service_process import ServiceProcess

pytest_plugins = ["tests.databases"]

# What an example takes is no measure on a machine that does other things meanwhile.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

MOST_PROCESSES = 4
LONGEST_TEXT = 20_000
WITNESSES = pytest.StashKey[list["Witness"]]()


class Witness:
    """What a test did, line by line; shown if it fails."""

    def __init__(self, item: pytest.Item, name: str) -> None:
        """Belongs to one test from here on."""
        self.name = name
        self.lines: list[str] = []
        item.stash.setdefault(WITNESSES, []).append(self)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since half of the time tests wait; of two cores they take 391 s instead of 488."""
    return min((os.cpu_count() or 1) + 1, MOST_PROCESSES)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        services = [found for found in getattr(item, "funcargs", {}).values() if isinstance(found, ServiceProcess)]
        report.sections += [("what the service said", service.log()[-LONGEST_TEXT:]) for service in services]
        witnesses = item.stash.get(WITNESSES, [])
        report.sections += [(witness.name, "\n".join(witness.lines)[-LONGEST_TEXT:]) for witness in witnesses]
    return report
