"""The id of the request under way, for the log and the audit: set by ``middleware``."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
