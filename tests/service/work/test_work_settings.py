"""The settings that travel to the child."""

from __future__ import annotations

from pathlib import Path

from service.settings import load_settings
from service.work.work_settings import WorkSettings, work_settings


def test_they_arrive_as_they_were_sent_and_bring_no_secret(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    settings = load_settings(data_dir=folder, admin_token="open sesame, sixteen", lease_seconds=12.5, grave_seconds=3)

    sent = work_settings(settings)
    line = sent.to_json()

    assert WorkSettings.from_json(line) == sent
    assert "\n" not in line
    assert "sesame" not in line
    assert sent.files_dir == str(folder / "files")
    assert sent.locks_dir == str(folder / "locks")
    assert (sent.lease_milliseconds, sent.grave_milliseconds) == (12_500, 3000)
    assert sent.worker_jobs == settings.worker_jobs


def test_secrets_that_a_worker_signs_with_are_not_shown() -> None:
    secret = "whsec_" + "QUJD" * 8
    sent = work_settings(load_settings(webhook_secrets=secret))

    assert WorkSettings.from_json(sent.to_json()).webhook_secrets == secret
    assert secret not in repr(sent)
