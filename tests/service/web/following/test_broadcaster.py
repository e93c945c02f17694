"""The broadcaster over a real table: one look for all, each change made once, exact for everybody who listens."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from service.web.following import broadcaster, event_format, waiting
from service.web.following.broadcaster import Broadcaster
from service.web.following.event_format import News
from service.web.following.listener import Listener
from service.web.following.status_board import Snapshot, StatusBoard
from service.web.following.waiting import ChangeWatch
from storage.database import Database
from storage.jobs import job_table
from storage.jobs.status_reads import PlainStatusReads
from tests.storage.job_builder import act, change_row, claim, fail, finish, row_of, running, submit


class Heard:
    """Reads a listener's pieces as they come."""

    def __init__(self, listener: Listener) -> None:
        self.pieces: list[str] = []
        self.task = asyncio.create_task(self._read(listener))

    async def _read(self, listener: Listener) -> None:
        while piece := await listener.next():
            self.pieces.append(piece.decode())

    @property
    def ids(self) -> list[str]:
        """The ids of the status events."""
        return [
            line.removeprefix("id: ")
            for piece in self.pieces
            for line, following in itertools.pairwise(piece.split("\n"))
            if following == "event: status"
        ]

    @property
    def last_name(self) -> str:
        """The name of the last event."""
        names = [line for piece in self.pieces for line in piece.split("\n") if line.startswith("event: ")]
        return names[-1].removeprefix("event: ")


class Stage:
    """A broadcaster and those who listen to it."""

    def __init__(self, database: Database, *, max_streams: int = 10_000) -> None:
        self.board = StatusBoard(PlainStatusReads(database), "")
        self.watch = ChangeWatch(self.board, max_waiting=0)
        self.broadcaster = Broadcaster(self.board, self.watch, max_streams=max_streams)
        self.aborted: list[str] = []
        self._leave: list[Callable[[], None]] = []

    def listen(self, job_id: str, known_id: str | None = None) -> Heard:
        """Listen until the stage is left or the stream ends."""
        listening = self.broadcaster.listening(job_id, known_id, lambda: self.aborted.append(job_id))
        heard = Heard(listening.__enter__())
        heard.task.add_done_callback(lambda _: listening.__exit__(None, None, None))
        return heard


Story = Callable[[Stage], Coroutine[Any, Any, None]]


@pytest.fixture
def play(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], None]:
    monkeypatch.setattr(broadcaster, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)

    def run(story: Story) -> None:
        async def told() -> None:
            stage = Stage(database)
            async with asyncio.timeout(20):
                await story(stage)
            stage.watch.drain()
            await until(lambda: stage.broadcaster.open_streams == 0)
            await asyncio.sleep(0.03)
            stage.board.close()

        asyncio.run(told())

    return run


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody.
        await asyncio.sleep(0.005)


def progress(database: Database, job_id: str, version: int) -> None:
    change_row(database, job_id, version=version, bytes_done=version)


def test_the_snapshot_comes_first_and_then_each_change(play: Callable[[Story], None], database: Database) -> None:
    job = running(database)

    async def story(stage: Stage) -> None:
        heard = stage.listen(job.id)
        for version in range(3, 8):
            await until(lambda: len(heard.ids) == version - 2)  # noqa: B023
            progress(database, job.id, version)
        await until(lambda: len(heard.ids) == 6)
        assert heard.ids == ["2", "3", "4", "5", "6", "7"]

    play(story)


def test_a_job_that_ends_is_told_with_done_and_all_streams_end(
    play: Callable[[Story], None], database: Database
) -> None:
    job = running(database)

    async def story(stage: Stage) -> None:
        heard = [stage.listen(job.id) for _ in range(3)]
        await until(lambda: all(one.ids for one in heard))
        finish(database, job)
        await asyncio.gather(*(one.task for one in heard))
        assert [one.ids[-1] for one in heard] == [str(row_of(database, job.id)["version"])] * 3
        assert {one.last_name for one in heard} == {"done"}
        await until(lambda: stage.broadcaster.open_streams == 0)

    play(story)


