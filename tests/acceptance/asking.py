"""A small HTTP client for what curl is not the point of: statuses, downloads, changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any
from urllib.parse import urlsplit

from tests.acceptance.patience import PATIENCE_SECONDS, until

FINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Answer:
    """One answer, read whole."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """Its body as JSON."""
        return json.loads(self.body)

    @property
    def sha256(self) -> str:
        """The digest of its body, in hex."""
        return sha256(self.body)


def sha256(data: bytes) -> str:
    """Return the digest in hex."""
    return hashlib.sha256(data).hexdigest()


def ask(url: str, method: str = "GET", body: bytes | Iterable[bytes] | None = None, /, **headers: str) -> Answer:
    """Send one request; header names are written with underscores."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, target, body=body, headers=named)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def upload(url: str, data: bytes, name: str = "f.bin", *, options: str = "", **headers: str) -> dict[str, Any]:
    """Upload a file and return the job; ``options`` is a query."""
    answer = ask(f"{url}/uploads/{name}?{options}", "PUT", data, **headers)
    assert answer.status == 202, answer.body
    job: dict[str, Any] = answer.json
    return job


def job_at(url: str, job_id: str, *, wait: int = 0) -> dict[str, Any]:
    """Return a job's status document; hold on for ``wait`` seconds while it has not ended."""
    answer = ask(f"{url}/jobs/{job_id}?wait={wait}")
    assert answer.status == 200, answer.body
    job: dict[str, Any] = answer.json
    return job


def ended(url: str, job_id: str, *, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """Return a job once it has ended."""

    def ask_again() -> dict[str, Any] | None:
        job = job_at(url, job_id, wait=2)
        return job if job["status"] in FINAL else None

    return until(ask_again, seconds=seconds, what=f"the end of {job_id}")


def succeeded(url: str, job_id: str, *, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """Return a job once it has succeeded; fail if it ends otherwise."""
    job = ended(url, job_id, seconds=seconds)
    assert job["status"] == "succeeded", job
    return job


def running(url: str, job_id: str) -> dict[str, Any]:
    """Return a job once its bytes are being compressed; fail if it ends before."""

    def ask_again() -> dict[str, Any] | None:
        job = job_at(url, job_id)
        assert job["status"] in ("queued", "running"), job
        return job if job["status"] == "running" else None

    return until(ask_again, what=f"the start of {job_id}")
