"""The text of events, and a listener that holds the newest of them and no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from service.web.following.event_format import COMMENT, News, news_of
from service.web.following.listener import Listener
from service.web.following.status_board import StatusBoard
from storage.database import Database
from storage.jobs.status_reads import PlainStatusReads
from storage.lifecycle import JobStatus
from tests.storage.job_builder import one_of_each, submit


@pytest.fixture
def board(database: Database) -> StatusBoard:
    return StatusBoard(PlainStatusReads(database), "")


def test_a_status_event_is_the_document_in_one_line_under_its_tag(board: StatusBoard, database: Database) -> None:
    job_id = submit(database, name="two\nlines \u2028\r.log")
    snapshot = board.get(job_id)
    assert snapshot is not None

    event = news_of(job_id, snapshot)

    assert event.id == snapshot.etag.strip('"') == "1-1"
    lines = event.status.decode().split("\n")
    assert lines[:2] + lines[3:] == ["id: 1-1", "event: status", "", ""]
    assert b"\r" not in event.status
    assert json.loads(lines[2].removeprefix("data: ")) == json.loads(snapshot.body)
    assert event.last == b""


def test_every_final_status_is_followed_by_done(board: StatusBoard, database: Database) -> None:
    for status, job_id in one_of_each(database).items():
        event = news_of(job_id, board.get(job_id))
        if status is JobStatus.EXPIRED:
            assert (event.status, b'"code": "job_expired"' in event.last) == (b"", True)
        elif status.is_final:
            assert event.last.startswith(f"id: {event.id}\nevent: done\ndata: ".encode())
            assert json.loads(event.last.split(b"data: ")[1])["status"] == status
        else:
            assert event.last == b""


def test_a_job_that_was_deleted_is_gone() -> None:
    event = news_of("a" * 26, None)

    assert event.status == b""
    assert event.last.startswith(b"event: gone\ndata: {")
    assert b'"code": "job_not_found"' in event.last


Taken = Callable[[Listener], list[bytes]]


@pytest.fixture
def taken() -> Iterator[Taken]:
    """Return a function that returns what is there to be sent, piece by piece."""

    async def take(listener: Listener) -> list[bytes]:
        pieces = []
        try:
            while piece := await asyncio.wait_for(listener.next(), 0.01):
                pieces.append(piece)
        except TimeoutError:
            return [*pieces, b"(waits)"]
        return pieces

    with asyncio.Runner() as runner:
        yield lambda listener: runner.run(take(listener))


def listener_of(known_id: str | None = None) -> Listener:
    return Listener(known_id, lambda: None)


def event(number: int, last: bytes = b"") -> News:
    return News(str(number), b"<%d>" % number, last)


def test_who_reads_slowly_gets_the_newest_and_none_in_between(taken: Taken) -> None:
    listener = listener_of()
    for number in range(1000):
        listener.offer(event(number))

    assert taken(listener) == [b"<999>", b"(waits)"]


def test_nothing_is_told_twice(taken: Taken) -> None:
    listener = listener_of()
    listener.offer(event(1))
    assert taken(listener) == [b"<1>", b"(waits)"]
    listener.offer(event(1))

    assert taken(listener) == [b"(waits)"]


def test_what_the_client_has_is_not_told_and_the_next_is(taken: Taken) -> None:
    listener = listener_of("7")
    listener.offer(event(7))
    assert taken(listener) == [b"(waits)"]
    listener.offer(event(8))

    assert taken(listener) == [b"<8>", b"(waits)"]


def test_the_last_event_follows_its_status_and_ends_the_stream(taken: Taken) -> None:
    listener = listener_of()
    listener.offer(event(1))
    listener.offer(event(2, b"<done>"))
    listener.offer(event(3))

    assert taken(listener) == [b"<2><done>"]


def test_a_client_that_has_the_final_status_is_told_only_that_it_is_done(taken: Taken) -> None:
    listener = listener_of("2")
    listener.offer(event(2, b"<done>"))

    assert taken(listener) == [b"<done>"]


def test_a_comment_is_sent_where_there_is_nothing_else(taken: Taken) -> None:
    listener = listener_of()
    listener.comment()
    listener.comment()
    assert taken(listener) == [COMMENT, b"(waits)"]
    listener.offer(event(1))
    listener.comment()

    assert taken(listener) == [b"<1>", b"(waits)"]


def test_an_end_comes_after_what_is_unsent(taken: Taken) -> None:
    listener = listener_of()
    listener.offer(event(1))
    listener.end()

    assert taken(listener) == [b"<1>"]
