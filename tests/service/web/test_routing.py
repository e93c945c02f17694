"""Whose addresses are whose: what the service answers at, and what a file may be called in a short address."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.routing import Mount, Route

from service.app import create_app
from service.settings import OWN_SEGMENTS, Settings
from service.web.routing import ROUTED
from tests.service.web.in_process import InProcess

ALSO_FILES = {"robots.txt"}
"""What is answered to who reads, and is still a name that a file can have."""


def first_segments(application: FastAPI) -> set[str]:
    """Return how the paths of all routes and mounts begin; empty is the front page, one in braces a file's name."""
    placed = [route for route in application.routes if isinstance(route, (Route, Mount))]
    assert placed == application.routes
    return {route.path.lstrip("/").partition("/")[0] for route in placed}


def test_the_own_addresses_are_those_of_all_routes(app: InProcess) -> None:
    assert first_segments(app.application) - {"", "{filename}"} == OWN_SEGMENTS | ALSO_FILES


def test_a_route_that_is_forgotten_is_found_out(app: InProcess) -> None:
    made = create_app(app.parts, lambda: pytest.fail("nothing is begun"))
    made.add_api_route("/newroute/{name}", lambda: None)

    assert first_segments(made) - {"", "{filename}"} - ALSO_FILES - OWN_SEGMENTS == {"newroute"}


@pytest.mark.parametrize("segment", sorted(ROUTED))
@pytest.mark.parametrize("ending", ["", "/"])
def test_no_file_is_stored_under_an_address_of_ours(app: InProcess, segment: str, ending: str) -> None:
    answer = app.client.put(f"/{segment}{ending}", content=b"a file of that name")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "PUT" not in answer.headers["allow"].split(", ")
    assert app.bench.stored_keys() == set()


@pytest.mark.parametrize("name", sorted({*ALSO_FILES, *(f"a-{segment}" for segment in ROUTED)}))
def test_every_other_name_is_one_that_a_file_can_have(app: InProcess, name: str) -> None:
    answer = app.client.put(f"/{name}", content=b"a file of that name")

    assert (answer.status_code, answer.json()["name"]) == (202, name)


@pytest.mark.parametrize("segment", sorted(OWN_SEGMENTS))
def test_no_path_before_all_addresses_begins_like_one_of_ours(tmp_path: Path, segment: str) -> None:
    with pytest.raises(ValidationError, match="an address of the service itself"):
        Settings(data_dir=tmp_path, public_url=f"https://up.example/{segment}/more")
