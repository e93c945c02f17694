"""What clients may send, as numbers for programs and as a page for people."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from service.web.documented.schemas import LimitsDocument
from tests.service.web.in_process import PAGE, TEXT, InProcess


@pytest.mark.parametrize("form", [{}, TEXT, {"Accept": "application/json"}])
def test_whoever_is_no_browser_gets_every_number(app: InProcess, form: dict[str, str]) -> None:
    answer = app.client.get("/limits", headers=form)

    assert LimitsDocument.model_validate(answer.json()).max_retries == app.parts.settings.max_retries
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("wish", "facts"),
    [
        ("en", {"Largest upload": "1.23 MB", "Files are kept for": "7 days", "Retries of one job": "3"}),
        ("zh-CN", {"单次上传的最大大小": "1.23 MB", "默认保留时间": "7 天", "每个任务的重试次数": "3"}),
    ],
)
def test_the_page_of_limits_tells_those_of_the_settings(
    start: Callable[..., InProcess], wish: str, facts: dict[str, str]
) -> None:
    app = start(max_upload_bytes=1_234_000, max_retries=3)

    answer = app.client.get("/limits", headers=PAGE | {"Accept-Language": wish})

    assert f'<html lang="{wish}">' in answer.text
    assert facts.items() <= dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", answer.text)).items()
    assert answer.headers["vary"] == "Accept, Accept-Language, Cookie"


def test_the_page_of_limits_tells_of_e_mail_only_where_there_is_any(start: Callable[..., InProcess]) -> None:
    mail = {"public_url": "http://testserver", "smtp_host": "mail.example", "smtp_from": "v@mail.example"}

    assert "E-mail addresses" not in start().client.get("/limits", headers=PAGE).text
    assert "E-mail addresses" in start(**mail).client.get("/limits", headers=PAGE).text
