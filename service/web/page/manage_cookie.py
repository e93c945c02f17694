"""The manage keys that a browser keeps for the pages that answered its forms: they stand in no link that is shared.

One cookie holds the newest, so that it can be ``__Host-`` under HTTPS, which no neighbour of the same domain can set
(RFC 6265bis, 4.1.3.2) and which has the path ``/``: a cookie for each job would go with every request.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from service.web.http.cookies import cookie_of

MOST_KEYS = 20
"""Half a kilobyte. Older jobs are managed by the keys on their pages."""
EXTRA_SECONDS = 7 * 24 * 3600
"""The files' time counts from the job's end, which may be days from now."""
_NAME = "vacpack_manage"
_HOST_NAME = "__Host-vacpack_manage"
_KEY = re.compile("[a-z2-7]{26}")


def kept_keys(request: Request) -> list[str]:
    """Return the keys that the request's cookie holds, the newest first.

    Another's key in it opens another's job only, so that the plain name counts wherever the other is not there.
    """
    text = cookie_of(request, _HOST_NAME) or cookie_of(request, _NAME) or ""
    return [key for key in text.split(".", MOST_KEYS)[:MOST_KEYS] if _KEY.fullmatch(key)]


def keep_key(request: Request, answer: Response, key: str, *, ttl_seconds: int, public_url: str) -> None:
    """Have the browser keep this key before those it has; SameSite=Strict, so that no other site can use it."""
    others = [kept for kept in kept_keys(request) if kept != key]
    is_secure = (public_url or str(request.url)).startswith("https:")
    answer.set_cookie(
        _HOST_NAME if is_secure else _NAME,
        ".".join([key, *others[: MOST_KEYS - 1]]),
        max_age=ttl_seconds + EXTRA_SECONDS,
        path="/" if is_secure else f"{urlsplit(public_url).path}/",
        httponly=True,
        samesite="strict",
        secure=is_secure,
    )
