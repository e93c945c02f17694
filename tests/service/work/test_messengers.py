"""Which messengers a worker has, and what it calls itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from service.telling.mail import Mailer
from service.telling.notify import Message
from service.work.messengers import messengers, own_name
from service.work.work_settings import WorkSettings, work_settings
from storage.lifecycle import DeliveryOutcome, MessageKind

MAIL = {
    "smtp_host": "mail.example",
    "smtp_from": "v@up.example",
    "smtp_password": "very-secret",
    "public_url": "https://up.example",
}


def settings_with(tmp_path: Path, **changes: Any) -> WorkSettings:
    settings = work_settings(Settings(_env_file=None, data_dir=tmp_path, **changes))
    return WorkSettings.from_json(settings.to_json())


def test_a_worker_that_knows_a_mail_server_sends_e_mail(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, **MAIL)

    assert isinstance(messengers(settings)[MessageKind.EMAIL], Mailer)
    assert settings.smtp_password == "very-secret"
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize("missing", ["smtp_host", "smtp_from", "public_url"])
def test_messages_of_before_wait_where_e_mail_is_off(missing: str, tmp_path: Path) -> None:
    messenger = messengers(settings_with(tmp_path, **MAIL | {missing: ""}))[MessageKind.EMAIL]

    assert messenger.send(Message("m" * 26, "ann@mail.example", "en", {})).outcome is DeliveryOutcome.FAILED


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://up.example/files", "up.example"),
        ("http://UP.example:8000", "up.example"),
        ("http://10.0.0.7:8000", "[10.0.0.7]"),
        ("http://[fd00::7]:8000", "[IPv6:fd00::7]"),
        ("https://例子.example", "localhost"),
        ("nonsense", "localhost"),
    ],
)
def test_a_mail_server_is_greeted_with_the_services_own_host(url: str, name: str) -> None:
    assert own_name(url) == name
