"""Tells every open event stream of this process what its job has become: one task and one look for all of them.

``ChangeWatch`` says when anything was committed. Two reads then tell which of the watched jobs have changed, each of
those is read and encoded once, and the same bytes go to all who listen to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.shares import Shares
from service.web.following.event_format import News, event_id, news_of
from service.web.following.listener import Listener
from service.web.following.status_board import StatusBoard
from service.web.following.waiting import ChangeWatch

PAUSE_SECONDS = 0.25
"""Between two looks at what has changed: no job tells more than four changes a second."""
COMMENT_SECONDS = 15.0
"""Well below the 60 s after which proxies give up a silent connection."""
LISTENERS_AT_ONCE = 100
"""Told before other requests get their turn: sending to one takes some 30 µs."""
LAST_SECONDS = 1.0
"""For the ends of streams to leave when the service stops; who has not read by then is cut off."""

_log = logging.getLogger("vacpack.http")


@dataclass(slots=True, eq=False)
class _Topic:
    """One job that somebody listens to."""

    newest: News
    listeners: set[Listener] = field(default_factory=set)


class Broadcaster:
    """Knows who listens to which job. Belongs to one event loop; its task lives while anybody listens."""

    def __init__(
        self, board: StatusBoard, watch: ChangeWatch, *, max_streams: int, max_per_address: int | None = None
    ) -> None:
        self._board = board
        self._watch = watch
        self._max_streams = max_streams
        self._max_per_address = max_streams if max_per_address is None else max_per_address
        self._shares = Shares()
        self._topics: dict[str, _Topic] = {}
        self._seen = -1
        self._task: asyncio.Task[None] | None = None
        self.open_streams = 0

    @property
    def is_full(self) -> bool:
        """Whether as many listen as may."""
        return self.open_streams >= self._max_streams

    def has_share(self, caller: str | None) -> bool:
        """Return whether one address listens as often as it may."""
        return caller is not None and self._shares.held(caller) >= self._max_per_address

    @contextmanager
    def listening(
        self, job_id: str, known_id: str | None, abort: Callable[[], None], *, caller: str | None = None
    ) -> Iterator[Listener]:
        """Return a listener that is offered the job as it is now and each change; it listens until the block ends.

        It is told nothing that ``known_id`` names. When the service drains it ends at once, after the first event.
        """
        listener = Listener(known_id, abort)
        newest = self._newest(job_id)
        topic = self._topics.setdefault(job_id, _Topic(newest))
        topic.newest = newest
        topic.listeners.add(listener)
        self.open_streams += 1
        self._shares.add(caller, 1)
        listener.offer(newest)
        self._follow()
        try:
            yield listener
        finally:
            self.open_streams -= 1
            self._shares.add(caller, -1)
            topic.listeners.discard(listener)
            if not topic.listeners:
                del self._topics[job_id]

    def _newest(self, job_id: str) -> News:
        """Return the news of the job as committed now: what was made of it before, if it still stands."""
        snapshot, topic = self._board.get(job_id), self._topics.get(job_id)
        if topic and snapshot and not snapshot.is_expired and topic.newest.id == event_id(snapshot.etag):
            return topic.newest
        return news_of(job_id, snapshot)

    def _follow(self) -> None:
        if self._watch.is_draining:
            self._end_all()
        elif self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._tell_and_comment()
        except Exception:
            # They connect again, and are told what is wrong as anybody who asks for a status is.
            _log.exception("event streams failed")
            self._end_all()
        finally:
            self._task = None
        if self._watch.is_draining:
            self._end_all()
            asyncio.get_running_loop().call_later(LAST_SECONDS, self._abort_all)

    async def _tell_and_comment(self) -> None:
        clock = asyncio.get_running_loop().time
        comment_at = clock() + COMMENT_SECONDS
        while self._topics:
            # It is not counted among the requests that wait: it is one for all streams.
            await self._watch.wait_until(self._is_changed, seconds=max(0, comment_at - clock()), jobs=0)
            if self._watch.is_draining:
                return
            await _in_turns(self._tell_changes())
            if clock() >= comment_at:
                comment_at += COMMENT_SECONDS
                await _in_turns(self._comment())
            await asyncio.sleep(PAUSE_SECONDS)

    def _is_changed(self) -> bool:
        return self._board.data_version() != self._seen

    def _tell_changes(self) -> Iterator[None]:
        """Offer every listener what its job is now, one a step; those who have it are told nothing."""
        # Before anything is read: what is committed meanwhile is seen the next time.
        self._seen = self._board.data_version()
        etags = self._board.etags(self._topics)
        for job_id, topic in list(self._topics.items()):
            if event_id(etags.get(job_id, "")) != topic.newest.id:
                topic.newest = self._newest(job_id)
            newest = topic.newest
            # Also where it has not changed: one who came after the last look may have been told before the others.
            for listener in list(topic.listeners):
                listener.offer(newest)
                yield

    def _comment(self) -> Iterator[None]:
        for listener in self._listeners():
            listener.comment()
            yield

    def _listeners(self) -> list[Listener]:
        return [listener for topic in self._topics.values() for listener in topic.listeners]

    def _end_all(self) -> None:
        for listener in self._listeners():
            listener.end()

    def _abort_all(self) -> None:
        for listener in self._listeners():
            listener.abort()


async def _in_turns(steps: Iterable[None]) -> None:
    """Do all the steps, with a turn for everybody else after each hundred."""
    for number, _ in enumerate(steps, 1):
        if number % LISTENERS_AT_ONCE == 0:
            await asyncio.sleep(0)
