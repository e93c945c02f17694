"""The words on pages and operations: the front door, health, limits, metrics."""

from __future__ import annotations

from starlette.responses import Response

from service.web.documented.schemas import Health, LimitsDocument
from service.web.documented.terms import PAGE, TEXT, Words, problems
from storage.trouble import Trouble

FRONT: Words = {
    "operation_id": "front",
    "summary": "The upload page, or the manual as text",
    "response_class": Response,
    "responses": {200: {"description": "For browsers a page, else text.", "content": TEXT | PAGE}} | problems(),
}
LIVEZ: Words = {
    "operation_id": "livez",
    "summary": "Whether the process answers",
    "response_model": None,
    "responses": {200: {"model": Health}} | problems(),
}
READYZ: Words = {
    "operation_id": "readyz",
    "summary": "Whether database and files can be written, with room left, and a worker is there",
    "description": "Writes a little to both, at most once a second, and answers within about two seconds. A refusal "
    "has `checks`, true or false by name, and `reasons`: the trouble of those that failed by it, as "
    + ", ".join(f"`{trouble}`" for trouble in Trouble)
    + ".",
    "response_model": None,
    "responses": {200: {"model": Health}} | problems("not_healthy"),
}
LIMITS: Words = {
    "operation_id": "limits",
    "summary": "Every number and value a client must know",
    "response_model": None,
    "responses": {
        200: {
            "model": LimitsDocument,
            "description": "As JSON; for browsers a page of those that people need.",
            "content": PAGE,
        }
    }
    | problems(),
}
METRICS: Words = {
    "operation_id": "metrics",
    "summary": "Metrics for Prometheus (admin)",
    "response_class": Response,
    "responses": {200: {"description": "The text format.", "content": TEXT}}
    | problems("admin_only", "too_many_guesses", "storage_failed"),
}
