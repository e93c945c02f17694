"""Requests by the thousand behind one whose answer is not read: they wait with their client, not here."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial

from tests.acceptance.asking import succeeded
from tests.acceptance.hostile.attacker import hostile_ask, hostile_head, metric, pushed
from tests.acceptance.hostile.victim import beside_victim
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected
from tests.acceptance.service_process import ServiceProcess
from tests.acceptance.test_memory import MIB, resident_bytes

CONNECTIONS, REQUESTS = 20, 11_000
HELD_BYTES = 100 * MIB
"""For the answers under way, and what lies in buffers: 3 MiB a connection. Requests that were kept took 470 MiB."""
MET = 'vacpack_limits_met_total{limit="pipelined_requests"}'


def pipeline(service: ServiceProcess, job_id: str, stack: ExitStack) -> None:
    """Ask for a file, so often that no buffer takes it all, and for much else behind it; read nothing."""
    sent = hostile_head(f"GET /jobs/{job_id}/result") * 4 + hostile_head("GET /livez") * REQUESTS
    for _ in range(CONNECTIONS):
        pushed(stack.enter_context(connected(service)), sent)


def is_met(service: ServiceProcess, count: int) -> bool:
    return metric(service, MET) >= count


def test_tiny_requests_behind_a_held_one_are_not_kept(service: ServiceProcess) -> None:
    job = hostile_ask(service, "/uploads/f", "PUT", os.urandom(8 * MIB)).json
    succeeded(service.url, job["id"])
    before = resident_bytes(service.process.pid)

    with beside_victim(service) as victim, ExitStack() as stack:
        pipeline(service, job["id"], stack)
        until(partial(is_met, service, CONNECTIONS), what="every connection held")
        victim.goes_on()
        assert resident_bytes(service.process.pid) < before + HELD_BYTES
