"""``notify_email`` on every door: who is written down to be told, and what is refused before anything is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from service.errors import BAD_OPTION
from storage.models import jobs, outbox, subscribers
from tests.service.web.in_process import PAGE, TEXT, InProcess

MAIL = {"smtp_host": "mail.example", "smtp_from": "v@up.example", "public_url": "https://up.example"}
TWO = ["ann@mail.example", "bob@mail.example"]

Start = Callable[..., InProcess]


@pytest.fixture
def app(start: Start) -> InProcess:
    """A service that can send e-mail."""
    return start(**MAIL)


def told(app: InProcess, *, table: Any = subscribers) -> list[tuple[str, str]]:
    """Return targets and languages of all subscribers, or of all messages."""
    with app.parts.database.read() as connection:
        return [tuple(row) for row in connection.execute(select(table.c.target, table.c.language))]


def kept(app: InProcess) -> list[Any]:
    """Return whatever a refused upload must not leave: jobs, subscribers, files."""
    with app.parts.database.read() as connection:
        rows = [row for table in (jobs, subscribers) for row in connection.execute(select(table))]
    return rows + [file.key for file in app.parts.store.files()]


DOORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a raw body by POST": ("POST", "/uploads?filename=a", {"content": b"x"}),
    "a raw body by PUT": ("PUT", "/uploads/a?", {"content": b"x"}),
    "a short PUT": ("PUT", "/a?", {"content": b"x"}),
    "a nameless PUT": ("PUT", "/?", {"content": b"x"}),
    "a form": ("POST", "/uploads?", {"files": {"file": ("a", b"x")}}),
}


@pytest.mark.parametrize(
    "named", ["notify_email=ann@mail.example,bob@mail.example", "&".join(f"notify_email={a}" for a in TWO)]
)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_addresses_in_the_query(door: str, named: str, app: InProcess) -> None:
    method, url, request = DOORS[door]

    assert app.client.request(method, f"{url}&{named}", **request).status_code == 202
    assert told(app) == [(address, "en") for address in TWO]


@pytest.mark.parametrize("values", [["ann@mail.example, bob@mail.example"], TWO, ["", *TWO, ""]])
def test_a_form_takes_one_field_or_the_field_repeated(values: list[str], app: InProcess) -> None:
    answer = app.client.post("/uploads", data={"notify_email": values}, files={"file": ("a", b"x")})

    assert answer.status_code == 202, answer.text
    assert told(app) == [(address, "en") for address in TWO]


def test_a_form_left_empty_names_nobody_and_wins_over_nothing(app: InProcess) -> None:
    url = "/uploads?notify_email=ann@mail.example"

    assert app.client.post(url, data={"notify_email": ""}, files={"file": ("a", b"x")}).status_code == 202
    assert told(app) == [("ann@mail.example", "en")]


def test_a_forms_addresses_win_over_the_querys(app: InProcess) -> None:
    url = "/uploads?notify_email=ann@mail.example"

    assert app.client.post(url, data={"notify_email": TWO[1]}, files={"file": ("a", b"x")}).status_code == 202
    assert told(app) == [(TWO[1], "en")]


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}, "zh-CN"),
        ({"Accept-Language": "de,en;q=0.3,zh;q=0.2"}, "en"),
        ({"Cookie": "vacpack_lang=zh-CN", "Accept-Language": "en"}, "zh-CN"),
    ],
)
def test_they_are_told_in_the_uploaders_language(headers: dict[str, str], language: str, app: InProcess) -> None:
    app.client.put("/uploads/a?notify_email=ann@mail.example", content=b"x", headers=headers)

    assert told(app) == [("ann@mail.example", language)]


def test_the_end_of_the_job_makes_a_message_for_each(app: InProcess) -> None:
    app.put(notify_email=",".join(TWO))
    assert told(app, table=outbox) == []

    app.bench.run()

    assert told(app, table=outbox) == [(address, "en") for address in TWO]


def test_nobody_who_sees_the_job_sees_them(app: InProcess) -> None:
    receipt = app.done(notify_email="ann@mail.example")

    for headers in ({}, TEXT, PAGE):
        assert "ann@" not in app.client.get(f"/jobs/{receipt['id']}", headers=headers).text
    assert "ann@" not in str(receipt)


@pytest.mark.parametrize(
    "value",
    [
        "nobody",
        "ann@mail.example%0D%0ABcc:%20bob@mail.example",
        "ann@mail.example%00",
        "Ann%20%3Cann@mail.example%3E",
        "ann@mail.example,",
        "",
        ",".join(f"u{number}@x.example" for number in range(11)),
    ],
)
def test_a_bad_address_is_refused(value: str, app: InProcess) -> None:
    refusal = app.refusal("PUT", f"/uploads/a?notify_email={value}", 422, "bad_option", content=b"x" * 100_000)

    assert refusal["option"] == "notify_email"
    assert refusal["max_count"] == 10
    assert kept(app) == []


def test_a_bad_address_in_a_form_leaves_nothing(app: InProcess) -> None:
    form = {"data": {"notify_email": "ann@mail.example\r\nBcc: bob@mail.example"}, "files": {"file": ("a", b"x")}}

    app.refusal("POST", "/uploads", 422, BAD_OPTION.code, **form)

    assert kept(app) == []


def test_fields_that_add_up_to_more_than_an_option_can_be_are_refused(app: InProcess) -> None:
    many = {"data": {"notify_email": ["x" * 60_000] * 2}, "files": {"file": ("a", b"x")}}

    assert "longer" in app.refusal("POST", "/uploads", 422, "bad_option", **many)["detail"]


def test_only_domains_that_are_allowed_are_written_to(start: Start) -> None:
    app = start(**MAIL, email_allow_domains="mail.example, up.example")

    app.put(notify_email="ann@mail.example,bob@up.example")
    refusal = app.refusal("PUT", "/uploads/a?notify_email=ann@other.example", 422, "bad_option", content=b"x")

    assert "mail.example, up.example only" in refusal["detail"]


@pytest.mark.parametrize("missing", MAIL)
@pytest.mark.parametrize("asked", ["query", "form"])
def test_without_its_settings_e_mail_is_refused_by_their_names(missing: str, asked: str, start: Start) -> None:
    app = start(**MAIL | {missing: ""})
    option = {"notify_email": "ann@mail.example"}
    request = {"content": b"x", "params": option} if asked == "query" else {"data": option, "files": {"file": b"x"}}

    refusal = app.refusal("POST", "/uploads", 422, "option_not_offered", **request)

    assert refusal["detail"].startswith(f"This service sends no e-mail: VACPACK_{missing.upper()} would have to be set")
    assert kept(app) == []


def test_without_the_option_nothing_is_needed(start: Start) -> None:
    app = start()

    app.put()

    assert told(app) == []


def test_what_is_offered_is_told(app: InProcess, start: Start) -> None:
    without = start()

    assert app.client.get("/limits").json()["max_notify_emails"] == 10
    assert without.client.get("/limits").json()["max_notify_emails"] == 0
    for form, headers in (('name="notify_email"', PAGE), ("  notify_email  ", TEXT)):
        assert form in app.client.get("/", headers=headers).text
        assert form not in without.client.get("/", headers=headers).text
