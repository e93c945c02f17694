"""Terminals that take no UTF-8, streams that are closed, readers that go: the command says what it can, and quietly."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.asking import ask, ended, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import VACPACK, environment

POOR = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "iso-8859-1:strict"},
]
NAME = "你好 é €.txt"


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash, in which ``vacpack`` is the command."""
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; vacpack() {{ {VACPACK} "$@"; }}; {line}'],
        cwd=folder,
        env=environment(variables),
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("terminal", POOR)
def test_letters_that_a_terminal_lacks_become_escapes(tmp_path: Path, terminal: dict[str, str]) -> None:
    settings = shell("vacpack settings", tmp_path, VACPACK_SMTP_HOST="你好", **terminal)
    audit = shell(f"vacpack audit --data-dir '{NAME}'", tmp_path, **terminal)
    port = shell("vacpack settings", tmp_path, VACPACK_PORT="你", **terminal)

    assert (settings.returncode, settings.stderr) == (0, b"")
    assert b"VACPACK_SMTP_HOST=\\u" in settings.stdout
    assert (audit.stdout, audit.stderr.count(b"\n")) == (b"", 1)
    assert audit.returncode in (1, 2)
    assert port.returncode == 2
    for done in (settings, audit, port, shell("vacpack --help; vacpack serve -h", tmp_path, **terminal)):
        assert b"Error" not in done.stderr, done.stderr
        assert b"Traceback" not in done.stderr


def test_a_service_on_a_poor_terminal_takes_and_tells_every_name(start_service: StartService) -> None:
    service = start_service()
    service.stop()
    service.settings |= POOR[0] | {"VACPACK_LOG_LEVEL": "debug"}
    service.start()
    job = upload(service.url, b"hello " * 1000, quote(NAME))

    assert ended(service.url, job["id"])["name"] == NAME
    ask(f"{service.url}/uploads/%E4%BD%A0")
    until(lambda: "\\u4f60" in service.log(), what="the name in the log, escaped")
    assert "UnicodeEncodeError" not in service.log()
    assert service.log().isascii()
    assert service.stop() == 0


def test_a_closed_stream_is_no_error_and_no_file_takes_its_place(tmp_path: Path) -> None:
    assert shell("vacpack migrate", tmp_path).returncode == 0

    for closed in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        done = shell(f"vacpack settings {closed}; echo $? >code", tmp_path)
        assert (tmp_path / "code").read_text() == "0\n", done.stderr
        assert done.stderr == b""
        done = shell(f"vacpack sweep {closed}; echo $? >code", tmp_path)
        assert (tmp_path / "code").read_text() == "0\n", done.stderr
        assert done.stderr == b""
    assert shell("vacpack sweep", tmp_path).returncode == 0, "nothing was written into the database"


def test_a_reader_that_goes_ends_it_quietly(tmp_path: Path) -> None:
    for line in ("vacpack settings | head -1", "vacpack settings --json | true", "vacpack --version | true"):
        done = shell(line, tmp_path)
        assert (done.returncode, done.stderr) == (0, b""), line


def test_a_full_disk_below_the_output_is_one_line(tmp_path: Path) -> None:
    done = shell("vacpack settings >/dev/full", tmp_path)

    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written: No space left on device\n"
    assert shell("vacpack migrate --data-dir /dev/null 2>/dev/full", tmp_path).returncode == 1


def test_a_folder_whose_name_is_no_utf_8_is_one_line(tmp_path: Path) -> None:
    done = shell("vacpack sweep --data-dir $'caf\\xe9'", tmp_path)

    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"VACPACK_DATA_DIR: Value error, its name is not UTF-8" in done.stderr
    assert list(tmp_path.iterdir()) == []
