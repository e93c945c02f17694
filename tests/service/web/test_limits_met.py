"""Each limit that a client meets moves its counter."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from service.settings import Settings
from service.web.receiving.form_edges import MAX_EDGE_BYTES
from service.web.receiving.multipart import MAX_HEADER_BYTES
from storage.models import delivery_totals, work_totals
from tests.acceptance.raw_socket import BOUNDARY, END, part
from tests.service.web.in_process import ADMIN, InProcess
from tests.service.web.live_server import live_server
from tests.service.web.receiving.test_body import Client, answered, piece, scope_of
from tests.storage.job_builder import act

FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
FILE = part("file", b"x", filename="a")
LARGE = "x" * (MAX_HEADER_BYTES // 2 + 1)


def times_met(text: str, limit: str) -> float:
    found = [line for line in text.splitlines() if line.startswith(f'vacpack_limits_met_total{{limit="{limit}"}} ')]
    return float(found[0].rpartition(" ")[2]) if found else 0


def met(app: InProcess, limit: str) -> float:
    return times_met(app.client.get("/metrics", headers=ADMIN).text, limit)


@pytest.mark.parametrize(
    ("settings_of", "form", "limit"),
    [
        ({"max_upload_bytes": 10}, part("file", bytes(200_000), filename="a") + END, "max_upload_bytes"),
        ({"max_files_per_upload": 1}, 2 * FILE + END, "max_files_per_upload"),
        ({"max_files_per_upload": 1}, 102 * part("file", b"", filename="") + FILE + END, "max_parts_per_form"),
        ({"min_free_bytes": 2**60}, FILE + END, "min_free_bytes"),
        ({}, bytes(MAX_EDGE_BYTES) + FILE + END, "max_form_edge_bytes"),
        ({}, FILE + END + bytes(MAX_EDGE_BYTES + 1), "max_form_edge_bytes"),
        ({}, part("file", b"x", headers=f"X-A: {LARGE}{LARGE}\r\n") + END, "max_part_header_bytes"),
        ({}, part("file", b"x", headers=f"X-A: {LARGE}\r\nX-B: {LARGE}\r\n") + END, "max_part_header_bytes"),
    ],
    ids=["bytes", "files", "parts", "room", "preamble", "epilogue", "header", "headers"],
)
def test_an_upload_that_meets_a_limit_is_counted(
    start: Callable[..., InProcess], settings_of: dict[str, Any], form: bytes, limit: str
) -> None:
    app = start(**settings_of)
    assert met(app, limit) == 0

    answer = app.client.post("/uploads", content=form, headers=FORM)

    assert answer.status_code in (400, 413, 507), answer.text
    assert met(app, limit) == 1


def test_a_length_that_is_too_much_is_counted(start: Callable[..., InProcess]) -> None:
    app = start(max_upload_bytes=10)
    app.refusal("PUT", "/uploads/a", 413, "upload_too_large", content=bytes(11))

    assert met(app, "max_upload_bytes") == 1


def test_a_silent_upload_is_counted(start: Callable[..., InProcess]) -> None:
    app = start(receive_timeout_seconds=0.1, early_refusal_drain_seconds=0.1)

    assert answered(app, Client([piece(bytes(1000))]), scope_of()) == 408
    assert met(app, "receive_timeout_seconds") == 1


def test_a_head_that_comes_too_late_is_counted(settings: Settings) -> None:
    with live_server(settings, header_timeout_seconds=0.1) as live:
        with socket.create_connection(live.address, timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost:")
            assert connection.recv(100) == b""
        assert times_met(live.parts.metrics.render().decode(), "header_timeout_seconds") == 1


def test_limits_that_workers_find_met_are_counted_with_the_others(app: InProcess) -> None:
    rows = [
        {"kind": "email", "outcome": "limited", "deliveries": 2},
        {"kind": "webhook", "outcome": "limited", "deliveries": 3},
    ]
    of_work = {"format": "xz", "outcome": "failed", "milliseconds": 1, "bytes_in": 1, "bytes_out": 0}
    failed = [of_work | {"error_code": code, "jobs": jobs} for code, jobs in (("cpu_limit", 4), ("memory_limit", 5))]
    act(app.parts.database, lambda connection: connection.execute(delivery_totals.insert(), rows))
    act(app.parts.database, lambda connection: connection.execute(work_totals.insert(), failed))

    names = ("max_messages_per_target_per_hour", "max_job_cpu_seconds", "max_job_memory_bytes")
    assert [met(app, name) for name in names] == [5, 4, 5]
