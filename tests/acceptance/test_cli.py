"""The ``vacpack`` command in a shell: its settings, its answers, its exit codes."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from service.settings import Settings
from tests.acceptance.asking import ask, ended, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.service_process import VACPACK, environment

COMMANDS = {
    "serve": ("--data-dir", "--host", "--port", "SIGTERM", "VACPACK_EMBEDDED_WORKER"),
    "work": ("--data-dir", "SIGTERM"),
    "migrate": ("--data-dir", "--revision"),
    "sweep": ("--data-dir", "rescue"),
    "scrub": ("--data-dir", "--max-mib-per-second", "--sources", "SHA-256"),
    "audit": ("--data-dir", "--action", "--job", "--limit", "--cursor", "--json"),
    "settings": ("--data-dir", "--json", "secrets"),
}


def vacpack(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder and return what it said; wide enough that help is not wrapped."""
    named = {f"VACPACK_{name}": value for name, value in settings.items()} | {"COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [VACPACK, *arguments],
        cwd=folder,
        env=environment(named),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_audit_makes_and_migrates_nothing(tmp_path: Path) -> None:
    done = vacpack(tmp_path, "audit", "--data-dir", "there")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: there is no database at" in done.stderr
    assert list(tmp_path.iterdir()) == []

    assert vacpack(tmp_path, "migrate", "--data-dir", "there").returncode == 0
    assert vacpack(tmp_path, "audit", "--data-dir", "there").returncode == 0
    assert vacpack(tmp_path, "migrate", "--data-dir", "there", "--revision", "2026_11_22_initial").returncode == 0
    assert vacpack(tmp_path, "audit", "--data-dir", "there").returncode == 1
    with closing(sqlite3.connect(tmp_path / "there" / "vacpack.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("2026_11_22_initial",)]


def test_audit_refuses_what_is_no_job_s_id(tmp_path: Path) -> None:
    done = vacpack(tmp_path, "audit", "--job", "foo")

    assert done.returncode == 2
    assert "--job" in done.stderr


def test_help_names_every_command(tmp_path: Path) -> None:
    done = vacpack(tmp_path, "--help")

    assert done.returncode == 0
    assert [name for name in COMMANDS if name not in done.stdout] == []
    module = subprocess.run(
        [sys.executable, "-P", "-m", "service", "--help"],
        cwd=tmp_path,
        env=environment({"COLUMNS": "200", "NO_COLOR": "1"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert module.stdout.partition("\n\n")[2] == done.stdout.partition("\n\n")[2], "python -m service is the same"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = vacpack(tmp_path, command, "--help")

    assert done.returncode == 0
    assert [word for word in COMMANDS[command] if word not in done.stdout] == []
    assert list(tmp_path.iterdir()) == []


def test_the_short_help_and_the_version_are_there(tmp_path: Path) -> None:
    told = vacpack(tmp_path, "--version")

    assert (told.returncode, told.stdout, told.stderr) == (0, f"vacpack {version('vacpack')}\n", "")
    for command in ((), *((name,) for name in COMMANDS)):
        assert vacpack(tmp_path, *command, "-h").stdout == vacpack(tmp_path, *command, "--help").stdout != ""


def test_settings_print_each_value_and_what_it_is_for(tmp_path: Path) -> None:
    done = vacpack(tmp_path, "settings", PORT="8123", EMBEDDED_WORKER="false")

    lines = done.stdout.splitlines()
    for name, field in Settings.model_fields.items():
        [number] = [number for number, line in enumerate(lines) if line.startswith(f"VACPACK_{name.upper()}=")]
        assert lines[number - 1] == f"# {field.description}"
    assert "VACPACK_PORT=8123" in lines
    assert "VACPACK_EMBEDDED_WORKER=false" in lines
    assert "VACPACK_HOST=127.0.0.1" in lines
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


def test_settings_as_json_are_every_setting(tmp_path: Path) -> None:
    shown = json.loads(vacpack(tmp_path, "settings", "--json", MAX_UPLOAD_BYTES="1000").stdout)

    assert list(shown) == list(Settings.model_fields)
    assert (shown["max_upload_bytes"], shown["result_ttl_seconds"]) == (1000, 7 * 24 * 3600)
    assert shown["data_dir"] == str(tmp_path / "data")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_secrets_are_hidden(tmp_path: Path, form: tuple[str, ...]) -> None:
    done = vacpack(tmp_path, "settings", *form, ADMIN_TOKEN="correct horse battery")

    assert "correct horse" not in done.stdout + done.stderr
    assert "********" in done.stdout


def test_an_unknown_name_is_warned_about_with_the_nearest(tmp_path: Path) -> None:
    done = vacpack(tmp_path, "settings", MAX_UPLOAD_BYTE="5", HOSTS="10.0.0.1")

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "warning: VACPACK_HOSTS is not a setting; did you mean VACPACK_HOST?",
        "warning: VACPACK_MAX_UPLOAD_BYTE is not a setting; did you mean VACPACK_MAX_UPLOAD_BYTES?",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("MAX_UPLOAD_BYTES", "1GB"), ("LOG_FORMAT", "xml"), ("FILES_URL", "ftp://x")],
)
def test_a_bad_value_is_one_line_and_exit_2(tmp_path: Path, name: str, value: str) -> None:
    done = vacpack(tmp_path, "serve", **{name: value})

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: VACPACK_{name}: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_named_env_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VACPACK_PORT=8111\nVACPACK_HOST=0.0.0.0\nVACPACK_POTR=1\nOTHER=2\n")

    done = vacpack(tmp_path, "settings", "--data-dir", "elsewhere", "--json", PORT="8222", DATA_DIR="nowhere")

    shown = json.loads(done.stdout)
    assert (shown["port"], shown["host"]) == (8222, "0.0.0.0")
    assert shown["data_dir"] == str(tmp_path / "elsewhere")
    assert done.stderr == "warning: VACPACK_POTR is not a setting; did you mean VACPACK_PORT?\n"


def test_migrate_makes_the_database_and_takes_it_back(tmp_path: Path) -> None:
    for revision in (), ("--revision", "base"), ():
        done = vacpack(tmp_path, "migrate", *revision)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr

    assert (tmp_path / "data" / "vacpack.db").stat().st_size > 0
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_sweep_says_what_it_did(start_service: StartService) -> None:
    service = start_service(sweep_seconds=600)
    job = upload(service.url, b"short-lived", options="expires=1s")
    ended(service.url, job["id"])
    until(lambda: ask(f"{service.url}/jobs/{job['id']}").status == 410, what="its time over")
    assert len(service.stored()) == 1

    done = vacpack(service.folder, "sweep")

    assert done.returncode == 0
    counts = dict(line.split(": ") for line in done.stdout.splitlines())
    assert counts["expired_files"] == "1"
    assert service.stored() == set()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("serve", "--data-dir", "taken"), "the data folder {folder}/taken cannot be used: File exists"),
        (("work", "--data-dir", "taken/in"), "the data folder {folder}/taken/in cannot be used: Not a directory"),
        (("migrate", "--revision", "yesterday"), "Can't locate revision identified by 'yesterday'"),
    ],
)
def test_an_operator_s_mistake_is_one_line_and_exit_1(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    (tmp_path / "taken").write_text("a file")

    done = vacpack(tmp_path, *arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {reason.format(folder=tmp_path)}\n"


def test_an_address_that_is_taken_is_one_line_and_nothing_is_begun(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = vacpack(tmp_path, "serve", "--port", str(port), "--data-dir", "data")

    assert (done.returncode, done.stdout) == (1, "")
    reason = f"127.0.0.1:{port} cannot be listened on (Address already in use); choose another with --host and --port"
    assert done.stderr == f"error: {reason}\n"
    assert not (tmp_path / "data" / "vacpack.db").exists()


def test_a_command_that_does_not_exist_is_exit_2(tmp_path: Path) -> None:
    done = vacpack(tmp_path, "compress")

    assert done.returncode == 2
    assert "No such command" in done.stderr
