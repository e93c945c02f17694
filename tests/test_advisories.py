"""Packages that had an advisory are locked at a release that mends it, also where no network tells of them.

With a network, `pip-audit -r requirements/run.lock --no-deps` knows more. A new advisory is a line here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

LOCKS = ("run", "dev")
# The first release that mends all advisories named: what each let a client do.
FLOORS = {
    "brotli": ("1.2.0", "CVE-2025-6176: unbounded memory by small input"),
    "fastapi": ("0.109.1", "CVE-2021-32677: cross-site text as JSON; CVE-2024-24762: slow Content-Type"),
    "h11": ("0.16.0", "CVE-2025-43859: lenient chunks"),
    "idna": ("3.7", "CVE-2024-3651: quadratic names"),
    "jinja2": ("3.1.6", "CVE-2025-27516: out of the sandbox"),
    "mako": ("1.2.2", "CVE-2022-40023: slow template"),
    "markdown-it-py": ("2.2.0", "CVE-2023-26303: crash"),
    "pydantic": ("2.4.0", "CVE-2024-3772: slow address"),
    "pygments": ("2.15.0", "CVE-2022-40896: slow expression"),
    "python-multipart": ("0.0.31", "CVE-2024-24762, -53981, CVE-2026-24486, -42561, -53540: slow forms, files outside"),
    "starlette": ("1.3.1", "CVE-2025-54121, -62727, CVE-2026-48710, -54283: stalls, quadratic ranges, Host, forms"),
    "uvicorn": ("0.11.7", "CVE-2020-7694, -7695: forged log lines and headers"),
}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_pins_a_release_with_an_advisory(lock: str) -> None:
    text = Path(f"requirements/{lock}.lock").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))

    assert set(FLOORS) <= set(pinned), "a package is gone: its line may go too"
    assert {name: pinned[name] for name, (floor, _) in FLOORS.items() if Version(pinned[name]) < Version(floor)} == {}
