"""What a client would like: JSON, one line of text, or a page; and which content codings it can undo."""

from __future__ import annotations

from enum import StrEnum

from starlette.requests import Request


class Kind(StrEnum):
    """The three forms every answer about jobs and errors has."""

    JSON = "application/json"
    TEXT = "text/plain"
    HTML = "text/html"


def kind_of(request: Request, default: Kind = Kind.JSON) -> Kind:
    """Return the form the ``Accept`` header prefers; ``default`` where it has no preference (RFC 9110, 12.5.1)."""
    accept = request.headers.get("accept", "")
    if not accept or accept == "*/*":
        return default
    weights = _weights(accept)
    named = [(weights[kind], -order, kind) for order, kind in enumerate(Kind) if weights.get(kind, 0) > 0]
    if weights.get("application/*", 0) > 0 or weights.get("application/problem+json", 0) > 0:
        named.append((max(weights.get("application/*", 0), weights.get("application/problem+json", 0)), 0, Kind.JSON))
    return max(named)[2] if named else default


def accepts_coding(request: Request, coding: str) -> bool:
    """Return whether ``Accept-Encoding`` takes this content coding (RFC 9110, 12.5.3). No header: no coding."""
    weights = _weights(request.headers.get("accept-encoding", ""))
    return weights.get(coding, weights.get("*", 0.0)) > 0


def _weights(header: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for item in header.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                weight = _weight(value)
        weights.setdefault(name.lower(), weight)
    return weights


def _weight(value: str) -> float:
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0
