"""Which language a person reads: as chosen by the switch, or as the browser says."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from service.language import DEFAULT, LANGUAGES
from service.web.http.cookies import cookie_of
from service.web.http.negotiation import listed, weights

QUERY = "lang"
COOKIE = "vacpack_lang"
COOKIE_SECONDS = 365 * 24 * 3600
VARY = "Accept-Language, Cookie"


def language_of(request: Request) -> str:
    """Return a tag of ``LANGUAGES``: from ``?lang=``, else the cookie, else ``Accept-Language``, else the default."""
    for asked in (request.query_params.get(QUERY), cookie_of(request, COOKIE)):
        if asked is not None and asked in LANGUAGES:
            return asked
    return next(_matching(listed(request, "accept-language") or ""), DEFAULT)


def keep_choice(request: Request, response: Response, *, path: str = "/") -> None:
    """Let the browser remember what the switch was set to."""
    asked = request.query_params.get(QUERY)
    if asked is not None and asked in LANGUAGES:
        response.set_cookie(COOKIE, asked, max_age=COOKIE_SECONDS, path=path, samesite="lax", httponly=True)


def _matching(header: str) -> Iterator[str]:
    """Yield our languages in the order the browser likes them (RFC 4647, 3.4); every Chinese is answered with ours."""
    liked = sorted(weights(header).items(), key=lambda item: -item[1])
    for tag, weight in liked:
        primary = tag.partition("-")[0]
        if weight > 0:
            yield from (ours for ours in LANGUAGES if ours.lower().partition("-")[0] == primary)
