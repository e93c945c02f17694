"""Services for these tests: one for a whole file where its tests do not disturb each other, or one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.service_process import ServiceProcess

StartService = Callable[..., ServiceProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.acceptance)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service with default settings, shared by the tests of a file."""
    process = ServiceProcess(tmp_path_factory.mktemp("service"))
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Start a service of one's own, with the settings given; it is killed in the end, whatever it is doing."""
    started: list[ServiceProcess] = []

    def start(**settings: object) -> ServiceProcess:
        process = ServiceProcess(tmp_path / f"service{len(started)}", **settings)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.kill()
