"""A database of its own for every test, and a whole service in this process for those that ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from tests.service.web.in_process import InProcess, in_process

ADMIN_TOKEN = "the-admin-token-of-tests"


@pytest.fixture
def settings(tmp_path: Path, database_path: Path) -> Settings:
    """Settings over a migrated database, without a worker."""
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        database_url=f"sqlite:///{database_path}",
        admin_token=ADMIN_TOKEN,
        allowed_hosts="testserver, box.lan, up.example",
        embedded_worker=False,
        min_free_bytes=0,
        early_refusal_drain_seconds=0.2,
    )


@pytest.fixture
def start(settings: Settings) -> Iterator[Callable[..., InProcess]]:
    """Return a function that starts a service, with settings changed as it is told."""
    with ExitStack() as stack:

        def begin(**changes: Any) -> InProcess:
            return stack.enter_context(in_process(Settings(_env_file=None, **settings.model_dump() | changes)))

        yield begin


@pytest.fixture
def app(start: Callable[..., InProcess]) -> InProcess:
    """A service in this process, with nothing in it."""
    return start()
