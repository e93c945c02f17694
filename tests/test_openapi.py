"""The description of the API is valid, complete, and true of what the service answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from starlette.routing import Route

from service.errors import ERRORS
from service.web.documented.schemas import AcceptedJob, Health, Job, LimitsDocument, Problem
from service.web.receiving.options import NAMES
from tests.service.web.conftest import app as app
from tests.service.web.conftest import settings as settings
from tests.service.web.conftest import start as start
from tests.service.web.in_process import ADMIN, PAGE, InProcess

METHODS = ("get", "put", "post", "delete", "head", "patch", "options")


@pytest.fixture
def description(app: InProcess) -> dict[str, Any]:
    answer = app.client.get("/openapi.json")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def operations_of(description: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method): operation
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    }


def test_the_description_is_valid(description: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(description).validate()


def test_every_route_is_described_but_files_and_the_page_itself(app: InProcess, description: dict[str, Any]) -> None:
    routes = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in app.routes()
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }

    # The same again, under any name: for clients that save under the last segment.
    again = {f"/jobs/{{job_id}}/{what}/{{any_name}}" for what in ("result", "original")}
    untold = {"/docs", "/openapi.json", "/favicon.ico", "/robots.txt"} | again
    assert routes - set(operations_of(description)) == {(path, "get") for path in untold}
    assert set(operations_of(description)) <= routes


def test_every_operation_says_what_it_does_answers_and_refuses(description: dict[str, Any]) -> None:
    for name, operation in operations_of(description).items():
        assert re.fullmatch(r"[A-Z].{10,}[^.]", operation["summary"]), name
        assert operation["description"].endswith("."), name
        assert operation["tags"], name
        statuses = set(operation["responses"])
        assert statuses & {"200", "202", "204"}, name
        assert {"400", "500", "503"} <= statuses, name
        assert all(answer["description"] for answer in operation["responses"].values()), name


def test_json_is_described_where_json_is_answered_and_nowhere_else(description: dict[str, Any]) -> None:
    """A client made from the description takes the first media type; JSON without a schema is FastAPI's own guess."""
    for name, operation in operations_of(description).items():
        for status, answer in operation["responses"].items():
            json = answer.get("content", {}).get("application/json")
            assert json is None or json["schema"], (name, status)
    for what in ("result", "original"):
        for status in ("200", "206"):
            answer = description["paths"][f"/jobs/{{job_id}}/{what}"]["get"]["responses"][status]
            assert next(iter(answer["content"])) == "application/octet-stream", (what, status)


def test_every_parameter_and_field_is_explained(description: dict[str, Any]) -> None:
    for name, operation in operations_of(description).items():
        for parameter in operation["parameters"]:
            assert parameter["description"], (name, parameter["name"])
        form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        for field, schema in form["schema"]["properties"].items() if form else ():
            assert schema["description"], (name, field)


def test_every_option_of_an_upload_is_described_in_the_query_and_in_the_form(description: dict[str, Any]) -> None:
    upload = operations_of(description)["/uploads", "post"]
    in_the_query = {parameter["name"] for parameter in upload["parameters"] if parameter["in"] == "query"}
    in_the_form = set(upload["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"])

    # The first is the path's or the part's own, the others are for pages.
    assert set(NAMES) - {"idempotency_key", "key"} == in_the_query
    assert set(NAMES) - {"filename", "key"} == in_the_form - {"file"}


def test_no_two_operations_share_an_id(description: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations_of(description).values()]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-z_]+", name) for name in ids)


def test_every_error_is_told_by_some_operation_or_in_the_foreword(description: dict[str, Any]) -> None:
    told = {
        code
        for operation in operations_of(description).values()
        for answer in operation["responses"].values()
        for code in re.findall(r"`([a-z_]+)`:", answer["description"])
    }
    in_the_foreword = set(re.findall(r"`([a-z_]+)`", description["info"]["description"])) & set(ERRORS)

    assert told <= set(ERRORS)
    # Those that come before any operation is reached.
    early = {
        "not_found",
        "transfer_coding",
        "expectation_failed",
        "http_version",
    }
    assert set(ERRORS) - told == early
    assert in_the_foreword >= early


