"""Where the child finds its program, and how it ends when its parent has."""

from __future__ import annotations

import os
import subprocess
import sys
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


ORPHAN = """
import logging, sys, threading
from service.work import child
handler = logging.StreamHandler()
logging.getLogger().addHandler(handler)
held = threading.Event()
def stuck():
    with handler.lock:
        held.set()
        threading.Event().wait()
threading.Thread(target=stuck, daemon=True).start()
held.wait()
child._listen(lambda: None)
"""


def test_a_child_whose_parent_is_gone_ends_though_another_thread_is_stuck_in_the_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN], stdin=subprocess.DEVNULL, env=environment(), check=False, timeout=30
    )

    assert done.returncode == 0
