"""What a test does where a part it needs is missing: a user's machine may lack it, CI may not."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip on a developer's machine; fail where everything is supposed to be there (``CI=true``)."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
