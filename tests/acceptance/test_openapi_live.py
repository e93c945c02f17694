"""The description is held true by requests made up from it: those that fit are taken, those that do not are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartService

CONFIGURATION = Path(__file__).parents[1] / "schemathesis.toml"
ADMIN_TOKEN = "the-admin-token-of-tests"


@pytest.mark.timeout(300)
def test_nothing_made_up_from_the_description_is_answered_otherwise(
    start_service: StartService, tmp_path: Path
) -> None:
    service = start_service(admin_token=ADMIN_TOKEN, max_wait_seconds=0.1, early_refusal_drain_seconds=0.1)

    run = subprocess.run(
        [
            Path(sys.executable).with_name("st"),
            "--config-file",
            CONFIGURATION,
            "run",
            f"{service.url}/openapi.json",
            "--header",
            f"Authorization: Bearer {ADMIN_TOKEN}",
            "--request-timeout",
            "20",
            "--no-color",
        ],
        # It keeps what it made up in its working directory.
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    errors = [event for event in service.events() if event["level"] == "error"]
    assert errors == []
