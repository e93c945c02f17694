"""Keys and tokens that opened nothing: each try is told and audited, and who has tried often must wait.

Also with the right one then, or waiting would be no hindrance. Manage keys count too: what takes them takes the admin
token as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.requests import Request

from service.audit import Requester
from service.caller import Callers
from service.errors import TOO_MANY_GUESSES, ServiceError
from service.shares import Rates
from service.web.connection.peer import caller_of
from service.web.request_id import request_id
from storage.audit_table import Action, Actor, NewEvent

GUESSES_PER_MINUTE = 10
"""Of one address. Somebody who copies a wrong key notices it sooner; 2 ** 128 are not tried in any time anyway."""

TOLD_PER_MINUTE = 60
"""Log lines and audit events of them, of all together: they must not fill the disk."""

AUDITED = "vacpack.audited"
"""In the scope of requests that leave an event of their own, set by ``audited``."""

_log = logging.getLogger("vacpack.http")


class Guesses:
    """The tries of each address. Belongs to one event loop."""

    def __init__(self, callers: Callers, record: Callable[[NewEvent], None], on_limit: Callable[[str], None]) -> None:
        """``record`` has an audit event written; ``on_limit`` is told the name of the limit when it is met."""
        self._callers = callers
        self._record = record
        self._on_limit = on_limit
        self._rates = Rates(GUESSES_PER_MINUTE)
        self._telling = Rates(TOLD_PER_MINUTE, max_callers=1)

    def check(self, request: Request) -> None:
        """Raise too_many_guesses if this address has to wait, whatever it brings now."""
        seconds = self._rates.seconds_left(caller_of(self._callers, request))
        if seconds:
            self._on_limit("guesses")
            headers = {"Retry-After": str(1 + int(seconds))}
            raise ServiceError(TOO_MANY_GUESSES, "Keys that open nothing were sent too often.", headers=headers)

    def count(self, request: Request) -> None:
        """Count a key that opened nothing."""
        self._rates.seconds_until_next(caller_of(self._callers, request))
        if not self._telling.seconds_until_next("everybody"):
            client = self._callers.address_of(request.client.host if request.client else None)
            _log.warning("a key or token was refused", extra={"client": client, "path": request.url.path})
            if AUDITED in request.scope:
                # Its own event says so.
                return
            event = Requester(Actor.ANONYMOUS, request_id.get(), client).event(Action.KEY_REFUSED, status=401)
            self._record(event)
