"""Logs: one line an event, readable or JSON, with the request's id; control characters never reach a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, Processor

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != ord("\n")}
"""What could steer a terminal, made visible. Line ends are escaped by both renderers."""
LONGEST_VALUE = 300
"""Letters of one value: what clients send stands in it, and would fill the disk that the log lies on."""
LONGEST_TRACE = 8000
"""Of a trace its end is told, where the error stands."""
_WHOLE = frozenset({"event", "exception"})
"""Our own words, and traces."""


def configure(*, log_format: str, level: str, context: Callable[[], dict[str, str]]) -> None:
    """Send everything, ours and the libraries', to standard error in one form; ``context`` is added to each line."""

    def add_context(_logger: object, _method: str, event: EventDict) -> EventDict:
        event.update(context())
        return event

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_context,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    final: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        # Not ``dict_tracebacks``: it tells the variables of every frame, keys and file bytes among them.
        structlog.processors.format_exc_info,
        _bounded,
        _with_visible_controls,
        renderer,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=final, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Each request is told by the middleware; migrations tell each step.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn.error", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # The form parser warns of what a client sent; that client is told so, and the request's line has its status.
    logging.getLogger("python_multipart").setLevel(max(logging.ERROR, root.level))


def _with_visible_controls(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {name: value.translate(_CONTROLS) if isinstance(value, str) else value for name, value in event.items()}


def _bounded(_logger: object, _method: str, event: EventDict) -> EventDict:
    bounded = {name: value if name in _WHOLE else _cut(value) for name, value in event.items()}
    trace = event.get("exception")
    if isinstance(trace, str) and len(trace) > LONGEST_TRACE:
        bounded["exception"] = f"…{trace[1 - LONGEST_TRACE :]}"
    return bounded


def _cut(value: object) -> object:
    if isinstance(value, (int, float)) or value is None:
        return value
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
