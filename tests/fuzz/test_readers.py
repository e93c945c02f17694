"""Each reader for a moment, always with the same input; the whole application with heads by chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.settings import Settings
from service.start.holdings import prepare
from tests.fuzz.inputs import parts, raws
from tests.fuzz.properties import PROPERTIES, headers, hold, methods
from tests.service.web.in_process import InProcess, in_process

SHORT = settings(
    max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
PATHS = ["/", "/uploads", "/uploads/x", "/x", "/jobs", "/jobs/x", "/jobs/x/result", "/limits", "/audit", "/metrics"]
HOP = frozenset({"content-length", "transfer-encoding", "host", "expect"})
"""Fields that say how the client sends, and so are its own."""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcess]:
    settings = Settings(_env_file=None, data_dir=tmp_path, min_free_bytes=0, early_refusal_drain_seconds=0.1)
    prepare(settings)
    with in_process(settings) as app:
        yield app


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_reader_returns_or_refuses_by_name(name: str) -> None:
    hold(name, SHORT)


def test_the_application_answers_whatever_a_head_says(app: InProcess) -> None:
    @SHORT
    @given(methods, st.sampled_from(PATHS), headers, raws, parts)
    def check(method: str, path: str, said: list[tuple[str, str]], query: bytes, body: list[bytes]) -> None:
        kept: list[tuple[bytes, bytes]] = [
            (name.encode(), value.strip().encode("latin-1")) for name, value in said if name not in HOP
        ]
        sent: dict[str, Any] = {} if method in ("GET", "HEAD") else {"content": b"".join(body)}
        answer = app.client.request(method, path, headers=kept, params={"q": query}, **sent)
        assert answer.status_code < 500 or answer.json()["code"] in ("not_healthy", "queue_full"), answer.text

    check()
