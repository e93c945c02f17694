"""Conditional requests (RFC 9110, 13): the preconditions of a request in their order of precedence (13.2.2).

A date is compared only where there is a date of modification: our own files have one. What is told of jobs has entity
tags alone, all of them strong, and there dates are ignored, as 13.1.3 and 13.1.4 say. ``If-Range`` is in ``ranges``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from itertools import islice

from starlette.requests import Request

from service.errors import PRECONDITION_FAILED, ServiceError
from service.web.http.negotiation import listed

MAX_TAGS = 100
MAX_DATE_LENGTH = 50
_NAMED = "vacpack.if_none_match"
_WHATEVER = frozenset({"*"})
"""No tag is that: they stand in quotes."""
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def is_not_modified(request: Request, etag: str | None, *, modified_at: int | None = None) -> bool:
    """Return whether a client that asks for this version has it already: 304 answers it.

    ``modified_at`` is in seconds since 1970. Ask once it is known that the answer would be a success (13.2.1).

    Raises:
        ServiceError: precondition_failed.
    """
    tags = () if etag is None else (etag,)
    _check_match(request, tags, modified_at)
    if "if-none-match" in request.headers:
        return is_named(request, etag)
    return modified_at is not None and _is_since(request, "if-modified-since", modified_at) is False


def check_change(request: Request, *tags: str) -> None:
    """Check that the job about to be changed is at the version the client means; ``tags`` are those of its status.

    Raises:
        ServiceError: precondition_failed.
    """
    _check_match(request, tags, None)
    # The addresses of commands have nothing to show, so nothing there can be what If-None-Match names.
    if request.method == "DELETE" and any(is_named(request, tag) for tag in tags):
        raise ServiceError(PRECONDITION_FAILED, "It is as If-None-Match says; nothing was done.")


def is_named(request: Request, etag: str | None) -> bool:
    """Return whether ``If-None-Match`` names this tag (13.1.2: compared weakly); ``*`` names whatever there is."""
    named = _named(request)
    return named is not None and (named is _WHATEVER or etag in named)


def _named(request: Request) -> frozenset[str] | None:
    """Return the tags that ``If-None-Match`` names. Read once: a request that is held asks at every look."""
    if _NAMED not in request.scope:
        given = listed(request, "if-none-match")
        tags = None if given is None else frozenset(tag for _, tag in _tags(given))
        request.scope[_NAMED] = _WHATEVER if given is not None and given.strip() == "*" else tags
    named: frozenset[str] | None = request.scope[_NAMED]
    return named


def _tags(given: str) -> Iterator[tuple[str, str]]:
    """Yield the tags of a list with what makes them weak; those behind ``MAX_TAGS`` are not read."""
    return ((found[1] or "", found[2]) for found in islice(_TAG.finditer(given), MAX_TAGS))


def _check_match(request: Request, tags: tuple[str, ...], modified_at: int | None) -> None:
    given = listed(request, "if-match")
    if given is None:
        if modified_at is not None and _is_since(request, "if-unmodified-since", modified_at):
            raise ServiceError(PRECONDITION_FAILED, "It was modified since the date in If-Unmodified-Since.")
    elif given.strip() != "*" and not any(tag in tags for weak, tag in _tags(given) if not weak):
        detail = "It is at another version than If-Match names; nothing was done. Ask for it again."
        raise ServiceError(PRECONDITION_FAILED, detail)


def _is_since(request: Request, name: str, modified_at: int) -> bool | None:
    """Return whether the modification is later than a header's date; None without one that can be read."""
    given = request.headers.getlist(name)
    try:
        return modified_at > parsedate_to_datetime(given[0][:MAX_DATE_LENGTH]).timestamp() if len(given) == 1 else None
    except (ValueError, OverflowError):
        return None
