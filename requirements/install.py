"""Installs a lock into the environment of the Python that runs this, and a project beside it.

    .venv/bin/python requirements/install.py requirements/run.lock .

A lock is complete (``tests/test_locks.py``), so nothing is resolved: met with a requirement like ``coverage[toml]``,
pip's resolver looks for newer releases than the pinned ones and stops. Of the machine's own pip configuration only what
says how to reach an index is kept; what would choose packages, or warn, is not. Needs nothing but pip 23.0 or newer.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

REACH = (
    "cache-dir",
    "cert",
    "client-cert",
    "default-timeout",
    "extra-index-url",
    "index-url",
    "keyring-provider",
    "no-cache-dir",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
    "use-feature",
)
"""pip's settings that say how an index is reached. What is taken from it, hashes decide."""

_SECTIONS = ("global", "install", ":env:")
"""Of pip's configuration, the later outweighs the earlier."""

_SETTING = re.compile(r"(\S+)\.([a-z-]+)=(.*)")
_COLLECTING = re.compile(r"Collecting ([^\s=;]+)")
_PIP = (sys.executable, "-I", "-m", "pip")
"""Isolated from PYTHONPATH and from the folder it is called in."""


def environment(listed: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return pip's environment, given what ``pip config list`` printed and the environment of this process."""
    found = [match.groups() for line in listed.splitlines() if (match := _SETTING.fullmatch(line))]
    kept = {name: value for name, value in inherited.items() if not name.startswith("PIP_")}
    for section in _SECTIONS:
        for of, name, value in found:
            if of == section and name in REACH:
                kept["PIP_" + name.upper().replace("-", "_")] = str(ast.literal_eval(value))
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def pinned(lock: str) -> int:
    """Return how many packages a lock's text pins."""
    return len(re.findall(r"^[^\s#].*==", lock, re.MULTILINE))


def pip(*arguments: str, env: Mapping[str, str]) -> Iterator[str]:
    """Yield what pip prints, line by line.

    Raises:
        SystemExit: pip failed; with all that it printed, and its exit status.
    """
    lines = []
    with subprocess.Popen(
        [*_PIP, *arguments], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            yield line
    if process.returncode:
        sys.stderr.writelines(lines)
        sys.exit(process.returncode)


def show(lines: Iterator[str], count: int) -> None:
    """Show on a terminal how far an installation has come, in one line that is gone at the end."""
    done = 0
    for line in lines:
        if not sys.stdout.isatty():
            continue
        if match := _COLLECTING.match(line):
            done += 1
            print(f"\r\033[K  {done} of {count}: {match[1]}", end="", flush=True)
        elif line.startswith("Installing"):
            print("\r\033[K  unpacking", end="", flush=True)
    if sys.stdout.isatty():
        print("\r\033[K", end="", flush=True)


def main(lock_path: str, project: str | None = None) -> None:
    """Install the lock's packages, the project if one is named, and check that they fit."""
    listed = subprocess.run([*_PIP, "config", "list"], text=True, capture_output=True, check=False).stdout
    env = environment(listed, os.environ)
    count = pinned(Path(lock_path).read_text(encoding="utf-8"))
    began = time.monotonic()
    print(f"Installing {count} packages into {sys.prefix}, once ...", flush=True)
    show(pip("install", "--no-deps", "--require-hashes", "-r", lock_path, env=env), count)
    if project is not None:
        show(pip("install", "--no-deps", "--no-build-isolation", "-e", project, env=env), 1)
    show(pip("check", env=env), 0)
    print(f"Installed in {time.monotonic() - began:.0f} s.", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