def test_a_job_that_is_deleted_is_told_as_gone(play: Callable[[Story], None], database: Database) -> None:
    job_id = submit(database)

    async def story(stage: Stage) -> None:
        heard = stage.listen(job_id)
        await until(lambda: bool(heard.ids))
        act(database, lambda connection: job_table.delete_job(connection, job_id))
        await heard.task
        assert heard.last_name == "gone"

    play(story)


def test_only_those_it_concerns_are_told(play: Callable[[Story], None], database: Database) -> None:
    job = running(database)
    others = [submit(database) for _ in range(3)]

    async def story(stage: Stage) -> None:
        heard = {job_id: stage.listen(job_id) for job_id in [job.id, *others]}
        await until(lambda: all(one.ids for one in heard.values()))
        progress(database, job.id, 9)
        await until(lambda: len(heard[job.id].ids) == 2)
        assert [heard[job_id].ids for job_id in others] == [["1-1"], ["1-2"], ["1-3"]]

    play(story)


def test_places_in_the_queue_are_told(play: Callable[[Story], None], database: Database) -> None:
    first, *others = [submit(database) for _ in range(104)]

    async def story(stage: Stage) -> None:
        second, far, farther = (stage.listen(others[number]) for number in (0, 98, 102))
        await until(lambda: bool(second.ids and far.ids and farther.ids))
        act(database, lambda connection: job_table.cancel(connection, first))
        await until(lambda: len(second.ids) == len(far.ids) == 2)
        assert (second.ids, far.ids) == (["1-2", "1-1"], ["1-100", "1-99"])
        assert farther.ids == ["1-100"]

    play(story)


