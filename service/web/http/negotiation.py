"""What a client would like: JSON, one line of text, or a page; and which content codings it can undo."""

from __future__ import annotations

from enum import StrEnum

from starlette.requests import Request

MAX_MEMBERS = 50
"""Of a list: those behind them are not read. Browsers send up to fifteen."""
MAX_LIST_LENGTH = 8 * 1024
"""Of all its lines together, as long as one may be."""
MAX_PARAMETERS = 5
"""Of one member."""
MAX_WEIGHT_LENGTH = 10
"""Twice that of RFC 9110 (12.4.2)."""


class Kind(StrEnum):
    """The three forms every answer about jobs and errors has."""

    JSON = "application/json"
    TEXT = "text/plain"
    HTML = "text/html"


def kind_of(request: Request, default: Kind = Kind.JSON) -> Kind:
    """Return the form the ``Accept`` header prefers; ``default`` where it has no preference (RFC 9110, 12.5.1).

    Of forms it likes equally, the one it names most exactly: browsers and libraries add ``*/*`` to what they want.
    """
    accept = listed(request, "accept") or "*/*"
    if accept == "*/*":
        return default
    liked = weights(accept)
    best, best_rank = default, (0.0, 0)
    for kind in (default, *Kind):
        exactness, weight = _liking(liked, kind)
        if (rank := (weight, exactness)) > best_rank and weight > 0:
            best, best_rank = kind, rank
    return best


def _liking(liked: dict[str, float], kind: Kind) -> tuple[int, float]:
    """Return how exactly the header names a form, and its weight there: the most exact name decides."""
    family = f"{kind.partition('/')[0]}/*"
    names = ("*/*", family, *(("application/problem+json",) if kind is Kind.JSON else ()), kind)
    named = [(exactness, liked[name]) for exactness, name in enumerate(names) if name in liked]
    return named[-1] if named else (0, 0.0)


def prefers_coding(request: Request, coding: str) -> bool:
    """Return whether ``Accept-Encoding`` takes this content coding, and likes it as well as none (RFC 9110, 12.5.3).

    No header: no coding. ``*`` stands for what is not named, ``identity`` too; who does not weigh that can do without.
    """
    liked = weights(listed(request, "accept-encoding") or "")
    others = liked.get("*")
    alias = _ALIASES.get(coding, coding)
    weight = liked.get(coding, liked.get(alias, others or 0.0))
    return weight > 0 and weight >= liked.get("identity", others or 0.0)


_ALIASES = {"gzip": "x-gzip"}
"""Names to be taken as equal (RFC 9110, 8.4.1)."""


def listed(request: Request, name: str) -> str | None:
    """Return a header whose value is a list, its lines as one (RFC 9110, 5.3), cut; None if there is none."""
    lines = request.headers.getlist(name)
    return ", ".join(lines)[:MAX_LIST_LENGTH] if lines else None


def weights(header: str) -> dict[str, float]:
    """Return the names of a list like ``Accept``, in lower case, each with its weight (RFC 9110, 12.4.2)."""
    found: dict[str, float] = {}
    for item in header.split(",", MAX_MEMBERS)[:MAX_MEMBERS]:
        name, *parameters = (part.strip() for part in item.split(";", MAX_PARAMETERS)[:MAX_PARAMETERS])
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                weight = _weight(value)
        found.setdefault(name.lower(), weight)
    return found


def _weight(value: str) -> float:
    try:
        return min(1.0, max(0.0, float(value[:MAX_WEIGHT_LENGTH])))
    except ValueError:
        return 0.0
