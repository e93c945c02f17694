"""Every error a client can see: stable codes, right statuses, and one place for them."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

import pytest

import service
from service import errors
from service.errors import ERRORS, ErrorKind, ServiceError

SOURCES = sorted(Path(service.__file__).parent.rglob("*.py"))
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, ErrorKind)}


def test_all_kinds_are_found_by_their_codes() -> None:
    assert dict(ERRORS) == {kind.code: kind for kind in KINDS.values()}
    assert len(ERRORS) == len(KINDS) > 30


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_named_for_its_code_and_has_a_status_and_a_title(name: str) -> None:
    kind = KINDS[name]

    assert kind.code == name.lower()
    assert 400 <= HTTPStatus(kind.status) < 600
    assert re.fullmatch(r"[A-Z][^\n]{5,70}[^.]", kind.title)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_used(name: str) -> None:
    users = [path for path in SOURCES if path.name != "errors.py" and re.search(rf"\b{name}\b", path.read_text())]

    # The protocol answers before there is an application: it writes its line itself.
    assert users or KINDS[name].code in (Path(service.__file__).parent / "web/connection/protocol.py").read_text()


def test_kinds_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        KINDS["NOT_FOUND"].status = 200  # type: ignore[misc]
    with pytest.raises(TypeError):
        ERRORS["new"] = KINDS["NOT_FOUND"]  # type: ignore[index]


def test_an_error_carries_what_a_client_and_a_log_need() -> None:
    error = ServiceError(errors.QUEUE_FULL, "Come back.", headers={"Retry-After": "5"}, queued=7)

    assert str(error) == "queue_full: Come back."
    assert (error.kind, error.detail, error.headers, error.members) == (
        errors.QUEUE_FULL,
        "Come back.",
        {"Retry-After": "5"},
        {"queued": 7},
    )
    assert ServiceError(errors.NOT_FOUND, "No.").headers == {}
