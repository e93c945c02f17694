"""A client like any other beside an attack: it uploads, follows, downloads and deletes, and every answer must be right.

Loopback has no limits per address, so both come as strangers, through the proxy that the service believes by default.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.acceptance.asking import FINAL, Answer, ask
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess
from tests.acceptance.test_memory import MIB, resident_bytes

ATTACKER, VICTIM = "198.51.100.7", "203.0.113.9"
FROM_ATTACKER = f"X-Forwarded-For: {ATTACKER}"

KEPT_BYTES = 30 * MIB
"""What the service may have more after an attack than before it."""
WARM_ROUNDS = 5


class Victim:
    """One round after the other; what failed is told, and how many rounds went well is counted."""

    def __init__(self, service: ServiceProcess) -> None:
        self.rounds = 0
        self.failures: list[str] = []
        self.jobs: list[str] = []
        self._service = service
        self._ended = threading.Event()

    def run(self) -> None:
        """Go round until told to end."""
        while not self._ended.is_set():
            try:
                self.go_round()
            except Exception as error:
                self.failures.append(repr(error))

    def go_round(self) -> None:
        """Upload, follow to the end, download and delete."""
        data = os.urandom(1000) * 20
        job = self._ask("/uploads/small.bin", "PUT", data, expected=202).json
        self.jobs.append(job["id"])
        document = self._ended_job(job["id"])
        assert document["status"] == "succeeded", document
        body = self._ask(f"/jobs/{job['id']}/original").body
        assert body == data, (len(body), body[:500])
        self._ask(f"/jobs/{job['id']}", "DELETE", expected=204, Authorization=f"Bearer {job['manage_key']}")
        self.rounds += 1

    def _ended_job(self, job_id: str) -> dict[str, Any]:
        def ask_again() -> dict[str, Any] | None:
            job: dict[str, Any] = self._ask(f"/jobs/{job_id}?wait=2").json
            return job if job["status"] in FINAL else None

        return until(ask_again, what="the end of the victim's job")

    def _ask(
        self, path: str, method: str = "GET", body: bytes | None = None, *, expected: int = 200, **headers: str
    ) -> Answer:
        answer = ask(f"{self._service.url}{path}", method, body, X_Forwarded_For=VICTIM, **headers)
        assert answer.status == expected, (method, path, answer.status, answer.body[:500])
        return answer

    def goes_on(self) -> None:
        """Wait for two rounds more, of which at least one lies wholly in the time since; fail if one failed."""
        after = self.rounds + 2
        until(lambda: self.rounds >= after or self.failures, what="two rounds of the victim")
        assert self.failures == [], self.failures

    def end(self) -> None:
        """Let the round that is under way be the last."""
        self._ended.set()


@contextmanager
def beside_victim(service: ServiceProcess) -> Iterator[Victim]:
    """Have a victim go its rounds in the block, and two more after it; then memory must be what it was before."""
    victim = Victim(service)
    for _ in range(WARM_ROUNDS):
        victim.go_round()
    before = resident_bytes(service.process.pid)
    thread = threading.Thread(target=victim.run)
    thread.start()
    try:
        yield victim
        victim.goes_on()
    finally:
        victim.end()
        thread.join()
    assert victim.failures == [], victim.failures
    until(lambda: resident_bytes(service.process.pid) <= before + KEPT_BYTES, what="memory given back")
