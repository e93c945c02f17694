"""Room and places are limited: who comes too late is told so, and when it is worth coming again."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path

from tests.acceptance.asking import ask, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import PATIENCE_SECONDS, until
from tests.acceptance.raw_socket import connected, head, read_to_end, status_of
from tests.acceptance.service_process import ServiceProcess


def test_a_full_queue_says_when_to_come_again(start_service: StartService) -> None:
    service = start_service(max_queued_jobs=1, embedded_worker="false")
    upload(service.url, b"first")

    answer = ask(f"{service.url}/uploads/f", "PUT", b"second")

    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "queue_full", "30")
    assert (len(service.stored()), list(service.statuses().values())) == (1, ["queued"])


def test_a_reserve_larger_than_the_disk_lets_nothing_in(start_service: StartService) -> None:
    service = start_service(min_free_bytes=2**60, embedded_worker="false")

    answer = ask(f"{service.url}/uploads/f", "PUT", b"x")

    assert (answer.status, answer.json["code"]) == (507, "storage_full")
    assert ask(f"{service.url}/readyz").status == 503
    assert service.holds_nothing()


def test_a_length_that_cannot_fit_is_refused_before_a_byte_is_sent(start_service: StartService, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    service = start_service(min_free_bytes=int(0.4 * free), max_upload_bytes=free, embedded_worker="false")

    with connected(service) as connection:
        # With its result it needs twice the disk.
        connection.sendall(head("PUT /f", f"Content-Length: {int(0.9 * free)}", "Expect: 100-continue"))
        assert status_of(connection.recv(65536)) == 507
    until(service.holds_nothing, what="an empty store")


def receiving(service: ServiceProcess) -> float:
    text = ask(f"{service.url}/metrics", Authorization=f"Bearer {service.admin_token()}").body.decode()
    return float(text.partition("\nvacpack_uploads_in_progress ")[2].partition("\n")[0])


def test_lengths_that_are_only_announced_keep_nobody_out(start_service: StartService, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    service = start_service(min_free_bytes=int(0.4 * free), max_upload_bytes=free, embedded_worker="false")
    # With its result each needs two thirds of the room there is.
    request = head("PUT /f", f"Content-Length: {int(0.2 * free)}")

    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connected(service)).sendall(request + bytes(40))
        until(lambda: receiving(service) == 8, what="eight uploads under way")
        assert upload(service.url, b"a ninth")["status"] == "queued"
    until(lambda: len(service.stored()) == 1, what="the one that was sent")


def test_the_queue_s_length_holds_under_parallel_uploads(start_service: StartService) -> None:
    service = start_service(max_queued_jobs=2, embedded_worker="false")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(f"{service.url}/uploads/f", "PUT", b"x" * 1_500_000), range(20)))

    taken = [answer for answer in answers if answer.status == 202]
    assert 0 < len(taken) <= 2
    assert {answer.json["code"] for answer in answers if answer.status != 202} == {"queue_full"}


def test_connections_beyond_their_number_are_told_so_and_leave_the_service_well(start_service: StartService) -> None:
    service = start_service(max_connections=20, embedded_worker="false")

    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(service))
        refused = stack.enter_context(connected(service))
        answer, _ = read_to_end(refused)
        assert status_of(answer) == 503
        assert b'"too_many_connections"' in answer
    until(lambda: is_answered(service), what="an answer, once they have gone")
    assert [event["limit"] for event in service.events() if event["event"] == "connections are refused"] == [
        "max_connections"
    ]


def is_answered(service: ServiceProcess) -> bool:
    try:
        return ask(f"{service.url}/livez").status == 200
    except (HTTPException, OSError):
        return False


def test_a_body_that_trickles_is_refused_though_it_is_never_silent(start_service: StartService) -> None:
    service = start_service(receive_min_bytes_per_second=1000, receive_rate_seconds=1, embedded_worker="false")

    with connected(service) as connection:
        connection.sendall(head("PUT /f", "Content-Length: 1000"))
        answer = b""
        connection.settimeout(0.1)
        while not answer:
            connection.sendall(b"x")
            with suppress(TimeoutError):
                answer = connection.recv(65536)
        connection.settimeout(PATIENCE_SECONDS)
        answer += read_to_end(connection)[0]

    assert status_of(answer) == 408
    assert b'"too_slow"' in answer
    until(service.holds_nothing, what="an empty store")
