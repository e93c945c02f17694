"""What clients may send, and how much of it: every number as JSON, and for browsers a page of what people need."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.language import Words, words
from service.settings import Settings, missing_for_email
from service.values.email_address import MAX_ADDRESSES
from service.web import documented
from service.web.answers import base_url
from service.web.connection.protocol import MAX_HEAD_BYTES
from service.web.connection.read_ahead import MAX_WAITING_REQUESTS
from service.web.connection.request_head import MAX_FIELD_BYTES, MAX_FIELDS, MAX_PARAMETERS, MAX_TARGET_BYTES
from service.web.guesses import GUESSES_PER_MINUTE
from service.web.http.negotiation import Kind, kind_of
from service.web.page import phrases
from service.web.page.language import language_of
from service.web.page.pages import render
from service.web.parts import parts_of
from service.web.receiving.form_edges import MAX_EDGE_BYTES, max_parts
from service.web.receiving.multipart import MAX_HEADER_BYTES
from service.web.receiving.options import FORMATS, LEVELS
from service.web.routing import get_and_head

router = APIRouter(tags=["operations"])

VARY = {"Vary": "Accept"}


@get_and_head(router, "/limits", **documented.LIMITS)
async def limits(request: Request) -> Response:
    """Return every number and value a client must know; to a browser a page of those that people need."""
    parts = parts_of(request)
    if kind_of(request) is not Kind.HTML:
        return JSONResponse(numbers(parts.settings), headers=VARY)
    facts = for_people(parts.settings, words(language_of(request)))
    return render(request, "limits.html", {"facts": facts, "url": base_url(request, parts)}, headers=VARY)


def for_people(settings: Settings, say: Words) -> dict[str, str]:
    """Return what the page tells, in the order it does: texts by the last part of their labels' keys."""
    emails = {} if missing_for_email(settings) else {"emails": str(MAX_ADDRESSES)}
    return {
        "upload": phrases.size(settings.max_upload_bytes, say),
        "files": str(settings.max_files_per_upload),
        "formats": ", ".join(FORMATS),
        "levels": ", ".join(say(f"page.front.level.{level}") for level in LEVELS),
        "ttl": phrases.duration(settings.result_ttl_seconds, say),
        "max_ttl": phrases.duration(settings.max_ttl_seconds, say),
        "silence": phrases.duration(settings.receive_timeout_seconds, say),
        "queued_jobs": str(settings.max_queued_jobs_per_address),
        "queued_bytes": phrases.size(settings.max_queued_bytes_per_address, say),
        "downloads": str(settings.max_downloads_per_address),
        "retries": str(settings.max_retries),
    } | emails


def numbers(settings: Settings) -> dict[str, Any]:
    """Return every number and value, by name."""
    return {
        "max_upload_bytes": settings.max_upload_bytes,
        "max_files_per_upload": settings.max_files_per_upload,
        "max_parts_per_form": max_parts(settings.max_files_per_upload),
        "max_part_header_bytes": MAX_HEADER_BYTES,
        "max_form_edge_bytes": MAX_EDGE_BYTES,
        "max_queued_jobs": settings.max_queued_jobs,
        "max_queued_jobs_per_address": settings.max_queued_jobs_per_address,
        "max_queued_bytes_per_address": settings.max_queued_bytes_per_address,
        "max_reserved_percent_per_address": settings.max_reserved_percent_per_address,
        "max_header_fields": MAX_FIELDS,
        "max_header_field_bytes": MAX_FIELD_BYTES,
        "max_header_bytes": MAX_HEAD_BYTES,
        "max_target_bytes": MAX_TARGET_BYTES,
        "max_parameters": MAX_PARAMETERS,
        "max_pipelined_requests": MAX_WAITING_REQUESTS,
        "header_timeout_seconds": settings.header_timeout_seconds,
        "receive_timeout_seconds": settings.receive_timeout_seconds,
        "receive_min_bytes_per_second": settings.receive_min_bytes_per_second,
        "receive_rate_seconds": settings.receive_rate_seconds,
        "send_min_bytes_per_second": settings.send_min_bytes_per_second,
        "send_rate_seconds": settings.send_rate_seconds,
        "max_guesses_per_minute_per_address": GUESSES_PER_MINUTE,
        "max_queries_per_minute_per_address": settings.max_queries_per_minute_per_address,
        "max_wait_seconds": settings.max_wait_seconds,
        "max_waiting_requests_per_address": settings.max_waiting_requests_per_address,
        "max_event_streams_per_address": settings.max_event_streams_per_address,
        "max_connections_per_address": settings.max_connections_per_address,
        "default_ttl_seconds": settings.result_ttl_seconds,
        "max_ttl_seconds": settings.max_ttl_seconds,
        "idempotency_seconds": settings.idempotency_seconds,
        "max_attempts": settings.max_attempts,
        "max_retries": settings.max_retries,
        "max_messages_per_target_per_hour": settings.max_messages_per_target_per_hour,
        "max_downloads_per_address": settings.max_downloads_per_address,
        "max_conversions_per_address": settings.max_conversions_per_address,
        "max_job_cpu_seconds": settings.max_job_cpu_seconds,
        "max_job_memory_bytes": settings.max_job_memory_bytes,
        "max_notify_emails": 0 if missing_for_email(settings) else MAX_ADDRESSES,
        "max_callback_urls": 1 if settings.webhook_secrets.get_secret_value() else 0,
        "formats": list(FORMATS),
        "levels": list(LEVELS),
    }
