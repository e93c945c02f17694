"""The README runs: its commands, as they stand there, against a server that its first one started.

A ``console`` block holds commands after ``$ `` and what they print. ``…`` stands for anything within a line, and
alone on a line for any lines. The one substitution is the port: the README says 8000, which may be taken.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVE = "make run"
MARK = "=== end of command"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\b[0-9]+ (?:s|min [0-9]+ s)$")

pytestmark = pytest.mark.acceptance


@dataclass(frozen=True)
class Command:
    """One command of the README and the lines it says that it prints; none where it shows none."""

    text: str
    printed: tuple[str, ...]


def commands_of_readme() -> list[Command]:
    return [command for block in _BLOCK.findall((ROOT / "README.md").read_text()) for command in commands_of(block)]


def commands_of(block: str) -> Iterator[Command]:
    for said in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        text, *printed = said.rstrip("\n").split("\n")
        yield Command(text, tuple(printed))


def fits(printed: str, expected: tuple[str, ...]) -> bool:
    """Say whether what was printed is what the README shows; times in seconds may differ."""
    lines = (r"(?:[^\n]*\n)*" if line.strip() == "…" else _line_pattern(line) for line in _timeless(expected))
    return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in _timeless(printed.splitlines()))) is not None


def _line_pattern(line: str) -> str:
    return re.escape(line).replace("…", r"[^\n]*?") + r"\n"


def _timeless(lines: Iterable[str]) -> Iterator[str]:
    return (_TIME.sub("1 s", line) for line in lines)


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the README's own command; what is installed already is not installed again (-o)."""
    log = tmp_path_factory.mktemp("server") / "log"
    data = tmp_path_factory.mktemp("data")
    program, *arguments = SERVE.split()
    command = [program, "-o", ".venv/run.stamp", f"BIN={Path(sys.executable).parent}", *arguments]
    environment = {**os.environ, "PORT": str(port), "DATA_DIR": str(data)}
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out, process_group=0)
    try:
        wait_until_ready(port, server, log)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def wait_until_ready(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not become ready:\n{log.read_text()}")


@pytest.fixture(scope="module")
def ends(served: None, port: int, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """Run all commands but the first in one shell, in an empty folder; return each one's exit status and output."""
    commands = commands_of_readme()[1:]
    script = "".join(f"{command.text}\nprintf '\\n{MARK} %d\\n' $?\n" for command in commands)
    folder = tmp_path_factory.mktemp("folder")
    shell = ["bash", "-o", "pipefail", "-c", script.replace(":8000", f":{port}")]
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, timeout=150, check=True)
    parts = re.split(rf"\n{MARK} ([0-9]+)\n", done.stdout.replace(f":{port}", ":8000"))
    return [(int(status), output) for status, output in zip(parts[1::2], parts[0::2], strict=False)]


def test_first_command_serves() -> None:
    assert commands_of_readme()[0] == Command(SERVE, ())


def test_every_command_runs(ends: list[tuple[int, str]]) -> None:
    assert [status for status, _ in ends] == [0] * len(commands_of_readme()[1:])


@pytest.mark.parametrize(("number", "command"), list(enumerate(commands_of_readme()[1:])))
def test_command_prints_what_the_readme_shows(number: int, command: Command, ends: list[tuple[int, str]]) -> None:
    _, output = ends[number]

    assert fits(output, command.printed) if command.printed else '"code"' not in output, f"{command.text}\n{output}"


def test_ellipsis_stands_for_anything_within_a_line() -> None:
    assert fits("a 12 c\n", ("a … c",))
    assert not fits("a 12\nc\n", ("a … c",))


def test_ellipsis_alone_stands_for_any_lines() -> None:
    assert fits("a\nb\nc\nd", ("a", "  …", "d"))
    assert fits("a\nd", ("a", "  …", "d"))


def test_seconds_may_differ_and_words_may_not() -> None:
    assert fits("gzip, 12 s", ("gzip, 1 s",))
    assert fits("gzip, 1 min 12 s", ("gzip, 1 s",))
    assert not fits("xz, 1 s", ("gzip, 1 s",))
