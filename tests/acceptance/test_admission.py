"""Room and places are limited: who comes too late is told so, and when it is worth coming again."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.acceptance.asking import ask, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected, head, status_of


def test_a_full_queue_says_when_to_come_again(start_service: StartService) -> None:
    service = start_service(max_queued_jobs=1, embedded_worker="false")
    upload(service.url, b"first")

    answer = ask(f"{service.url}/uploads/f", "PUT", b"second")

    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "queue_full", "30")
    assert (len(service.stored()), list(service.statuses().values())) == (1, ["queued"])


def test_a_reserve_larger_than_the_disk_lets_nothing_in(start_service: StartService) -> None:
    service = start_service(min_free_bytes=2**60, embedded_worker="false")

    answer = ask(f"{service.url}/uploads/f", "PUT", b"x")

    assert (answer.status, answer.json["code"], answer.json["available_bytes"]) == (507, "storage_full", 0)
    assert ask(f"{service.url}/readyz").status == 503
    assert service.holds_nothing()


def test_room_promised_to_one_upload_is_not_promised_to_another(start_service: StartService, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    service = start_service(min_free_bytes=int(0.4 * free), max_upload_bytes=free, embedded_worker="false")
    # With its result it needs two thirds of the room there is.
    request = head("PUT /f", f"Content-Length: {int(0.2 * free)}", "Expect: 100-continue")

    def ask_in(connection: socket.socket) -> int:
        connection.sendall(request)
        return status_of(connection.recv(65536))

    with connected(service) as first:
        assert ask_in(first) == 100
        with connected(service) as second:
            assert ask_in(second) == 507

    def is_let_in() -> bool:
        with connected(service) as third:
            return ask_in(third) == 100

    until(is_let_in, what="room, once the first has gone")
    until(service.holds_nothing, what="an empty store")
