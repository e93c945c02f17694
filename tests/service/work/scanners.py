"""Scanners for tests: shell scripts that do to a worker what an operator's may."""

from __future__ import annotations

import os
from pathlib import Path

from service.work.scan import Scanner

MARKER = b"X5O!P%@AP-MARKER-OF-A-TEST!$H+H*"
"""What ``LOOKING`` takes for malicious."""

LOOKING = "if grep -qaF 'X5O!P%@AP-MARKER-OF-A-TEST!$H+H*'; then exit 1; fi; exit 0"
CLEAN = "cat > /dev/null"
MALICIOUS = "cat > /dev/null; exit 1"


def script(folder: Path, body: str) -> Path:
    """Write a shell script that can be run; ``$HERE`` in it is its folder."""
    path = folder / "scan.sh"
    path.write_text(f"#!/bin/sh\nHERE={folder}\n{body}\n")
    path.chmod(0o755)
    return path


def scanner(folder: Path, body: str, *, timeout_seconds: float = 60) -> Scanner:
    """Return a scanner that runs such a script."""
    return Scanner((str(script(folder, body)),), timeout_seconds)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def pid_in(path: Path) -> int | None:
    """Return the process id that a script has written, once it has."""
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None
