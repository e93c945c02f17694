"""Lengths that are only declared, bodies that trickle, and uploads in parallel: what did not come keeps nobody out."""

from __future__ import annotations

import select
import shutil
import socket
from contextlib import ExitStack, suppress

from tests.acceptance.asking import Answer
from tests.acceptance.conftest import StartService
from tests.acceptance.hostile.attacker import hostile_head, statuses, together
from tests.acceptance.hostile.victim import beside_victim
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import CHUNKED, chunk, connected, head, read_answer
from tests.acceptance.service_process import ServiceProcess

TRICKLES = 24
DATA = bytes(200_000)
IMPATIENT = {"receive_min_bytes_per_second": 4096, "receive_rate_seconds": 1, "receive_timeout_seconds": 2}


def begin(connection: socket.socket, declared_bytes: int, number: int) -> None:
    how = [f"Content-Length: {declared_bytes}", CHUNKED][number % 2]
    connection.sendall(hostile_head("PUT /uploads/f", how) + (chunk(b"x") if number % 2 else b"x"))


def trickled(service: ServiceProcess, count: int, declared_bytes: int) -> list[Answer]:
    """Begin so many uploads; a half of them send a byte now and then, the others nothing. Return the answers."""
    with ExitStack() as stack:
        waiting = [stack.enter_context(connected(service)) for _ in range(count)]
        for number, connection in enumerate(waiting):
            begin(connection, declared_bytes, number)

        def all_answered() -> bool:
            for number, connection in enumerate(waiting[: count // 2]):
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(chunk(b"x") if number % 2 else b"x")
            return len(answered(waiting)) == count

        until(all_answered, what="an answer to each")
        return [read_answer(connection) for connection in waiting]


def answered(waiting: list[socket.socket]) -> list[socket.socket]:
    """Return those that have been answered."""
    return select.select(waiting, (), (), 0.1)[0]


def test_declared_lengths_and_trickled_bodies_keep_no_room(start_service: StartService) -> None:
    free_bytes = shutil.disk_usage("/tmp").free
    service = start_service(max_upload_bytes=free_bytes, **IMPATIENT)
    trickled(service, TRICKLES, free_bytes // 4)

    with beside_victim(service):
        answers = trickled(service, TRICKLES, free_bytes // 4)

    assert statuses(answers) <= {(408, "receive_timeout"), (408, "too_slow"), (429, "address_share")}
    assert 408 in {answer.status for answer in answers}
    until(lambda: not service.rows("SELECT 1 FROM jobs") and not service.stored(), what="nothing left of them")


def halves(service: ServiceProcess, stack: ExitStack, host: str, count: int) -> list[socket.socket]:
    """Begin so many uploads of an address, and send a half of each."""
    begun = []
    for _ in range(count):
        connection = stack.enter_context(connected(service))
        lines = (f"X-Forwarded-For: {host}", f"Content-Length: {len(DATA)}")
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head("PUT /uploads/f", *lines) + DATA[: len(DATA) // 2])
        begun.append(connection)
    return begun


def ends_of(begun: list[socket.socket]) -> list[Answer]:
    def end(number: int) -> Answer:
        with suppress(BrokenPipeError, ConnectionResetError):
            begun[number].sendall(DATA[len(DATA) // 2 :])
        return read_answer(begun[number])

    return together(end, len(begun), at_once=len(begun))


def test_uploads_in_parallel_pass_neither_their_share_nor_the_queue(start_service: StartService) -> None:
    service = start_service(max_queued_jobs=12, max_queued_jobs_per_address=4)

    with beside_victim(service) as victim, ExitStack() as stack:
        begun = halves(service, stack, "198.51.100.7", 20)
        until(lambda: len(answered(begun)) == 16, what="the refusal of the others")
        victim.goes_on()
        answers = ends_of(begun)

    assert sorted(answer.status for answer in answers) == [202] * 4 + [429] * 16


def test_what_arrives_counts_for_the_queue_whoever_sends_it(start_service: StartService) -> None:
    service = start_service(max_queued_jobs=2, embedded_worker="false")

    with ExitStack() as stack:
        begun = [halves(service, stack, f"198.51.100.{number}", 1)[0] for number in range(20)]
        until(lambda: len(answered(begun)) == 18, what="the refusal of the others")
        answers = ends_of(begun)

    assert sorted(answer.status for answer in answers) == [202] * 2 + [503] * 18
    assert len(service.statuses()) == 2
