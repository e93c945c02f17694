"""One open event stream as its broadcaster sees it: the newest that it was not sent yet, and never more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.web.following.event_format import COMMENT, News


class Listener:
    """Takes news and never waits: who reads slowly misses those in between, and always gets the newest."""

    def __init__(self, known_id: str | None, abort: Callable[[], None]) -> None:
        """``known_id`` is the event the client says it has; ``abort`` drops its connection with what is unsent."""
        self.abort = abort
        self._known_id = known_id
        self._unsent = b""
        self._has_ended = False
        self._wake = asyncio.Event()

    def offer(self, news: News) -> None:
        """Have it sent, in place of an older one that was not; not if the client has it."""
        if self._has_ended:
            return
        if news.id != self._known_id:
            self._known_id, self._unsent = news.id, news.status
            self._wake.set()
        if news.last:
            self._unsent += news.last
            self.end()

    def comment(self) -> None:
        """Have a comment sent, unless something else is about to be."""
        if not self._unsent:
            self._unsent = COMMENT
            self._wake.set()

    def end(self) -> None:
        """End the stream after what is still unsent."""
        self._has_ended = True
        self._wake.set()

    async def next(self) -> bytes:
        """Return what to send next, as soon as there is something; nothing at the end."""
        while not self._unsent and not self._has_ended:
            self._wake.clear()
            await self._wake.wait()
        unsent, self._unsent = self._unsent, b""
        return unsent
