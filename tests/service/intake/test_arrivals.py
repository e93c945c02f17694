"""Repeats of a request with a key, while the first is still arriving."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import IDEMPOTENCY_MISMATCH, SUPERSEDED, ServiceError
from service.intake.arrivals import Arrival, Arrivals
from storage.jobs.idempotency import IdempotentRequest

REQUEST = IdempotentRequest("k" * 64, "f" * 64)
OTHER_REQUEST = IdempotentRequest("k" * 64, "e" * 64)
OTHER_KEY = IdempotentRequest("l" * 64, "f" * 64)


class Upload:
    """A request that arrives until it is told to end."""

    def __init__(self, arrivals: Arrivals, request: IdempotentRequest | None, *, commits: bool = False) -> None:
        self._arrivals = arrivals
        self._request = request
        self._commits = commits
        self.has_entered = asyncio.Event()
        self.may_end = asyncio.Event()
        self.arrival: Arrival | None = None
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> str:
        async with self._arrivals.enter(self._request) as self.arrival:
            if self._commits and self.arrival is not None:
                self.arrival.begin_commit()
            self.has_entered.set()
            await self.may_end.wait()
        return "done"

    async def refusal(self) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            await self.task
        return caught.value

    async def end(self) -> str:
        self.may_end.set()
        return await self.task


async def steps(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_repeat_takes_over_from_the_older_request() -> None:
    async def story() -> None:
        arrivals = Arrivals()
        older = Upload(arrivals, REQUEST)
        await older.has_entered.wait()

        newer = Upload(arrivals, REQUEST)
        await newer.has_entered.wait()

        assert (await older.refusal()).kind is SUPERSEDED
        assert await newer.end() == "done"

    asyncio.run(story())


def test_the_task_of_a_superseded_request_goes_on_to_answer() -> None:
    async def story() -> None:
        arrivals = Arrivals()

        async def request() -> str:
            try:
                async with arrivals.enter(REQUEST):
                    entered.set()
                    await asyncio.Event().wait()
            except ServiceError as error:
                # Would be cancelled again here if the cancellation had not been taken back.
                await asyncio.sleep(0)
                async with asyncio.timeout(5):
                    await asyncio.sleep(0)
                return error.kind.code
            return ""

        entered = asyncio.Event()
        older = asyncio.create_task(request())
        await entered.wait()
        newer = Upload(arrivals, REQUEST)

        assert await older == "superseded"
        await newer.has_entered.wait()
        await newer.end()

    asyncio.run(story())


def test_only_the_newest_of_many_repeats_goes_on() -> None:
    async def story() -> None:
        arrivals = Arrivals()
        uploads = []
        for _ in range(5):
            uploads.append(Upload(arrivals, REQUEST))
            await uploads[-1].has_entered.wait()

        kinds = [(await upload.refusal()).kind for upload in uploads[:-1]]
        assert kinds == [SUPERSEDED] * 4
        assert await uploads[-1].end() == "done"

    asyncio.run(story())


def test_a_request_that_is_committing_is_waited_for() -> None:
    async def story() -> None:
        arrivals = Arrivals()
        older = Upload(arrivals, REQUEST, commits=True)
        await older.has_entered.wait()
        newer = Upload(arrivals, REQUEST)
        await steps()

        assert not newer.has_entered.is_set()
        assert await older.end() == "done"
        await newer.has_entered.wait()
        assert await newer.end() == "done"

    asyncio.run(story())


def test_another_request_with_the_key_is_refused_and_the_first_goes_on() -> None:
    async def story() -> None:
        arrivals = Arrivals()
        first = Upload(arrivals, REQUEST)
        await first.has_entered.wait()

        assert (await Upload(arrivals, OTHER_REQUEST).refusal()).kind is IDEMPOTENCY_MISMATCH
        assert await first.end() == "done"

    asyncio.run(story())


def test_requests_with_other_keys_or_none_do_not_meet() -> None:
    async def story() -> None:
        arrivals = Arrivals()
        uploads = [Upload(arrivals, request) for request in (REQUEST, OTHER_KEY, None, None)]
        for upload in uploads:
            await upload.has_entered.wait()

        assert [upload.arrival is None for upload in uploads] == [False, False, True, True]
        assert [await upload.end() for upload in uploads] == ["done"] * 4

    asyncio.run(story())


def test_a_key_is_free_again_after_its_request() -> None:
    async def story() -> None:
        arrivals = Arrivals()
        await_first = Upload(arrivals, REQUEST)
        await await_first.has_entered.wait()
        await await_first.end()

        second = Upload(arrivals, OTHER_REQUEST)
        await second.has_entered.wait()
        assert await second.end() == "done"

    asyncio.run(story())


def test_a_request_cancelled_by_the_server_stays_cancelled() -> None:
    async def story() -> None:
        arrivals = Arrivals()
        upload = Upload(arrivals, REQUEST)
        await upload.has_entered.wait()
        upload.task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await upload.task
        again = Upload(arrivals, REQUEST)
        await again.has_entered.wait()
        assert await again.end() == "done"

    asyncio.run(story())
