"""One address that wants all of it: turns, connections, held requests. Others have their shares all the same."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from functools import partial

import pytest

from tests.acceptance.conftest import StartService
from tests.acceptance.hostile.attacker import hostile_ask, hostile_head, metric, together
from tests.acceptance.hostile.victim import ATTACKER, VICTIM, beside_victim
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected, head, read_answer, read_to_end, status_of
from tests.acceptance.service_process import ServiceProcess
from tests.acceptance.test_memory import MIB
from tests.service.payloads import text

FILES, WORKER_JOBS = 150, 2
TURN = 8 + 2 * WORKER_JOBS
"""One round of another address, what runs already, and what a worker that frees a place takes at the same moment."""

STREAMS_MET = 'vacpack_limits_met_total{limit="max_event_streams_per_address"}'
PASSED = """SELECT count(*) FROM attempts a JOIN jobs j ON j.seq = a.job_seq
    WHERE j.caller = ? AND a.started_at BETWEEN ? AND ?"""


def test_a_small_job_waits_for_a_round_and_not_for_all_of_another_s(start_service: StartService) -> None:
    service = start_service(embedded_worker="false", worker_jobs=WORKER_JOBS)
    assert {answer.status for answer in together(lambda _: hostile_ask(service, "/uploads/f", "PUT", b"x"), FILES)} == {
        202
    }
    service.stop()
    service.settings["VACPACK_EMBEDDED_WORKER"] = "true"
    service.start()

    answer = hostile_ask(service, "/uploads/f", "PUT", b"x", X_Forwarded_For=VICTIM)
    with beside_victim(service):
        created_at, started_at = until(partial(started, service, answer.json["id"]), what="the victim's turn")

    assert service.rows(PASSED, ATTACKER, created_at, started_at)[0][0] <= TURN


def started(service: ServiceProcess, job_id: str) -> tuple[int, int] | None:
    row = service.rows("SELECT created_at, started_at FROM jobs WHERE id = ?", job_id)[0]
    return (row[0], row[1]) if row[1] else None


def own_address() -> str | None:
    """Return an address of this machine that is not loopback: who connects to it comes from it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            return None
        found: str = asked.getsockname()[0]
    return None if found.startswith("127.") else found


def test_silent_connections_of_one_address_are_as_many_as_it_may_have(start_service: StartService) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address besides loopback, which is exempt")
    service = start_service(host="0.0.0.0", max_connections_per_address=10, header_timeout_seconds=60)
    port = service.address[1]
    service.url = f"http://127.0.0.1:{port}"

    with beside_victim(service) as victim, ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection((address, port), timeout=30)) for _ in range(40)]
        refused = [status_of(read_to_end(connection)[0]) for connection in silent[10:]]
        victim.goes_on()

    assert refused == [429] * 30


def test_connections_beyond_all_there_may_be_are_told_and_who_is_in_goes_on(start_service: StartService) -> None:
    service = start_service(max_connections=20, header_timeout_seconds=2)

    with beside_victim(service) as victim:
        victim.goes_on()
    with ExitStack() as stack:
        inside = stack.enter_context(connected(service))
        inside.sendall(head("GET /livez"))
        assert read_answer(inside).status == 200
        silent = [stack.enter_context(connected(service)) for _ in range(60)]
        refused = [status_of(read_to_end(connection)[0]) for connection in silent[20:]]
        inside.sendall(head("GET /livez"))
        assert read_answer(inside).status == 200
    until(lambda: is_let_in(service), what="room again")
    with beside_victim(service):
        pass

    assert refused == [503] * 40
    assert [event["limit"] for event in service.events() if event["event"] == "connections are refused"] == [
        "max_connections"
    ]


def is_let_in(service: ServiceProcess) -> bool:
    with connected(service) as connection:
        connection.sendall(head("GET /livez"))
        return read_answer(connection).status == 200


UNDER_WAY = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running') AND caller = ?"


def test_retries_are_no_way_past_the_queue(start_service: StartService) -> None:
    service = start_service(max_queued_jobs=20, max_queued_jobs_per_address=5, worker_jobs=WORKER_JOBS)
    slow = text(4 * MIB)
    jobs = []
    for _ in range(12):
        jobs.append(hostile_ask(service, "/uploads/f?format=xz&level=small", "PUT", slow).json)
        assert changed(service, jobs[-1], "cancel") in (200, 202)
        until(lambda: not service.rows(UNDER_WAY, ATTACKER)[0][0], what="the end of the cancelled job")

    with beside_victim(service) as victim:
        answers = together(lambda number: changed(service, jobs[number], "retry"), len(jobs))
        assert service.rows(UNDER_WAY, ATTACKER)[0][0] <= 5
        victim.goes_on()

    assert set(answers) == {202, 429}


def changed(service: ServiceProcess, job: dict[str, str], what: str) -> int:
    key = {"Authorization": f"Bearer {job['manage_key']}"}
    return hostile_ask(service, f"/jobs/{job['id']}/{what}", "POST", **key).status


def test_held_requests_and_streams_of_one_address_leave_others_theirs(start_service: StartService) -> None:
    service = start_service(
        max_waiting_requests_per_address=4, max_event_streams_per_address=5, worker_jobs=WORKER_JOBS
    )
    made = hostile_ask(service, "/uploads/f?format=xz&level=small", "PUT", text(48 * MIB)).json

    with beside_victim(service) as victim, ExitStack() as stack:
        held = [stack.enter_context(connected(service)) for _ in range(20)]
        for connection in held:
            connection.sendall(hostile_head(f"GET /jobs/{made['id']}/events"))
        until(lambda: metric(service, STREAMS_MET) == 15, what="the refusal of the others")
        polls = [stack.enter_context(connected(service)) for _ in range(40)]
        for connection in polls:
            connection.sendall(hostile_head(f"GET /jobs/{made['id']}?wait=25"))
        victim.goes_on()
        key = {"Authorization": f"Bearer {made['manage_key']}"}
        assert hostile_ask(service, f"/jobs/{made['id']}", "DELETE", **key).status == 204
        assert {read_answer(connection).status for connection in polls} <= {200, 404}
