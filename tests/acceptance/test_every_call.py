"""Every call under the database and the file store fails once, in service and worker: nothing acknowledged is lost.

As SQLite's own tests do: the first call of a kind fails in the first round, the second in the second, and so on. The
first and the last of each kind are made to fail here; ``EVERY_CALL=all`` takes all of them, for many minutes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import pytest

from tests.acceptance.asking import FINAL, ask, sha256, succeeded
from tests.acceptance.failing_calls import FailingCalls, Fault
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import text

IS_WHOLE = os.environ.get("EVERY_CALL") == "all"
DATABASE, FILES = "/vacpack.db", "/files"

ERRORS = {
    "open": errno.EMFILE,
    "read": errno.EIO,
    "write": errno.ENOSPC,
    "sync": errno.EIO,
    "truncate": errno.EIO,
    "unlink": errno.EIO,
    "rename": errno.EIO,
    "lock": errno.ENOLCK,
    "map": errno.ENOMEM,
    "stat": errno.EIO,
}
MADE_ALL_THE_SAME = ("write", "sync", "truncate", "unlink", "rename")
"""Calls that may have been made though they reported an error."""

SIZES = (5_000, 300_000)
"""Stored together with its row, and before it."""


@dataclass
class Rounds:
    """A service, what fails in it, and what it has promised."""

    service: ServiceProcess
    calls: FailingCalls
    promised: dict[str, bytes] = field(default_factory=dict)
    """The bytes of each job whose 202 was seen."""
    number: int = 0

    def pid(self, who: str) -> int:
        return self.service.process.pid if who == "service" else self.service.worker_pid()

    def next_bytes(self) -> bytes:
        self.number += 1
        return text(SIZES[self.number % len(SIZES)], self.number)

    def count(self, who: str, where: str) -> dict[str, int]:
        """Return how often each kind of call is made for one upload and its job."""
        data = self.next_bytes()
        self.calls.count(self.pid(who), where)
        self.check(self.promise(data))
        return self.calls.seen()

    def round(self, who: str, fault: Fault, *, dies: bool = False) -> bool:
        """Upload while one call fails, and again under the same key; return whether it failed.

        ``dies``: a refusal is the last that the service does.
        """
        data = self.next_bytes()
        self.calls.order(self.pid(who), fault)
        job_id = self.send(data)
        if job_id is not None:
            self.check(job_id)
        has_fired = self.calls.has_fired()
        if job_id is None and dies:
            self.start_again()
        self.calls.rest()
        again = self.promise(data)
        assert job_id in (None, again)
        self.check(again)
        return has_fired

    def promise(self, data: bytes) -> str:
        """Upload, and return the id of the job."""
        job_id = self.send(data)
        assert job_id is not None, self.service.log()
        return job_id

    def send(self, data: bytes) -> str | None:
        """Upload under this round's key; return the job's id if there is an answer that promises it."""
        target = f"{self.service.url}/uploads/f?format=gzip&level=fast"
        try:
            answer = ask(target, "PUT", data, Idempotency_Key=f"round-{self.number}")
        except (OSError, HTTPException):
            return None
        assert answer.status in (202, 500, 503, 507), answer
        if answer.status != 202:
            return None
        job_id: str = answer.json["id"]
        self.promised[job_id] = data
        return job_id

    def check(self, job_id: str) -> None:
        """Wait for the end of the job; what fails may be the reading of its status."""
        job = until(lambda: self.ended(job_id), what=f"the end of {job_id}")
        assert job["status"] == "succeeded", (job, self.service.log())
        assert job["source"]["sha256"] == sha256(self.promised[job_id])

    def ended(self, job_id: str) -> dict[str, Any] | None:
        answer = ask(f"{self.service.url}/jobs/{job_id}?wait=2")
        assert answer.status in (200, 503), (answer, self.service.log())
        job: dict[str, Any] = answer.json
        return job if job["status"] in FINAL else None

    def start_again(self) -> None:
        self.service.kill()
        self.calls.rest()
        self.service.start()

    def look(self) -> None:
        """Every job is there and has succeeded, those that were not promised too, and nothing that is named is gone."""
        for job_id in self.service.statuses():
            succeeded(self.service.url, job_id)
        for job_id, data in self.promised.items():
            assert ask(f"{self.service.url}/jobs/{job_id}/original").body == data
        assert self.service.named() <= self.service.stored()


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    folder = tmp_path_factory.mktemp("calls")
    calls = FailingCalls(folder)
    settings = {"retry_pause_seconds": 0.1, "retry_pause_max_seconds": 0.1, "sweep_seconds": 1}
    service = ServiceProcess(folder / "service", ("env", *calls.environment), **settings)
    try:
        yield Rounds(service.start(), calls)
    finally:
        service.kill()


def faults(counted: dict[str, int], where: str) -> Iterator[Fault]:
    """Yield what to have fail, one after the other."""
    for call, count in counted.items():
        numbers = range(1, count + 1) if IS_WHOLE else sorted({1, count} - {0})
        for nth in numbers:
            yield Fault(call, nth, ERRORS[call], where)
            if call in MADE_ALL_THE_SAME:
                yield Fault(call, nth, ERRORS[call], where, is_done=True)


@pytest.mark.parametrize("where", [DATABASE, FILES])
@pytest.mark.parametrize("who", ["service", "worker"])
def test_nothing_promised_is_lost_when_a_call_fails(rounds: Rounds, who: str, where: str) -> None:
    counted = rounds.count(who, where)

    fired = {fault.call for fault in faults(counted, where) if rounds.round(who, fault, dies=IS_WHOLE)}

    assert fired >= {"read", "write", "sync", "lock", "stat"}
    rounds.start_again()
    rounds.look()


LOG = f"{DATABASE}-wal"
UNSYNCED = Fault("sync", 1, errno.EIO, LOG)


def test_an_upload_that_was_committed_and_not_synced_is_whole_after_a_crash(rounds: Rounds) -> None:
    """The database finds it in its log again: a file that it names must not have been deleted meanwhile."""
    for _ in SIZES:
        assert rounds.round("service", UNSYNCED, dies=True)

    rounds.look()


def test_a_success_that_was_committed_and_not_synced_is_whole_after_a_crash(rounds: Rounds) -> None:
    data = rounds.next_bytes()
    rounds.calls.order(rounds.pid("worker"), UNSYNCED)
    job_id = rounds.promise(data)
    until(rounds.calls.has_fired, what="the failure")

    rounds.start_again()

    rounds.check(job_id)
    rounds.look()
