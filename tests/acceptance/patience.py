"""Waiting for what happens in another process: a condition is asked again and again, never slept for blindly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
"""Long enough for a busy machine. Where a time is promised, the test names it instead."""


def until(ask: Callable[[], T | None], *, seconds: float = PATIENCE_SECONDS, what: str = "it") -> T:
    """Return the first true answer of ``ask``; fail, with its last answer, when the time is over."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s; last seen: {answer!r}"
        time.sleep(0.02)
    return answer
