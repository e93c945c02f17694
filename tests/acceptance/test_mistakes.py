"""Operators' mistakes: each is one line at once, whatever the command, and never a traceback."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.acceptance.many_commands import NOBODY, Outcome, Run, run_all

WRITERS = ("serve", "work", "migrate", "sweep")
ALL = (*WRITERS, "audit", "scrub")


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def database_that_is_garbage(data: Path) -> None:
    (data / "vacpack.db").write_bytes(b"this is no database\n" * 400)


def database_that_is_short_garbage(data: Path) -> None:
    (data / "vacpack.db").write_bytes(b"x")


def database_that_is_a_folder(data: Path) -> None:
    (data / "vacpack.db").mkdir()


def database_that_is_a_pipe(data: Path) -> None:
    os.mkfifo(data / "vacpack.db")


def database_that_leads_nowhere(data: Path) -> None:
    (data / "vacpack.db").symlink_to("gone")


def database_that_leads_to_itself(data: Path) -> None:
    (data / "vacpack.db").symlink_to("vacpack.db")


def database_of_a_newer_program(data: Path) -> None:
    with closing(sqlite3.connect(data / "vacpack.db")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('2031_01_01_owners')")


def journal_that_is_a_folder(data: Path) -> None:
    (data / "vacpack.db-wal").mkdir()


def locks_that_are_a_file(data: Path) -> None:
    (data / "locks").write_text("")


def files_that_are_a_file(data: Path) -> None:
    (data / "files").write_text("")


def files_that_lead_nowhere(data: Path) -> None:
    (data / "files").symlink_to("gone")


def token_that_is_a_folder(data: Path) -> None:
    (data / "admin-token").mkdir()


def token_that_is_a_pipe(data: Path) -> None:
    os.mkfifo(data / "admin-token")


def token_that_leads_nowhere(data: Path) -> None:
    (data / "admin-token").symlink_to("/run/secrets/vacpack")


def token_of_several_words(data: Path) -> None:
    write_private(data / "admin-token", b"correct horse \xe9\n")


def token_that_is_short(data: Path) -> None:
    write_private(data / "admin-token", b"fifteen-letters")


def token_that_is_a_link(data: Path) -> None:
    write_private(data / "mine", b"a-token-of-24-letters-it")
    (data / "admin-token").symlink_to("mine")


def token_that_others_read(data: Path) -> None:
    write_private(data / "admin-token", b"a-token-of-24-letters-it", 0o640)


def secret_that_is_a_folder(data: Path) -> None:
    (data / "manage-secret").mkdir()


def secret_that_is_garbage(data: Path) -> None:
    write_private(data / "manage-secret", b"\xff\x00not hexadecimal\n")


def secret_that_is_too_long(data: Path) -> None:
    write_private(data / "manage-secret", b"ab" * 65 + b"\n")


def secret_that_others_read(data: Path) -> None:
    write_private(data / "manage-secret", b"ab" * 24, 0o604)


def lock_that_is_a_folder(data: Path) -> None:
    (data / "service.lock").mkdir()


MISTAKES: dict[Callable[[Path], None], tuple[tuple[str, ...], str]] = {
    database_that_is_garbage: (ALL, "the database {data}/vacpack.db is no database; bring it back from a backup"),
    database_that_is_short_garbage: (ALL, "the database {data}/vacpack.db is no database"),
    database_that_is_a_folder: (ALL, "the database {data}/vacpack.db is a folder, not a file; move it away"),
    database_that_is_a_pipe: (ALL, "the database {data}/vacpack.db is a device, a pipe or a socket, not a file"),
    database_that_leads_nowhere: (ALL, "the database {data}/vacpack.db is a link that leads nowhere"),
    database_that_leads_to_itself: (ALL, "the database {data}/vacpack.db cannot be used: Too many levels of symbolic"),
    database_of_a_newer_program: (ALL, "is of a newer vacpack (its schema is 2031_01_01_owners); run that one"),
    journal_that_is_a_folder: (WRITERS, "the database {data}/vacpack.db-wal is a folder"),
    locks_that_are_a_file: (WRITERS, "locks in the data folder, {data}/locks is not a folder"),
    files_that_are_a_file: (WRITERS, "the folder of the stored files, {data}/files is not a folder"),
    files_that_lead_nowhere: (WRITERS, "the folder of the stored files, {data}/files is a link that leads nowhere"),
    token_that_is_a_folder: (WRITERS, "admin-token in the data folder, {data}/admin-token is a folder, not a file"),
    token_that_is_a_pipe: (WRITERS, "admin-token in the data folder, {data}/admin-token is a device, a pipe"),
    token_that_leads_nowhere: (WRITERS, "{data}/admin-token is a link that leads nowhere"),
    token_of_several_words: (("serve",), "{data}/admin-token holds no token"),
    token_that_is_short: (("serve",), "{data}/admin-token holds no token: one word of 16 printable letters or more"),
    token_that_is_a_link: (("serve",), "{data}/admin-token is a link; put the file itself there"),
    token_that_others_read: (("serve",), "{data}/admin-token is open to other users of this machine: chmod 600"),
    secret_that_others_read: (("serve",), "{data}/manage-secret is open to other users of this machine: chmod 600"),
    secret_that_is_a_folder: (WRITERS, "manage-secret in the data folder, {data}/manage-secret is a folder, not a"),
    secret_that_is_garbage: (("serve",), "{data}/manage-secret is not what was made here"),
    secret_that_is_too_long: (("serve",), "{data}/manage-secret is not what was made here"),
    lock_that_is_a_folder: (WRITERS, "service.lock in the data folder, {data}/service.lock is a folder"),
}


def arguments(command: str) -> list[str]:
    return [command, "--port", "0"] if command == "serve" else [command]


def assert_one_line(outcome: Outcome, fragment: str, code: int = 1) -> None:
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("error: "), outcome.err
    assert fragment in outcome.err
    assert (outcome.code, outcome.out) == (code, "")


def test_what_is_of_the_wrong_kind_is_one_line_from_every_command_at_once(tmp_path: Path) -> None:
    runs, fragments = [], []
    for number, (make, (commands, fragment)) in enumerate(MISTAKES.items()):
        # Each with two or three commands, in turn: all of them would be a minute of processes.
        for command in {commands[0], commands[number % len(commands)], commands[-1]}:
            folder = tmp_path / f"{make.__name__}-{command}"
            (folder / "data").mkdir(parents=True, mode=0o700)
            make(folder / "data")
            runs.append(Run(arguments(command), str(folder)))
            fragments.append(fragment.format(data=folder / "data"))

    for outcome, fragment in zip(run_all(runs), fragments, strict=True):
        assert_one_line(outcome, fragment)


SETTINGS = {
    "PORT": ("70000", "VACPACK_PORT: "),
    "DATABASE_URL": ("postgresql://localhost/x", "VACPACK_DATABASE_URL: Value error, only sqlite:///"),
    "FILES_URL": ("s3://bucket", "VACPACK_FILES_URL: Value error, only file:///"),
    "PUBLIC_URL": ("up.example", "VACPACK_PUBLIC_URL: "),
    "ADMIN_TOKEN": ("fifteen-letters", "VACPACK_ADMIN_TOKEN: Value error, at least 16 letters"),
    "AUDIT_RETENTION_SECONDS": ("a year", "VACPACK_AUDIT_RETENTION_SECONDS: "),
}


def test_a_bad_setting_is_one_line_from_every_command(tmp_path: Path) -> None:
    more = [("DATABASE_URL", url) for url in ("sqlite:///", "sqlite:///:memory:", "sqlite:///x.db?mode=ro")]
    more += [("FILES_URL", url) for url in ("file:///", "file:///a?b", "file:///a#b", "file:///a%00")]
    bad = [(name, value, fragment) for name, (value, fragment) in SETTINGS.items()]
    bad += [(name, value, f"VACPACK_{name}: ") for name, value in more]
    commands = ("settings", *ALL)
    runs = [
        Run(arguments(commands[number % len(commands)]), str(tmp_path), {name: value})
        for number, (name, value, _) in enumerate(bad)
    ]

    for outcome, (_, _, fragment) in zip(run_all(runs), bad, strict=True):
        assert_one_line(outcome, fragment, code=2)
    assert list(tmp_path.iterdir()) == []


ENV_FILES = {
    b"VACPACK_PORT=1\nthis is = 'no\nVACPACK_HOST=x\n": ".env, line 2: it is not NAME=VALUE",
    b"VACPACK_HOST=\xff\xfe\n": ".env: it is not UTF-8",
    b"\xef\xbb\xbfVACPACK_HOST=x\n": ".env: it begins with a byte order mark",
    b"VACPACK_PORT\n": ".env, line 1: it is not NAME=VALUE",
    b"VACPACK_WORKER_JOBS=many\n": "VACPACK_WORKER_JOBS: ",
}


def test_an_env_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    runs = []
    for number, content in enumerate(ENV_FILES):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / ".env").write_bytes(content)
        runs += [Run(arguments(command), str(folder)) for command in ("serve", "settings")]
    fragments = [fragment for fragment in ENV_FILES.values() for _ in range(2)]

    for outcome, fragment in zip(run_all(runs), fragments, strict=True):
        assert_one_line(outcome, fragment, code=2)


def test_a_host_that_is_none_is_one_line(tmp_path: Path) -> None:
    hosts = {
        "no.such.host.invalid": "no.such.host.invalid:0 cannot be listened on (",
        "192.0.2.1": "192.0.2.1:0 cannot be listened on (Cannot assign requested address)",
        "2001:db8::1": "[2001:db8::1]:0 cannot be listened on (",
        "a..b": "a..b:0 cannot be listened on (it is no host name)",
        "x" * 300: "cannot be listened on (it is no host name)",
    }
    outcomes = run_all([Run(["serve", "--port", "0", "--host", host], str(tmp_path)) for host in hosts])

    for outcome, fragment in zip(outcomes, hosts.values(), strict=True):
        assert_one_line(outcome, fragment)
    assert not list((tmp_path / "data").glob("vacpack.db*")), "nothing was begun"


def test_secrets_that_are_empty_are_made(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    for name in ("admin-token", "manage-secret"):
        (tmp_path / "data" / name).write_text("\n")

    [outcome] = run_all([Run(["serve", "--port", "0"], str(tmp_path))])

    assert "it went on to serve" in outcome.err
    assert [len((tmp_path / "data" / name).read_text()) for name in ("admin-token", "manage-secret")] == [49, 49]


def test_a_token_of_one_s_own_needs_no_line_end(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    write_private(tmp_path / "data" / "admin-token", b"my-own-token-of-32")

    [outcome] = run_all([Run(["serve", "--port", "0"], str(tmp_path))])

    assert "it went on to serve" in outcome.err
    assert (tmp_path / "data" / "admin-token").read_text() == "my-own-token-of-32"


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user reaches; pytest's own is for its user alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


# Mode of the data folder and its owner; what in it, and its mode: it is root's.
OTHERS = [
    (0o700, 0, "", 0, "migrate", "the data folder {data} cannot be read: Permission denied; it belongs to user 0"),
    (0o755, 0, "", 0, "serve", "the data folder {data} cannot be written: Permission denied; it belongs to user 0"),
    (0o775, 0, "", 0, "serve", "the data folder {data} belongs to user 0, and this is user {nobody}"),
    (0o777, NOBODY, "", 0, "serve", "the data folder {data} can be written by every user of this machine"),
    (0o1777, NOBODY, "", 0, "work", "the data folder {data} can be written by every user of this machine"),
    (0o700, NOBODY, "admin-token", 0o600, "serve", "{data}/admin-token cannot be read: Permission denied; it belongs"),
    (0o700, NOBODY, "manage-secret", 0o600, "sweep", "{data}/manage-secret cannot be read: Permission denied"),
    (0o700, NOBODY, "vacpack.db", 0o600, "audit", "the database {data}/vacpack.db cannot be read: Permission denied"),
    (0o700, NOBODY, "vacpack.db", 0o644, "work", "the database {data}/vacpack.db cannot be written: Permission denied"),
    (0o700, NOBODY, "service.lock", 0o600, "serve", "{data}/service.lock cannot be read: Permission denied"),
    (0o700, NOBODY, "files/", 0o700, "sweep", "{data}/files cannot be read: Permission denied"),
    (0o700, NOBODY, "files/", 0o777, "serve", "{data}/files can be written by every user of this machine"),
    (0o700, NOBODY, "files/", 0o770, "serve", "the folder of the stored files, {data}/files belongs to user 0, and"),
    (0o700, NOBODY, "locks/", 0o755, "work", "{data}/locks cannot be written: Permission denied"),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_belongs_to_another_user_or_to_all_is_one_line(reachable: Path) -> None:
    runs, fragments = [], []
    for number, (mode, owner, name, name_mode, command, fragment) in enumerate(OTHERS):
        folder = reachable / str(number)
        (folder / "data").mkdir(parents=True)
        (folder / "data").chmod(mode)
        # With the group of who runs it, a mode may let it write there all the same.
        os.chown(folder / "data", owner, NOBODY)
        thing = folder / "data" / name
        if name.endswith("/"):
            thing.mkdir()
        elif name:
            thing.write_text("")
        if name:
            thing.chmod(name_mode)
            os.chown(thing, 0, NOBODY)
        runs.append(Run(arguments(command), str(folder), user=NOBODY))
        fragments.append(fragment.format(data=folder / "data", nobody=NOBODY))

    for outcome, fragment in zip(run_all(runs), fragments, strict=True):
        assert_one_line(outcome, fragment)


def can_mount() -> bool:
    return (
        shutil.which("unshare") is not None and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0
    )


mounting = pytest.mark.skipif(not can_mount(), reason="mounting needs root")


def mounted(data: Path, options: str) -> tuple[str, ...]:
    """Return a command that runs another where ``data`` is a small disk of its own."""
    script = f'mount -t tmpfs -o mode=700,{options} tmpfs "$0" && exec "$@"'
    return ("unshare", "-m", "sh", "-c", script, str(data))


@mounting
def test_a_disk_that_is_mounted_read_only_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()

    outcomes = run_all(
        [Run(arguments(command), str(tmp_path)) for command in (*WRITERS, "audit")], under=mounted(data, "ro")
    )

    for outcome in outcomes[:-1]:
        assert_one_line(
            outcome, f"the data folder {data} cannot be written: it lies on a disk that is mounted read-only"
        )
    assert_one_line(outcomes[-1], f"there is no database at {data}/vacpack.db")


@mounting
def test_a_database_on_a_read_only_disk_can_be_audited_or_is_one_line(tmp_path: Path) -> None:
    assert run_all([Run(["migrate"], str(tmp_path))])[0].code == 0
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    under = ("unshare", "-m", "sh", "-c", script, str(tmp_path / "data"))

    outcomes = run_all([Run(arguments(command), str(tmp_path)) for command in (*WRITERS, "audit")], under=under)

    for outcome in outcomes[:-1]:
        assert_one_line(outcome, "mounted read-only")
    if outcomes[-1].code:
        assert_one_line(outcomes[-1], f"the database {tmp_path}/data/vacpack.db cannot be")


@mounting
@pytest.mark.parametrize("size", ["4k", "64k"])
def test_a_disk_that_is_full_at_the_first_start_is_one_line(tmp_path: Path, size: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    writers = [Run(arguments(command), str(tmp_path)) for command in WRITERS]

    for outcome in run_all(writers, under=mounted(data, f"size={size}")):
        assert_one_line(outcome, str(data))
