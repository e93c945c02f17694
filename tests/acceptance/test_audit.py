"""The audit of a real service: no event is lost in a burst or at its end, and no fault of its file costs a request."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import ask, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import PATIENCE_SECONDS, until
from tests.acceptance.raw_socket import connected, head, is_listening
from tests.acceptance.service_process import VACPACK, ServiceProcess, environment

BURST = 1000
CONNECTIONS = 10


def count(service: ServiceProcess, action: str = "jobs.searched") -> int:
    found: int = service.rows("SELECT count(*) FROM audit_events WHERE action = ?", action)[0][0]
    return found


def events(service: ServiceProcess, **asked: object) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    answer = ask(f"{service.url}/audit?{query}", Authorization=f"Bearer {service.admin_token()}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["events"]
    return found


def burst(service: ServiceProcess) -> None:
    """Send 1,000 searches over ten connections; each must be answered with 200."""
    headers = {"Authorization": f"Bearer {service.admin_token()}"}

    def search(numbers: range) -> None:
        host, port = service.address
        with closing(HTTPConnection(host, port, timeout=PATIENCE_SECONDS)) as connection:
            for number in numbers:
                connection.request("GET", f"/jobs?q={number}", headers=headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(search, [range(place, BURST, CONNECTIONS) for place in range(CONNECTIONS)]))


def searched_for(service: ServiceProcess) -> list[int]:
    rows = service.rows("SELECT details FROM audit_events WHERE action = 'jobs.searched'")
    return sorted(int(json.loads(row["details"])["q"]) for row in rows)


def test_a_burst_of_a_thousand_queries_loses_no_event(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")

    burst(service)

    until(lambda: count(service) >= BURST, what="its events")
    assert searched_for(service) == list(range(BURST))


def test_told_to_stop_right_after_a_burst_it_writes_every_event_before_it_ends(start_service: StartService) -> None:
    service = start_service(embedded_worker="false", audit_log_file="audit.jsonl")
    burst(service)

    assert service.stop() == 0

    assert searched_for(service) == list(range(BURST))
    assert len(lines(service)) == BURST


def test_what_could_not_be_written_for_a_lock_is_written_before_it_ends(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")
    with closing(sqlite3.connect(service.data_dir / "vacpack.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        burst(service)
        service.signal(signal.SIGTERM)
        until(lambda: not is_listening(service), what="the end of listening")
        other.execute("ROLLBACK")

    assert service.wait() == 0
    assert searched_for(service) == list(range(BURST))


def lines(service: ServiceProcess, name: str = "audit.jsonl") -> list[dict[str, Any]]:
    path = service.folder / name
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def test_an_event_is_there_when_its_change_is_answered_and_no_kill_takes_it(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")
    job = upload(service.url, b"kept")
    ask(f"{service.url}/jobs/{job['id']}/cancel", "POST", Authorization=f"Bearer {job['manage_key']}")
    service.kill()

    rows = service.rows("SELECT action, actor, status FROM audit_events WHERE job_id = ?", job["id"])
    assert [tuple(row) for row in rows] == [("job.submitted", "anonymous", 202), ("job.cancelled", "manage_key", 200)]


def test_a_download_that_its_client_breaks_off_is_audited(service: ServiceProcess) -> None:
    data = os.urandom(30_000_000)
    job = upload(service.url, data, options="format=zstd")
    succeeded(service.url, job["id"])
    with connected(service) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head(f"GET /jobs/{job['id']}/result"))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"

    [event] = until(lambda: events(service, action="result.downloaded", job=job["id"]), what="its event")
    assert (event["status"], event["details"]) == (200, {"cut_off": True})

    assert ask(f"{service.url}/jobs/{job['id']}/result").status == 200
    whole = until(lambda: events(service, action="result.downloaded", job=job["id"])[:-1], what="another event")
    assert (whole[0]["status"], whole[0]["details"]) == (200, {})


def test_an_upload_that_its_client_breaks_off_is_audited(service: ServiceProcess) -> None:
    with connected(service) as connection:
        connection.sendall(head("PUT /broken", "Content-Length: 3000000") + bytes(1_500_000))
        until(lambda: any(name.endswith(".part") for name in service.stored()), what="its part")

    def broken() -> list[dict[str, Any]]:
        return [event for event in events(service, action="job.submitted") if event["status"] == 499]

    [event] = until(broken, what="its event")
    assert (event["job"], event["details"]) == (None, {"error": "abandoned"})


def test_the_worker_s_expiry_is_audited(start_service: StartService) -> None:
    service = start_service(sweep_seconds=0.2)
    job = upload(service.url, b"short-lived", options="expires=1s")

    [event] = until(lambda: events(service, action="job.expired"), what="its expiry")

    assert (event["job"], event["actor"], event["client"]) == (job["id"], "system", None)


def test_old_events_are_pruned(start_service: StartService) -> None:
    service = start_service(sweep_seconds=0.2, audit_retention_seconds=1)
    upload(service.url, b"a")

    until(lambda: count(service, "job.submitted") == 0, what="its pruning")


def test_the_client_is_the_peer_or_whom_a_proxy_on_this_machine_names(service: ServiceProcess) -> None:
    for forwarded in ({}, {"X_Forwarded_For": "198.51.100.9, 203.0.113.7"}):
        ask(f"{service.url}/audit", **forwarded, X_Request_Id="from-a-proxy")

    def told() -> list[dict[str, Any]]:
        found = [event for event in events(service) if event["request_id"] == "from-a-proxy"]
        return found if len(found) == 2 else []

    assert {event["client"] for event in until(told, what="both events")} == {"127.0.0.1", "203.0.113.7"}


def test_the_log_file_follows_the_table_and_its_rotation(start_service: StartService) -> None:
    service = start_service(audit_log_file="audit.jsonl", sweep_seconds=0.2)
    path = service.folder / "audit.jsonl"
    job = upload(service.url, b"short-lived", options="expires=1s")
    until(lambda: len(lines(service)) == 2, what="submission and expiry")

    assert [event["action"] for event in lines(service)] == ["job.submitted", "job.expired"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(service.folder / "audit.jsonl.1")
    other = upload(service.url, b"after")
    until(lambda: lines(service), what="another file")

    assert [event["job"] for event in lines(service)] == [other["id"]]
    assert [event["job"] for event in lines(service, "audit.jsonl.1")] == [job["id"]] * 2


def test_a_log_file_that_cannot_be_written_costs_no_request(start_service: StartService) -> None:
    service = start_service(audit_log_file="there/audit.jsonl", embedded_worker="false")
    job = upload(service.url, b"taken all the same")
    until(lambda: "writing the audit log file does not work" in service.log(), what="its warning")
    assert ask(f"{service.url}/jobs/{job['id']}").status == 200

    (service.folder / "there").mkdir()
    until(lambda: lines(service, "there/audit.jsonl"), what="the file")

    assert [event["job"] for event in lines(service, "there/audit.jsonl")] == [job["id"]]
    assert service.stop() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_the_log_file_costs_no_request(start_service: StartService) -> None:
    service = start_service(audit_log_file="/dev/full", embedded_worker="false")
    job = upload(service.url, b"taken all the same")
    until(lambda: "writing the audit log file does not work" in service.log(), what="its warning")

    assert ask(f"{service.url}/jobs/{job['id']}").status == 200
    assert count(service, "job.submitted") == 1
    assert service.stop() == 0


def vacpack_audit(service: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VACPACK, "audit", "--data-dir", str(service.data_dir), *arguments],
        env=environment({"COLUMNS": "200", "NO_COLOR": "1"}),
        cwd=service.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_reads_what_the_api_reads(service: ServiceProcess) -> None:
    jobs = [upload(service.url, b"a")["id"] for _ in range(3)]
    mine = events(service, action="job.submitted", job=jobs[1])

    done = vacpack_audit(service, "--json", "--action", "job.submitted", "--job", jobs[1])
    assert (done.returncode, [json.loads(line) for line in done.stdout.splitlines()]) == (0, mine)
    table = vacpack_audit(service, "--limit", "1", "--action", "job.submitted").stdout.splitlines()
    assert len(table) == 1
    assert jobs[2] in table[0]
    older = vacpack_audit(service, "--json", "--limit", "1", "--job", jobs[1], "--cursor", str(mine[0]["id"]))
    assert older.stdout == ""
    assert vacpack_audit(service, "--action", "jobs.guessed").returncode == 2
