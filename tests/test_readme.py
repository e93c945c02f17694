"""The documents run: their commands, as they stand there, against a server that the README's first one started.

A ``console`` block holds commands after ``$ `` and what they print. ``…`` stands for anything within a line, and
alone on a line for any lines. Each document's commands run in one shell, in a folder of their own. The one
substitution is the port: the documents say 8000, which may be taken.
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

from tests.write_docs import ROOT, documents

SERVE = "make run"
MARK = "=== end of command"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\b[0-9]+ (?:s|min [0-9]+ s)$")

pytestmark = pytest.mark.acceptance


@dataclass(frozen=True)
class Command:
    """One command of a document and the lines it says that it prints; none where it shows none."""

    text: str
    printed: tuple[str, ...]


def commands_of(document: str) -> list[Command]:
    """Return the commands of a document, but not the README's first, which has started the server."""
    return [command for command in written_in(document) if command.text != SERVE]


def written_in(document: str) -> list[Command]:
    blocks = _BLOCK.findall((ROOT / document).read_text())
    return [command for block in blocks for command in commands_in(block)]


def commands_in(block: str) -> Iterator[Command]:
    for said in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        text, *printed = said.rstrip("\n").split("\n")
        yield Command(text, tuple(printed))


def fits(printed: str, expected: tuple[str, ...]) -> bool:
    """Say whether what was printed is what the document shows; times in seconds may differ."""
    lines = (r"(?:[^\n]*\n)*" if line.strip() == "…" else _line_pattern(line) for line in _timeless(expected))
    return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in _timeless(printed.splitlines()))) is not None


def _line_pattern(line: str) -> str:
    return re.escape(line).replace("…", r"[^\n]*?") + r"\n"


def _timeless(lines: Iterable[str]) -> Iterator[str]:
    return (_TIME.sub("1 s", line) for line in lines)


NAMES = [name for name in (str(path.relative_to(ROOT)) for path in documents()) if written_in(name)]
"""Every document that prints commands."""
COMMANDS = [(name, number, command) for name in NAMES for number, command in enumerate(commands_of(name))]

Ends = list[tuple[int, str]]
"""Of each command of a document: its exit status and what it printed."""


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
def ends(served: None, port: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ends]:
    """Run the commands of every document; return how they ended, by its name."""
    return {name: ends_of(commands_of(name), port, tmp_path_factory.mktemp("folder")) for name in NAMES}


def ends_of(commands: list[Command], port: int, folder: Path) -> Ends:
    """Run commands in one shell, in an empty folder."""
    script = "".join(f"{command.text}\nprintf '\\n{MARK} %d\\n' $?\n" for command in commands)
    shell = ["bash", "-o", "pipefail", "-c", script.replace(":8000", f":{port}")]
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, timeout=150, check=True)
    parts = re.split(rf"\n{MARK} ([0-9]+)\n", done.stdout.replace(f":{port}", ":8000"))
    return [(int(status), output) for status, output in zip(parts[1::2], parts[0::2], strict=False)]


def test_first_command_serves() -> None:
    assert written_in("README.md")[0] == Command(SERVE, ())


def test_the_readme_and_the_pages_beside_it_print_commands() -> None:
    assert {"README.md", "docs/api.md", "docs/messages.md"} <= set(NAMES)


def test_the_readme_has_at_most_two_hundred_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("name", NAMES)
def test_every_command_runs(name: str, ends: dict[str, Ends]) -> None:
    assert [status for status, _ in ends[name]] == [0] * len(commands_of(name))


@pytest.mark.parametrize(("name", "number", "command"), COMMANDS)
def test_command_prints_what_the_document_shows(
    name: str, number: int, command: Command, ends: dict[str, Ends]
) -> None:
    _, output = ends[name][number]

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