def test_a_change_is_read_and_encoded_once_for_all_who_listen(
    play: Callable[[Story], None], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(database)
    encoded: list[str] = []
    original = event_format.news_of

    def counting(job_id: str, snapshot: Snapshot | None) -> News:
        encoded.append(job_id)
        return original(job_id, snapshot)

    monkeypatch.setattr(broadcaster, "news_of", counting)

    async def story(stage: Stage) -> None:
        heard = [stage.listen(job.id) for _ in range(250)]
        await until(lambda: all(one.ids for one in heard))
        progress(database, job.id, 3)
        # They come before the next look.
        late = [stage.listen(job.id) for _ in range(2)]
        await until(lambda: all(one.ids[-1:] == ["3"] for one in heard + late))
        assert encoded == [job.id] * 2

    play(story)


def test_changes_closer_together_than_the_pause_are_told_as_one(
    play: Callable[[Story], None], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster, "PAUSE_SECONDS", 0.2)
    job = running(database)

    async def story(stage: Stage) -> None:
        heard = stage.listen(job.id)
        clock = asyncio.get_running_loop().time
        began = clock()
        for version in range(3, 83):
            progress(database, job.id, version)
            await asyncio.sleep(0.01)
        await until(lambda: heard.ids[-1] == "82")
        # The snapshot at once, then one for each pause that has gone by, and the one under way.
        assert 2 <= len(heard.ids) <= 2 + (clock() - began) / 0.2

    play(story)


def test_who_comes_between_two_looks_is_told_nothing_old_and_nothing_twice(
    play: Callable[[Story], None], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster, "PAUSE_SECONDS", 0.1)
    job = running(database)

    async def story(stage: Stage) -> None:
        early = stage.listen(job.id)
        await until(lambda: bool(early.ids))
        progress(database, job.id, 3)
        late = stage.listen(job.id)
        knowing = stage.listen(job.id, "3")
        await until(lambda: bool(late.ids))
        assert late.ids == ["3"]
        progress(database, job.id, 4)
        await until(lambda: all(one.ids[-1:] == ["4"] for one in (early, late, knowing)))
        assert late.ids == ["3", "4"]
        assert knowing.ids == ["4"]
        assert early.ids in (["2", "3", "4"], ["2", "4"])

    play(story)


def test_an_unknown_id_is_answered_with_the_snapshot(play: Callable[[Story], None], database: Database) -> None:
    job_id = submit(database)

    async def story(stage: Stage) -> None:
        for known_id in ("", "0", "1", "1-2", "99-1", "nonsense", '"1-1"'):
            heard = stage.listen(job_id, known_id)
            await until(lambda: bool(heard.ids))  # noqa: B023
            assert heard.ids == ["1-1"]

    play(story)


def test_percent_never_falls_within_an_attempt(play: Callable[[Story], None], database: Database) -> None:
    job = running(database)

    async def story(stage: Stage) -> None:
        heard = stage.listen(job.id)
        for version, (phase, done) in enumerate([("compressing", 200), ("compressing", 900), ("verifying", 100)], 3):
            change_row(database, job.id, version=version, phase=phase, bytes_done=done)
            await until(lambda: heard.ids[-1:] == [str(version)])  # noqa: B023
        finish(database, job)
        await heard.task
        documents = [json.loads(part.split("data: ")[1]) for piece in heard.pieces for part in piece.split("\n\n")[:1]]
        percents = [document["progress"]["percent"] for document in documents]
        assert percents == sorted(percents)
        assert percents[-1] == 100

    play(story)


def test_a_job_that_is_run_again_goes_on(play: Callable[[Story], None], database: Database) -> None:
    job = running(database)

    async def story(stage: Stage) -> None:
        heard = stage.listen(job.id)
        await until(lambda: bool(heard.ids))
        fail(database, job)
        await until(lambda: len(heard.ids) == 2)
        again = claim(database)
        assert again is not None
        finish(database, again)
        await heard.task
        assert heard.last_name == "done"

    play(story)


def test_everybody_gets_comments(
    play: Callable[[Story], None], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster, "COMMENT_SECONDS", 0.05)
    jobs = [submit(database) for _ in range(3)]

    async def story(stage: Stage) -> None:
        heard = [stage.listen(job_id) for job_id in jobs]
        await until(lambda: all(one.pieces.count(":\n\n") >= 3 for one in heard))

    play(story)


def test_its_task_ends_when_nobody_listens_and_begins_again(
    play: Callable[[Story], None], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster, "COMMENT_SECONDS", 0.05)
    job = running(database)

    async def story(stage: Stage) -> None:
        first = stage.listen(job.id)
        await until(lambda: bool(first.ids))
        first.task.cancel()
        await until(lambda: stage.broadcaster._task is None)
        second = stage.listen(job.id)
        progress(database, job.id, 3)
        await until(lambda: second.ids[-1:] == ["3"])

    play(story)


def test_draining_ends_all_streams_and_whoever_comes_after_at_once(
    play: Callable[[Story], None], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster, "LAST_SECONDS", 2.0)
    job = running(database)

    async def story(stage: Stage) -> None:
        heard = [stage.listen(job.id) for _ in range(300)]
        stuck = stage.broadcaster.listening(job.id, None, lambda: stage.aborted.append("stuck"))
        stuck.__enter__()
        await until(lambda: all(one.ids for one in heard))
        stage.watch.drain()
        await asyncio.gather(*(one.task for one in heard))
        late = stage.listen(job.id)
        await late.task
        assert late.ids == ["2"]
        await until(lambda: stage.aborted == ["stuck"])
        stuck.__exit__(None, None, None)

    play(story)


def test_when_the_table_cannot_be_read_the_streams_end_and_it_is_logged(
    play: Callable[[Story], None],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = running(database)

    async def story(stage: Stage) -> None:
        heard = stage.listen(job.id)
        await until(lambda: bool(heard.ids))

        def broken(_: object) -> dict[str, str]:
            raise OSError("no disk")

        with monkeypatch.context() as patch:
            patch.setattr(StatusBoard, "etags", broken)
            progress(database, job.id, 3)
            await heard.task
            await until(lambda: stage.broadcaster._task is None)
        again = stage.listen(job.id, heard.ids[-1])
        await until(lambda: again.ids == ["3"])

    with caplog.at_level(logging.ERROR):
        play(story)
    assert "event streams failed" in caplog.text


def test_it_is_full_at_its_limit(database: Database) -> None:
    job_id = submit(database)

    async def story() -> None:
        stage = Stage(database, max_streams=2)
        first = stage.listen(job_id)
        assert not stage.broadcaster.is_full
        second = stage.listen(job_id)
        assert stage.broadcaster.is_full
        first.task.cancel()
        await until(lambda: not stage.broadcaster.is_full)
        second.task.cancel()
        await until(lambda: stage.broadcaster.open_streams == 0)
        stage.watch.drain()
        await asyncio.sleep(0.3)
        stage.board.close()

    asyncio.run(story())
