"""The clients of the cases: curl for one large file, threads for several, the load generator, a slow poller."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.load import Order
from benchmarks.server import HOST, PROJECT, Server

TIMEOUT_SECONDS = 120.0
FINAL = ("succeeded", "failed", "cancelled")
_BOUNDARY = "benchmark-boundary-7d1f0c"


class BenchmarkError(Exception):
    """A server did not do what was measured, so that its numbers would mean nothing."""


def form(body: bytes, fields: dict[str, str] | None = None, *, name: str = "sample.log") -> tuple[bytes, bytes]:
    """Return the bytes before and after a file's content in a multipart body; `body` is appended to the first."""
    head = "".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in (fields or {}).items()
    )
    head += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    return head.encode() + body, f"\r\n--{_BOUNDARY}--\r\n".encode()


def _request_head(method: str, target: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def form_request(content: bytes, fields: dict[str, str] | None = None) -> str:
    """Return a whole `POST /uploads` of a small file, for the load generator."""
    before, after = form(content, fields)
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    headers["Content-Length"] = str(len(before) + len(after))
    return (_request_head("POST", "/uploads", headers) + before + after).decode("latin-1")


def get_request(target: str) -> str:
    return _request_head("GET", target, {}).decode("latin-1")


def load(order: Order) -> dict[str, Any]:
    """Run the load generator; return the fields of its `Tally`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=PROJECT,
        input=json.dumps(asdict(order)).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=order.seconds + order.warm_up_seconds + 60,
    )
    return dict(json.loads(done.stdout))


def curl_seconds(arguments: Sequence[str]) -> float:
    """Run curl; return the seconds of its transfer.

    Raises:
        BenchmarkError: the answer was not 202.
    """
    line = ["curl", "--silent", "--show-error", "--max-time", str(int(TIMEOUT_SECONDS)), "--output", os.devnull]
    line += ["--write-out", "%{http_code} %{time_total}", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    status, _, seconds = done.stdout.partition(" ")
    if status != "202":
        raise BenchmarkError(f"curl {arguments!r}: status {status}, {done.stderr.strip()}")
    return float(seconds)


def _send_file(port: int, head: bytes, source: Path, after: bytes) -> None:
    size = source.stat().st_size
    with socket.create_connection((HOST, port), TIMEOUT_SECONDS) as connection, source.open("rb") as file:
        connection.sendall(head)
        connection.sendfile(file, 0, size)
        connection.sendall(after)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        if answer.status != 202:
            raise BenchmarkError(f"upload: status {answer.status}, {answer.read(500)!r}")


def parallel_seconds(port: int, source: Path, count: int, *, is_put: bool = False) -> float:
    """Upload a file `count` times at once with sendfile; return the seconds until the last 202."""
    before, after = (b"", b"") if is_put else form(b"")
    headers = {"Content-Length": str(len(before) + source.stat().st_size + len(after))}
    if not is_put:
        headers["Content-Type"] = f"multipart/form-data; boundary={_BOUNDARY}"
    head = _request_head("PUT" if is_put else "POST", f"/uploads{'/sample.log' if is_put else ''}", headers)
    started = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: _send_file(port, head + before, source, after), range(count)))
    return time.perf_counter() - started


def ask(port: int, method: str, target: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Send one request on a connection of its own; return its status and its JSON, if it has any."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, {"Accept": "application/json"} | names)
        answer = connection.getresponse()
        text = answer.read()
        is_json = "json" in (answer.getheader("content-type") or "")
        return answer.status, json.loads(text) if is_json and text else None
    finally:
        connection.close()


def submit(server: Server, content: bytes, fields: dict[str, str] | None = None) -> str:
    """Upload by form; return the job's id."""
    before, after = form(content, fields)
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    status, job = ask(server.port, "POST", "/uploads", before + after, Content_Type=content_type)
    if status != 202:
        raise BenchmarkError(f"{server.name}: upload answered {status}: {job!r}")
    return str(job["id"])


def job_status(server: Server, job_id: str) -> str:
    status, job = ask(server.port, "GET", f"/jobs/{job_id}")
    if status != 200:
        raise BenchmarkError(f"{server.name}: status answered {status}: {job!r}")
    return str(job["status"])


def await_status(server: Server, job_id: str, wanted: Sequence[str] = FINAL) -> None:
    """Poll until the job is in one of the wanted states.

    Raises:
        BenchmarkError: it ended otherwise, or nothing came of it in two minutes.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (status := job_status(server, job_id)) not in wanted:
        if status in FINAL or time.monotonic() > deadline:
            raise BenchmarkError(f"{server.name}: job is {status}, not {' or '.join(wanted)}")
        time.sleep(0.02)


def slow_poll(port: int, target: str, *, count: int, interval_seconds: float) -> list[float]:
    """Ask at a steady pace on one connection; return the latencies in milliseconds, sorted."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    latencies = []
    due = time.perf_counter()
    for _ in range(count):
        started = time.perf_counter()
        connection.request("GET", target, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        answer.read()
        latencies.append(1000 * (time.perf_counter() - started))
        if answer.status != 200:
            raise BenchmarkError(f"poll answered {answer.status}")
        due += interval_seconds
        time.sleep(max(0.0, due - time.perf_counter()))
    connection.close()
    return sorted(latencies)
