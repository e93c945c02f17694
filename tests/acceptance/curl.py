"""The real curl, with what it said taken apart."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CurlResult:
    """What one curl, or one shell line with it, came to."""

    code: int
    status: int
    """HTTP status of the last answer; 0 where curl saw none."""
    head: str
    """Header lines of the last answer."""
    body: bytes
    complaint: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """Return a header of the last answer."""
        found = re.search(rf"^{re.escape(name)}: *(.*?)\r?$", self.head, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else None


def curl(*arguments: object, folder: Path, stdin: bytes = b"") -> CurlResult:
    """Run curl in a folder; ``-w`` and ``-D`` tell what came back, the rest is as given."""
    return shell(shlex.join(["curl", *map(str, arguments)]), folder=folder, stdin=stdin)


def shell(line: str, *, folder: Path, stdin: bytes = b"") -> CurlResult:
    """Run a line of shell as the README would print it. Its curl is silent and leaves its headers in a file.

    A ``.curlrc`` in a home of its own does that, so that the line stays as people type it.
    """
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    heads = home / "heads"
    heads.write_bytes(b"")
    (home / ".curlrc").write_text(f'silent\nshow-error\nmax-time = 60\ndump-header = "{heads}"\n')
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "CURL_HOME": str(home), "HOME": str(home), "LC_ALL": "C.UTF-8"},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=90,
    )
    answers = re.split(r"(?=^HTTP/)", heads.read_text("utf-8", "surrogateescape"), flags=re.MULTILINE)
    head = answers[-1]
    status = int(head.split()[1]) if head.startswith("HTTP/") else 0
    return CurlResult(done.returncode, status, head, done.stdout, done.stderr.decode(errors="replace"))
