"""Fifty times killed at a random moment: every 202 that was seen stands for a finished job with the right bytes."""

from __future__ import annotations

import os
import random
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.codecs.codec import CODECS
from service.codecs.terms import Format
from tests.acceptance.asking import Answer, ask, sha256, succeeded
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess, end
from tests.service.payloads import mixed, noise, text

ROUNDS = 50
ROUNDS_BETWEEN_LOOKS = 10
UPLOADS = 3
"""Clients that upload at once in each round."""
RECOVERY_SECONDS = 5.0

FORMATS = ("auto", "zstd", "gzip", "brotli", "xz")
LEVELS = ("fast", "balanced", "small")
SEED = int(os.environ.get("KILL_ROUNDS_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


@dataclass
class Rounds:
    """What has been uploaded, and what the clients saw."""

    service: ServiceProcess
    folder: Path
    chance: random.Random
    seen: dict[str, bytes] = field(default_factory=dict)
    """The bytes of each job whose 202 was seen."""
    slowest_recovery_seconds: float = 0.0

    def payload(self) -> bytes:
        size = int(10 ** self.chance.uniform(0, 6.3))
        seed = self.chance.randrange(1000)
        return self.chance.choice([text(size, seed), noise(size, seed), mixed(size)])

    def round(self, number: int) -> None:
        """Let clients upload, kill something meanwhile, and see what they saw."""
        data = [self.payload() for _ in range(UPLOADS)]
        clients = [self.begin_upload(f"{number}-{index}", piece) for index, piece in enumerate(data)]
        is_whole_service = number % 10 in (0, 3, 7)
        if number % 2:
            self.let_it_work()
        time.sleep(self.chance.uniform(0, 0.25))
        if is_whole_service:
            self.service.kill()
        else:
            end(self.service.worker_pid())
        for client, piece in zip(clients, data, strict=True):
            self.note(client, piece)
        if is_whole_service:
            self.service.start()

    def let_it_work(self) -> None:
        """Give a new worker the time to have begun something; quick jobs may be over before they are seen."""
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and not self.service.rows("SELECT 1 FROM jobs WHERE status = 'running'"):
            time.sleep(0.01)

    def begin_upload(self, name: str, data: bytes) -> subprocess.Popen[bytes]:
        path = self.folder / name
        path.write_bytes(data)
        asked = f"format={self.chance.choice(FORMATS)}&level={self.chance.choice(LEVELS)}"
        target = f"{self.service.url}/uploads?{asked}"
        how = ["-X", "POST", "-T", path] if self.chance.random() < 0.5 else ["-F", f"file=@{path}"]
        options = ["--silent", "--max-time", "20", "-H", "Accept: text/plain", "--limit-rate", "8M"]
        return subprocess.Popen(["curl", *options, *how, target], stdout=subprocess.PIPE)

    def note(self, client: subprocess.Popen[bytes], data: bytes) -> None:
        said, _ = client.communicate(timeout=30)
        if client.returncode == 0 and said.startswith(b"http://"):
            self.seen[said.decode().strip().rpartition("/")[2]] = data

    def see_recovery(self) -> None:
        """Wait until what the last kill left is taken up again."""
        began = time.monotonic()
        left = [job for job, status in self.service.statuses().items() if status in ("queued", "running")]
        until(lambda: not left or self.has_moved(left), seconds=RECOVERY_SECONDS, what=f"recovery of {left}")
        self.slowest_recovery_seconds = max(self.slowest_recovery_seconds, time.monotonic() - began)

    def has_moved(self, left: list[str]) -> bool:
        """Whether one of the jobs left over is worked on again, or has ended, after this start."""
        workers = {row["id"] for row in self.service.rows("SELECT id FROM workers")}
        query = "SELECT id, status, lease_owner FROM jobs WHERE id IN ({})".format(", ".join("?" * len(left)))
        return any(
            row["status"] == "succeeded" or row["lease_owner"] in workers for row in self.service.rows(query, *left)
        )

    def look(self) -> None:
        """Every job that was promised is there, done, and right; and nothing else is stored."""
        for job_id, data in self.seen.items():
            self.check(succeeded(self.service.url, job_id, seconds=60), data)
        for job_id in self.service.statuses():
            # Those whose 202 was not seen are whole all the same.
            succeeded(self.service.url, job_id, seconds=60)
        until(
            lambda: self.service.stored() == self.service.named(),
            what=f"a store that holds {sorted(self.service.named())} and nothing else: {sorted(self.service.stored())}",
        )

    def check(self, job: dict[str, Any], data: bytes) -> None:
        assert job["source"]["sha256"] == sha256(data), job
        original, result = (self.ask(f"{job['id']}/{what}") for what in ("original", "result"))
        assert original.body == data
        assert result.sha256 == job["result"]["sha256"]
        if not job["result"]["stored_as_is"]:
            assert b"".join(CODECS[Format(job["result"]["format"])].decompress([result.body])) == data

    def ask(self, path: str) -> Answer:
        answer = ask(f"{self.service.url}/jobs/{path}")
        assert answer.status == 200, answer
        return answer


@pytest.fixture
def rounds(tmp_path: Path) -> Rounds:
    service = ServiceProcess(tmp_path / "service", max_worker_losses=100, sweep_seconds=1)
    folder = tmp_path / "clients"
    folder.mkdir()
    return Rounds(service, folder, random.Random(SEED))


def test_every_202_that_was_seen_is_kept_through_fifty_kills(rounds: Rounds) -> None:
    print(f"KILL_ROUNDS_SEED={SEED} runs these rounds again")  # noqa: T201
    rounds.service.start()
    try:
        for number in range(1, ROUNDS + 1):
            rounds.round(number)
            if number % ROUNDS_BETWEEN_LOOKS == 0:
                rounds.see_recovery()
                rounds.look()
    finally:
        rounds.service.kill()
    assert len(rounds.seen) > ROUNDS // 2
    assert 0 < rounds.slowest_recovery_seconds < RECOVERY_SECONDS
