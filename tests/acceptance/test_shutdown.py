"""Told to stop, the service answers who waits, lets go of what it holds, and exits with 0 within its grace."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import ExitStack, closing

import pytest

from tests.acceptance.asking import ask, running, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected, head, is_listening, read_answer, read_to_end, status_of
from tests.acceptance.service_process import ServiceProcess, is_alive
from tests.service.payloads import text

GRACE_SECONDS = 5.0
EXIT_SECONDS = GRACE_SECONDS + 1
"""The grace, and what the interpreter needs to end."""

LOCKED_EXIT_SECONDS = GRACE_SECONDS + 3
"""With the database locked both wait for most of the grace, and their interpreters end on a busy machine. Unbounded
waits took 15 s."""

SLOW = text(20_000_000)
"""Takes xz at its best level more than two seconds, the least grace here."""


def stopped(service: ServiceProcess, number: signal.Signals = signal.SIGTERM) -> float:
    """Tell the service to stop; it must exit with 0 in time, without its worker; return after how long."""
    worker = service.worker_pid() if service.settings.get("VACPACK_EMBEDDED_WORKER") != "false" else None
    began = time.monotonic()
    service.signal(number)
    code = service.wait(seconds=EXIT_SECONDS)
    seconds = time.monotonic() - began
    assert code == 0, service.log()
    assert [event for event in service.events() if "exception" in event] == []
    assert worker is None or not is_alive(worker)
    return seconds


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_stops_at_once(start_service: StartService, number: signal.Signals) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS)
    service.worker_pid()
    ask(f"{service.url}/livez")

    assert stopped(service, number) < 3


def test_everybody_who_waits_is_answered(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS, embedded_worker="false")
    job = upload(service.url, b"waiting")
    with ExitStack() as stack:
        waiting = [stack.enter_context(connected(service)) for _ in range(50)]
        for number, connection in enumerate(waiting):
            one = number % 2
            connection.sendall(head(f"GET /jobs/{job['id']}?wait=25" if one else f"GET /jobs?ids={job['id']}&wait=25"))
        ask(f"{service.url}/livez")

        seconds = stopped(service)

        answers = [read_to_end(connection)[0] for connection in waiting]
    assert [status_of(answer) for answer in answers] == [200] * 50
    assert all(b'"status": "queued"' in answer for answer in answers)
    assert seconds < 3


def test_slow_clients_do_not_hold_it(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS)
    with connected(service), connected(service) as half_a_head, connected(service) as stalled:
        half_a_head.sendall(b"PUT /f HTTP/1.1\r\nHost: localhost\r\nX-Sl")
        stalled.sendall(head("PUT /f", "Content-Length: 3000000") + bytes(1_500_000))
        until(service.stored, what="its part")

        stopped(service)

        answer, _ = read_to_end(stalled)
    assert status_of(answer) in (0, 503)
    assert service.holds_nothing()


def test_headers_sent_byte_by_byte_do_not_hold_it(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS, header_timeout_seconds=60)
    with connected(service) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        service.signal(signal.SIGTERM)
        began = time.monotonic()
        while service.process.poll() is None and time.monotonic() - began < EXIT_SECONDS:
            try:
                connection.sendall(b"X")
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.02)
        assert service.wait(seconds=1 + EXIT_SECONDS - (time.monotonic() - began)) == 0


def test_an_upload_that_still_arrives_is_finished(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS, embedded_worker="false")
    with connected(service) as connection:
        connection.sendall(head("PUT /f", "Content-Length: 2000000") + bytes(1_500_000))
        until(service.stored, what="its part")
        service.signal(signal.SIGTERM)
        until(lambda: not is_listening(service), what="the drain")
        connection.sendall(bytes(500_000))
        answer = read_answer(connection)

    assert answer.status == 202
    assert service.wait(seconds=EXIT_SECONDS) == 0
    assert service.statuses() == {answer.json["id"]: "queued"}


def test_a_new_upload_on_an_open_connection_is_sent_elsewhere(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS, embedded_worker="false")
    with connected(service) as holding, connected(service) as kept:
        holding.sendall(head("PUT /f", "Content-Length: 2000000") + bytes(1_500_000))
        until(service.stored, what="its part")
        # Its head began before the signal: the connection is not idle, and stays until it is answered.
        kept.sendall(b"PUT /late HTTP/1.1\r\nHost: localhost\r\n")
        ask(f"{service.url}/livez")
        service.signal(signal.SIGTERM)
        until(lambda: not is_listening(service), what="the drain")
        kept.sendall(b"Content-Length: 3\r\n\r\nabc")
        answer, _ = read_to_end(kept)

    assert status_of(answer) in (0, 503), answer
    assert service.wait(seconds=EXIT_SECONDS) == 0
    until(service.holds_nothing, what="an empty store")


def test_a_running_job_is_given_back_and_done_after_the_restart(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=1)
    job = upload(service.url, SLOW, options="format=xz&level=small")
    running(service.url, job["id"])

    stopped(service)

    [row] = service.rows("SELECT status, attempts, losses FROM jobs")
    assert tuple(row) == ("queued", 0, 0)
    service.start()
    assert succeeded(service.url, job["id"], seconds=90)["attempt"] == 1
    until(lambda: service.stored() == service.named(), what="the source and the first attempt's part gone")


def test_a_short_job_is_finished_within_the_grace(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=15)
    job = upload(service.url, text(3_000_000), options="format=xz&level=small")
    running(service.url, job["id"])

    service.signal(signal.SIGTERM)

    assert service.wait(seconds=16) == 0
    assert service.statuses() == {job["id"]: "succeeded"}


def test_a_locked_database_does_not_hold_it(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS)
    job = upload(service.url, SLOW, options="format=xz&level=small")
    running(service.url, job["id"])
    with (
        closing(sqlite3.connect(service.data_dir / "vacpack.db", isolation_level=None)) as holder,
        ExitStack() as stack,
    ):
        holder.execute("BEGIN IMMEDIATE")
        waiting = [stack.enter_context(connected(service)) for _ in range(3)]
        for connection in waiting:
            connection.sendall(head("PUT /f", "Content-Length: 3") + b"abc")
        worker = service.worker_pid()
        service.signal(signal.SIGTERM)

        code = service.wait(seconds=LOCKED_EXIT_SECONDS)

        assert code == 0, service.log()
        until(lambda: not is_alive(worker), what="the worker's end")
        answers = [read_to_end(connection)[0] for connection in waiting]
    assert {status_of(answer) for answer in answers} <= {503, 0}
    service.start()
    assert succeeded(service.url, job["id"], seconds=90)["attempt"] == 1


def test_a_worker_of_its_own_is_not_held_by_a_locked_database(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=GRACE_SECONDS, embedded_worker="false")
    worker = ServiceProcess(service.folder, shutdown_grace_seconds=GRACE_SECONDS)
    try:
        worker.launch("work")
        job = upload(service.url, SLOW, options="format=xz&level=small")
        running(service.url, job["id"])
        with closing(sqlite3.connect(service.data_dir / "vacpack.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            worker.signal(signal.SIGTERM)

            assert worker.wait(seconds=LOCKED_EXIT_SECONDS) == 0
    finally:
        worker.kill()


def test_a_second_signal_ends_it_at_once(start_service: StartService) -> None:
    service = start_service(shutdown_grace_seconds=30, embedded_worker="false")
    with connected(service) as connection:
        connection.sendall(head("PUT /f", "Content-Length: 2000000") + bytes(1_500_000))
        until(service.stored, what="its part")
        service.signal(signal.SIGINT)
        until(lambda: not is_listening(service), what="the drain")
        service.signal(signal.SIGINT)
        assert service.wait(seconds=5) == 0
