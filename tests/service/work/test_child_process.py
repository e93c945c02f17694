"""Where the child finds its program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import service
from service.work.child_process import environment

ROOT = str(Path(service.__file__).parent.parent)


def test_a_child_of_a_source_tree_is_told_where_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert environment() == {**os.environ, "PYTHONPATH": ROOT}

    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert environment()["PYTHONPATH"] == f"{ROOT}:/elsewhere"


def test_installed_packages_are_not_put_before_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: ROOT)

    assert environment() == dict(os.environ)