def test_an_error_is_told_under_its_status(description: dict[str, Any]) -> None:
    for operation in operations_of(description).values():
        for status, answer in operation["responses"].items():
            for code in re.findall(r"`([a-z_]+)`:", answer["description"]):
                assert ERRORS[code].status == int(status)


def test_what_needs_a_key_says_so(description: dict[str, Any]) -> None:
    keyed = {operation["operationId"] for operation in operations_of(description).values() if "security" in operation}

    own = {"cancel_job", "retry_job", "delete_job", "delete_job_by_form", "get_deliveries", "replay_message"}
    assert keyed == {"get_jobs", "get_audit", "metrics"} | own
    assert set(description["components"]["securitySchemes"]) == {"bearer", "key"}


def test_links_lead_to_operations_that_are_there(description: dict[str, Any]) -> None:
    ids = {operation["operationId"] for operation in operations_of(description).values()}
    links = operations_of(description)["/uploads", "post"]["responses"]["202"]["links"]

    assert {link["operationId"] for link in links.values()} < ids


def test_answers_have_the_shapes_that_are_described(app: InProcess) -> None:
    receipt = app.put(b"text " * 1000)
    AcceptedJob.model_validate(receipt)
    app.bench.run()
    Job.model_validate(app.status(receipt))
    Health.model_validate(app.client.get("/livez").json())
    LimitsDocument.model_validate(app.client.get("/limits").json())
    for url in ("/nothing/there", "/jobs", "/jobs/x", "/readyz", "/jobs?ids=x"):
        Problem.model_validate(app.client.get(url).json())


def test_answers_have_the_headers_that_are_described(app: InProcess, description: dict[str, Any]) -> None:
    operations = operations_of(description)
    accepted = app.client.put("/a.txt", content=b"text " * 1000)
    job_id = accepted.json()["id"]
    queued = app.client.get(f"/jobs/{job_id}")
    app.bench.run()
    result = app.client.get(f"/jobs/{job_id}/result")
    part = app.client.get(f"/jobs/{job_id}/result", headers={"Range": "bytes=0-1"})

    for answer, path, method in (
        (accepted, "/{filename}", "put"),
        (queued, "/jobs/{job_id}", "get"),
        (result, "/jobs/{job_id}/result", "get"),
        (part, "/jobs/{job_id}/result", "get"),
    ):
        described = operations[path, method]["responses"][str(answer.status_code)]["headers"]
        assert {name.lower() for name in described} <= set(answer.headers)


def test_the_page_and_all_it_loads_is_served_from_here(app: InProcess) -> None:
    page = app.client.get("/docs", headers=PAGE)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert {address.rpartition(".")[2] for address in addresses} == {"js", "css", "svg"}
    for address in addresses:
        assert address.startswith("/"), address
        asset = app.client.get(address)
        assert (asset.status_code, len(asset.content) > 50) == (200, True), address
    script = app.client.get("/static/docs.js").text
    assert '"../openapi.json"' in script
    assert "://" not in page.text + script


def test_the_description_is_made_once(app: InProcess) -> None:
    assert app.client.get("/openapi.json").content == app.client.get("/openapi.json").content


def test_methods_that_an_address_does_not_take_are_answered_with_those_it_takes(
    app: InProcess, description: dict[str, Any]
) -> None:
    for path, operations in description["paths"].items():
        url = path.replace("{job_id}", "a" * 26).replace("{filename}", "some.txt")
        refused = app.client.request("OPTIONS", url, headers=ADMIN)

        assert refused.status_code == 405, path
        told = set(refused.headers["allow"].split(", ")) - {"HEAD"}
        assert told == {method.upper() for method in operations}, path
