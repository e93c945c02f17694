"""Settings: typed, documented, frozen, and read from nowhere else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from service.settings import PREFIX, Settings, load_settings, missing_for_email
from service.start.unknown_settings import unknown_names

UNITS = ("_seconds", "_bytes", "_url", "_dir", "_token", "_format", "_level")


@pytest.fixture(autouse=True)
def _empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but the test's own, and no ``.env`` but one it writes."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_says_what_it_is_and_has_its_unit_in_its_name(name: str) -> None:
    field = Settings.model_fields[name]

    assert field.description
    assert re.fullmatch(r"[A-Z`].{15,}[.]|[a-z].{15,}[.]|[A-Z].*e\.g\. \S+", field.description)
    if field.annotation is float:
        assert name.endswith("_seconds")
    if name.endswith(UNITS):
        assert field.annotation is not bool


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_by_default_only_this_machine_can_reach_it() -> None:
    assert load_settings().host == "127.0.0.1"


def test_paths_follow_from_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings(data_dir=Path("some where"))

    folder = tmp_path / "some where"
    assert settings.data_dir == folder
    assert settings.database_url == f"sqlite:///{folder}/vacpack.db"
    assert settings.files_url == f"file://{tmp_path}/some%20where/files"


def test_paths_of_their_own_are_kept(tmp_path: Path) -> None:
    settings = load_settings(database_url="sqlite:////srv/a.db", files_url="file:///srv/files")

    assert (settings.database_url, settings.files_url) == ("sqlite:////srv/a.db", "file:///srv/files")


def test_the_address_of_the_service_has_no_slash_at_its_end() -> None:
    assert load_settings(public_url="https://up.example/files/").public_url == "https://up.example/files"
    assert load_settings().public_url == ""


@pytest.mark.parametrize("url", ["up.example", "ftp://up.example", "https://", "//up.example"])
def test_an_address_of_the_service_that_no_link_could_begin_with_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"an address like https://up\.example"):
        load_settings(public_url=url)


def test_a_worker_runs_a_job_for_each_core_unless_told() -> None:
    assert load_settings().worker_jobs == os.cpu_count()
    assert load_settings(worker_jobs=3).worker_jobs == 3


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_read_from_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others: dict[str, Any] = {
        "host": "0.0.0.0",
        "data_dir": "/srv/data",
        "database_url": "sqlite:////srv/x.db",
        "files_url": "file:///srv/f",
        "public_url": "https://up.example",
        "admin_token": "a secret of many letters",
        "embedded_worker": False,
        "audit_queries": False,
        "log_format": "json",
        "log_level": "debug",
        "worker_niceness": 7,
        "smtp_from": "vacpack <vacpack@up.example>",
        "smtp_security": "tls",
        "smtp_timeout_seconds": 17.0,
        "webhook_secrets": f"whsec_{'QUJD' * 8}",
        "webhook_allow_networks": "10.1.0.0/16, ::1/128",
    }
    value = others.get(name, 4321)
    monkeypatch.setenv(PREFIX + name.upper(), str(value))

    found = getattr(load_settings(), name)

    plain = found.get_secret_value() if isinstance(found, SecretStr) else found
    assert str(plain) == str(value) or plain == value


def test_an_argument_wins_over_the_environment_and_none_over_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VACPACK_PORT", "1111")

    assert load_settings(port=2222).port == 2222
    assert load_settings(port=None).port == 1111


def test_a_file_beside_the_service_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("VACPACK_PORT=3333\nVACPACK_HOST=::1\nOTHER=1\n")
    monkeypatch.setenv("VACPACK_HOST", "localhost")

    settings = load_settings()

    assert (settings.port, settings.host) == (3333, "localhost")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "http"),
        ("max_upload_bytes", "0"),
        ("max_upload_bytes", "10G"),
        ("receive_timeout_seconds", "0"),
        ("worker_niceness", "20"),
        ("log_level", "loud"),
        ("database_url", "postgresql://x"),
        ("files_url", "s3://bucket"),
        ("embedded_worker", "perhaps"),
        ("smtp_from", "nobody"),
        ("smtp_from", "a <a@b.example>, b <b@b.example>"),
        ("smtp_security", "ssl"),
        ("smtp_user", "ü"),
        ("smtp_password", "ü"),
        ("webhook_secrets", "whsec_short"),
        ("webhook_secrets", f"whsec_{'QUJD' * 8};whsec_{'QUJD' * 8}"),
        ("webhook_allow_networks", "10.1.2.3/16"),
        ("webhook_allow_networks", "inside"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), value)

    with pytest.raises(ValidationError, match=name):
        load_settings()


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_a_mail_server_has_the_port_of_its_security(security: str, port: int) -> None:
    assert load_settings(smtp_security=security).smtp_port == port
    assert load_settings(smtp_security=security, smtp_port=2525).smtp_port == 2525


def test_what_e_mail_needs_is_named_until_it_is_set() -> None:
    half = load_settings(smtp_host="mail.example")
    whole = load_settings(smtp_host="mail.example", smtp_from="v@up.example", public_url="https://up.example")

    assert missing_for_email(half) == ["VACPACK_SMTP_FROM", "VACPACK_PUBLIC_URL"]
    assert missing_for_email(whole) == []


@pytest.mark.parametrize("name", ["admin_token", "smtp_password"])
def test_secrets_are_not_shown(name: str) -> None:
    settings = load_settings(**{name: "a-very-long-secret"})

    assert "a-very-long-secret" not in repr(settings)
    assert "a-very-long-secret" not in str(settings.model_dump())


def test_known_names_are_not_strange_however_they_are_written() -> None:
    known = {PREFIX + name.upper(): "" for name in Settings.model_fields}

    assert unknown_names(known | {"vacpack_port": "", "PATH": "", "VACPACKER": ""}) == []


def test_a_misspelt_name_is_told_with_the_nearest_that_exists() -> None:
    assert unknown_names({"VACPACK_PROT": "", "VACPACK_MAX_UPLOAD_BYTE": "", "VACPACK_ZZZZZZZZ": ""}) == [
        ("VACPACK_MAX_UPLOAD_BYTE", "VACPACK_MAX_UPLOAD_BYTES"),
        ("VACPACK_PROT", "VACPACK_PORT"),
        ("VACPACK_ZZZZZZZZ", None),
    ]


def test_misspelt_names_are_looked_for_in_the_environment_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("VACPACK_HOTS=x\nVACPACK_PORT=1\n")
    monkeypatch.setenv("VACPACK_PROT", "1")

    assert unknown_names() == [("VACPACK_HOTS", "VACPACK_HOST"), ("VACPACK_PROT", "VACPACK_PORT")]
