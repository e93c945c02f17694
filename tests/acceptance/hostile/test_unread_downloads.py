"""Downloads that nobody reads, in each form: their connections are dropped, and their places are free again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.acceptance.asking import succeeded
from tests.acceptance.hostile.attacker import hostile_ask, hostile_head, metric
from tests.acceptance.hostile.victim import beside_victim
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import noise

CONNECTIONS, PLACES = 12, 4
HALVED = noise(16 * 1024**2).hex().encode()
"""Its results are 16 MiB, whatever the format: more than what lies in the buffers of both systems."""
FORMS = {"stored": "result", "decoded": "original", "transcoded": "result?format=gzip"}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    process = ServiceProcess(
        tmp_path_factory.mktemp("hasty"),
        send_min_bytes_per_second=16384,
        send_rate_seconds=1,
        max_conversions=2 * PLACES,
        max_conversions_per_address=PLACES,
    )
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture(scope="module")
def job_id(hasty: ServiceProcess) -> str:
    made: str = hostile_ask(hasty, "/uploads/f?format=zstd&level=fast", "PUT", HALVED).json["id"]
    return str(succeeded(hasty.url, made)["id"])


def dropped(service: ServiceProcess) -> int:
    return sum(event["event"].startswith("connection dropped") for event in service.events())


def is_dropped(service: ServiceProcess, count: int) -> bool:
    return dropped(service) == count


def unread(service: ServiceProcess, path: str, stack: ExitStack) -> None:
    for _ in range(CONNECTIONS):
        stack.enter_context(connected(service)).sendall(hostile_head(f"GET {path}"))


@pytest.mark.parametrize("form", FORMS)
def test_who_does_not_read_is_dropped_and_its_place_is_free(hasty: ServiceProcess, job_id: str, form: str) -> None:
    path = f"/jobs/{job_id}/{FORMS[form]}"
    held = CONNECTIONS if form == "stored" else PLACES
    assert hostile_ask(hasty, path).status == 200
    before = dropped(hasty)

    with beside_victim(hasty), ExitStack() as stack:
        unread(hasty, path, stack)
        until(partial(is_dropped, hasty, before + held), what="the end of every connection")

    assert hostile_ask(hasty, path).status == 200
    assert metric(hasty, "vacpack_connections") <= 1
