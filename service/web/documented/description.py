"""The description as a whole: its foreword, the keys, and what the framework does not know or only supposes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from service.web.documented.deliveries import add_webhook
from service.web.documented.schemas import Problem
from service.web.documented.terms import Words

DESCRIPTION = """\
Upload a file, get **202** and a job id at once; the file is compressed in the background, read back and compared, and
handed out in every form. A 202 is a receipt: the bytes and the job are on the disk.

The **job id** lets one look and download. The **manage key**, given in the 202 (`manage_key`, and `Vacpack-Manage-Key`
in every form), cancels, retries and deletes. The **admin token**, in the data folder, lists and reads metrics, and does
the rest too. A key goes into `Authorization: Bearer …` or `?key=`.

Errors are problem documents (RFC 9457) with a stable `code` to match on. `Accept: text/plain` gets one line of
everything, a browser a page. Clients ignore members they do not know. `HEAD` answers whatever `GET` does. Any other
address is 404 `not_found`, any other method 405 `method_not_allowed` with `Allow`. Refused before any address is
looked at: more than 100 header fields, 8 KiB of one or 64 KiB in all (431 `headers_too_large`), an address of more than
16 KiB or 100 parameters (414 `target_too_long`), another `Transfer-Encoding` than chunked (501 `transfer_coding`),
another `Expect` than 100-continue (417 `expectation_failed`), another HTTP than 1.1 and 1.0 (505 `http_version`), a
`Host` that is none of the service's names (421 `unknown_host`).
Every other answer has an `X-Request-Id`: the client's own, if it sent one.
"""
_SCHEMES: Words = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The job's manage key; the admin token for lists, metrics and everything else.",
    },
    "key": {"type": "apiKey", "in": "query", "name": "key", "description": "The same, where no header can be sent."},
}
_KEYED = frozenset(
    {
        "get_jobs",
        "get_audit",
        "metrics",
        "cancel_job",
        "retry_job",
        "delete_job",
        "delete_job_by_form",
        "get_deliveries",
        "replay_message",
    }
)


def complete(app: FastAPI) -> None:
    """Put into the description what the framework does not know, and take out what it only supposes."""
    add_webhook(app)
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            components = schema["components"]
            components["schemas"]["Problem"] = Problem.model_json_schema()
            components["securitySchemes"] = _SCHEMES
            for name in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(name, None)
            for operations in (*schema["paths"].values(), *schema["webhooks"].values()):
                for operation in operations.values():
                    _settle(operation)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _settle(operation: Words) -> None:
    operation["parameters"] = _once(operation.get("parameters", []))
    if operation["operationId"] in _KEYED:
        # The list of all needs a key, jobs by their ids do not.
        optional: list[Words] = [{}] if operation["operationId"] == "get_jobs" else []
        operation["security"] = [{name: []} for name in _SCHEMES] + optional
    answers = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422", "")):
        del answers["422"]


def _once(parameters: list[Words]) -> list[Words]:
    """Keep the last words on each parameter: ours come after the framework's."""
    return list({(parameter["name"], parameter["in"]): parameter for parameter in parameters}.values())
