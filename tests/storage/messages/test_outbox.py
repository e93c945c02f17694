"""Messages of a job's end: made by every final transition and by nothing else, kept and removed with their job."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, func, select

from storage.database import Database
from storage.errors import MessageNotFound, MessageUnderWay, TooManyReplays, TooManyRetries
from storage.jobs import job_attempts, job_rescue, job_table
from storage.jobs.job_attempts import ClaimedJob
from storage.lifecycle import JobStatus, MessageKind
from storage.messages import outbox
from storage.messages.message_counts import count_message
from storage.messages.outbox import Subscriber
from storage.models import deliveries as deliveries_table
from storage.models import jobs, message_counts, subscribers
from storage.models import outbox as outbox_table
from tests.storage.job_builder import WORKER, Row, act, change_row, claim, fail, finish, now, row_of, running, submit

HOOK = Subscriber(MessageKind.WEBHOOK, "https://a.example/hook", "a.example", "en")
MAIL = Subscriber(MessageKind.EMAIL, "ann@b.example", "b.example", "zh-CN")


def subscribed(database: Database, job_id: str, *whom: Subscriber) -> str:
    seq = row_of(database, job_id)["seq"]
    act(database, lambda connection: outbox.subscribe(connection, seq, whom or (HOOK,)))
    return job_id


def messages(database: Database, job_id: str) -> list[Row]:
    with database.read() as connection:
        return [dict(row) for row in outbox.messages_of(connection, job_id)]


def running_with_hook(database: Database, **changes: object) -> ClaimedJob:
    job = running(database, **changes)
    subscribed(database, job.id)
    return job


def cancel(database: Database, job_id: str) -> None:
    act(database, lambda connection: job_table.cancel(connection, job_id))


def finished(database: Database) -> str:
    job = running_with_hook(database)
    finish(database, job)
    return job.id


def failed_for_good(database: Database) -> str:
    job = running_with_hook(database)
    fail(database, job, is_fatal=True)
    return job.id


def failed_the_last_time(database: Database) -> str:
    job = running_with_hook(database, max_attempts=1)
    fail(database, job)
    return job.id


def failed_while_a_cancel_waited(database: Database) -> str:
    job = running_with_hook(database)
    cancel(database, job.id)
    fail(database, job)
    return job.id


def cancelled_while_queued(database: Database) -> str:
    job_id = subscribed(database, submit(database))
    cancel(database, job_id)
    return job_id


def cancelled_while_running(database: Database) -> str:
    job = running_with_hook(database)
    cancel(database, job.id)
    act(database, lambda connection: job_attempts.confirm_cancel(connection, job))
    return job.id


def released_while_a_cancel_waited(database: Database) -> str:
    job = running_with_hook(database)
    cancel(database, job.id)
    act(database, lambda connection: job_attempts.release(connection, job))
    return job.id


def rescued_once_too_often(database: Database) -> str:
    job = running_with_hook(database)
    act(database, lambda connection: job_rescue.rescue_worker(connection, WORKER, is_blamed=True, max_losses=1))
    return job.id


def rescued_while_a_cancel_waited(database: Database) -> str:
    job = running_with_hook(database)
    cancel(database, job.id)
    act(database, lambda connection: job_rescue.rescue_worker(connection, WORKER, is_blamed=False, max_losses=3))
    return job.id


def stalled_once_too_often(database: Database) -> str:
    job = running_with_hook(database, lease=-1, max_attempts=1)
    act(database, job_rescue.rescue_lapsed)
    return job.id


ENDS: dict[Callable[[Database], str], JobStatus] = {
    finished: JobStatus.SUCCEEDED,
    failed_for_good: JobStatus.FAILED,
    failed_the_last_time: JobStatus.FAILED,
    failed_while_a_cancel_waited: JobStatus.CANCELLED,
    cancelled_while_queued: JobStatus.CANCELLED,
    cancelled_while_running: JobStatus.CANCELLED,
    released_while_a_cancel_waited: JobStatus.CANCELLED,
    rescued_once_too_often: JobStatus.FAILED,
    rescued_while_a_cancel_waited: JobStatus.CANCELLED,
    stalled_once_too_often: JobStatus.FAILED,
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_every_end_of_a_job_leaves_one_message_that_holds_its_row(
    database: Database, end: Callable[[Database], str]
) -> None:
    job_id = end(database)

    [message] = messages(database, job_id)
    row = row_of(database, job_id)
    told = json.loads(message["payload"])
    assert told["status"] == ENDS[end]
    assert row | told == row
    assert (message["kind"], message["target"], message["receiver"]) == ("webhook", HOOK.target, HOOK.receiver)
    assert (message["status"], message["tries"], message["lease_owner"]) == ("pending", 0, None)


def fails_with_attempts_left(database: Database, job: ClaimedJob) -> None:
    fail(database, job)


def is_released(database: Database, job: ClaimedJob) -> None:
    act(database, lambda connection: job_attempts.release(connection, job))


def is_rescued(database: Database, _: ClaimedJob) -> None:
    act(database, lambda connection: job_rescue.rescue_worker(connection, WORKER, is_blamed=True, max_losses=3))


def is_asked_to_stop(database: Database, job: ClaimedJob) -> None:
    cancel(database, job.id)


@pytest.mark.parametrize("change", [fails_with_attempts_left, is_released, is_rescued, is_asked_to_stop])
def test_a_change_that_does_not_end_the_job_leaves_none(
    database: Database, change: Callable[[Database, ClaimedJob], None]
) -> None:
    job = running_with_hook(database)
    change(database, job)

    assert messages(database, job.id) == []


def test_everybody_who_subscribed_gets_a_message_in_their_language(database: Database) -> None:
    job_id = subscribed(database, submit(database), HOOK, MAIL)
    cancel(database, job_id)

    told = [(row["kind"], row["target"], row["language"]) for row in messages(database, job_id)]
    assert told == [("webhook", HOOK.target, "en"), ("email", MAIL.target, "zh-CN")]
    assert len({row["id"] for row in messages(database, job_id)}) == 2


def test_a_message_holds_no_secret_and_no_key_of_a_file(database: Database) -> None:
    [message] = messages(database, finished(database))

    assert not {"manage_key_digest", "result_key", "lease_owner"} & set(json.loads(message["payload"]))


def test_an_end_that_is_rolled_back_leaves_no_message(database: Database) -> None:
    job = running_with_hook(database)

    def broken(connection: Connection) -> None:
        job_attempts.fail(connection, job, code="x", detail="x", is_fatal=True, pause_milliseconds=0)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        act(database, broken)

    assert messages(database, job.id) == []
    assert row_of(database, job.id)["status"] == JobStatus.RUNNING


def test_a_job_that_is_run_again_tells_of_its_second_end_too(database: Database) -> None:
    job_id = failed_for_good(database)
    act(database, lambda connection: job_table.retry(connection, job_id, attempts_more=1))
    job = claim(database)
    assert job is not None
    finish(database, job)

    assert [json.loads(row["payload"])["status"] for row in messages(database, job_id)] == ["failed", "succeeded"]


def test_an_end_is_told_once_however_often_the_job_ends_so(database: Database) -> None:
    job_id = cancelled_while_queued(database)
    for _ in range(5):
        act(database, lambda connection: job_table.retry(connection, job_id, attempts_more=1))
        act(database, lambda connection: job_table.cancel(connection, job_id))
    act(database, lambda connection: job_table.retry(connection, job_id, attempts_more=1))
    job = claim(database)
    assert job is not None
    finish(database, job)

    assert [json.loads(row["payload"])["status"] for row in messages(database, job_id)] == ["cancelled", "succeeded"]


def test_a_job_is_run_again_as_often_as_clients_may_and_no_more(database: Database) -> None:
    job_id = cancelled_while_queued(database)

    def again(most: int | None) -> None:
        act(database, lambda connection: job_table.retry(connection, job_id, attempts_more=1, max_retries=most))
        act(database, lambda connection: job_table.cancel(connection, job_id))

    again(2)
    again(2)
    with pytest.raises(TooManyRetries):
        again(2)
    again(None)


def test_messages_to_a_target_are_counted_by_the_hour_and_nothing_is_kept_of_hours_before(database: Database) -> None:
    def count(target: str) -> int:
        return act(database, lambda connection: count_message(connection, MessageKind.EMAIL, target))

    assert [count("a@x.example"), count("a@x.example"), count("b@x.example")] == [1, 2, 1]
    earlier = message_counts.update().values(hour=message_counts.c.hour - 1)
    act(database, lambda connection: connection.execute(earlier))
    assert count("a@x.example") == 1
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(message_counts)).scalar_one() == 1


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        (MessageKind.EMAIL, ["bob@x.example", "Bob@x.example", "bob+1@x.example", "BOB+2+3@X.example"]),
        (
            MessageKind.WEBHOOK,
            ["https://x.example/h?1", "https://x.example/h?2", "http://X.example.:8080/", "https://x.example"],
        ),
    ],
)
def test_a_target_is_a_mailbox_or_a_host_however_it_is_spelled(
    database: Database, kind: MessageKind, spellings: list[str]
) -> None:
    def count(target: str) -> int:
        return act(database, lambda connection: count_message(connection, kind, target))

    assert [count(target) for target in spellings] == [1, 2, 3, 4]
    assert count(spellings[0].replace("x.example", "y.example")) == 1


def test_a_job_without_subscribers_leaves_no_message(database: Database) -> None:
    job = running(database)
    finish(database, job)

    assert messages(database, job.id) == []


def test_deleting_a_job_takes_its_messages_with_it(database: Database) -> None:
    job_id = cancelled_while_queued(database)
    act(database, lambda connection: job_table.delete_job(connection, job_id))

    with database.read() as connection:
        left = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (jobs, subscribers, outbox_table, deliveries_table)
        ]
    assert left == [0, 0, 0, 0]


def pruned(database: Database) -> int:
    return act(database, lambda connection: job_table.prune(connection, limit=10))


def test_a_grave_stands_until_the_last_message_is_sent_or_given_up(database: Database) -> None:
    waiting, done, silent = (cancelled_while_queued(database) for _ in range(3))
    for job_id in (waiting, done, silent):
        change_row(database, job_id, status="expired", expires_at=1)
    ended = outbox_table.update().values(status="failed", ended_at=1)
    act(database, lambda connection: connection.execute(ended.where(outbox_table.c.job_seq != 1)))

    assert pruned(database) == 2
    assert [row["status"] for row in messages(database, waiting)] == ["pending"]
    act(database, lambda connection: connection.execute(ended))
    assert pruned(database) == 1


def test_expiry_tells_nobody_anything(database: Database) -> None:
    job_id = finished(database)
    change_row(database, job_id, expires_at=1)
    act(database, lambda connection: job_table.expire(connection, grave_milliseconds=0, limit=10))

    assert len(messages(database, job_id)) == 1


@pytest.mark.parametrize(("status", "tries"), [("sent", 0), ("failed", 0), ("pending", 0)])
def test_a_replay_makes_a_message_due_now(database: Database, status: str, tries: int) -> None:
    job_id = cancelled_while_queued(database)
    [before] = messages(database, job_id)
    ended_at = None if status == "pending" else 5
    values = {"status": status, "tries": 3, "run_at": before["run_at"] + 99_999, "ended_at": ended_at}
    act(database, lambda connection: connection.execute(outbox_table.update().values(values)))
    act(database, lambda connection: outbox.replay(connection, job_id, before["id"]))

    [after] = messages(database, job_id)
    assert (after["status"], after["tries"], after["ended_at"]) == ("pending", tries, None)
    assert before["run_at"] <= after["run_at"] < values["run_at"]
    assert (after["id"], after["payload"]) == (before["id"], before["payload"])


def under_lease(database: Database, milliseconds: int) -> None:
    values = {"lease_owner": WORKER, "lease_expires_at": now(database) + milliseconds, "tries": 2}
    act(database, lambda connection: connection.execute(outbox_table.update().values(values)))


def test_a_message_that_is_under_way_cannot_be_replayed(database: Database) -> None:
    job_id = cancelled_while_queued(database)
    under_lease(database, 60_000)
    [before] = messages(database, job_id)
    with pytest.raises(MessageUnderWay):
        act(database, lambda connection: outbox.replay(connection, job_id, before["id"]))

    assert messages(database, job_id) == [before]


def test_a_message_whose_lease_is_over_can_be_replayed(database: Database) -> None:
    job_id = cancelled_while_queued(database)
    under_lease(database, -60_000)
    act(database, lambda connection: outbox.replay(connection, job_id, messages(database, job_id)[0]["id"]))

    [after] = messages(database, job_id)
    assert (after["tries"], after["lease_owner"]) == (0, None)


def test_a_message_can_be_replayed_so_often(database: Database) -> None:
    job_id = cancelled_while_queued(database)
    [message] = messages(database, job_id)
    for _ in range(outbox.MAX_REPLAYS):
        act(database, lambda connection: outbox.replay(connection, job_id, message["id"]))

    with pytest.raises(TooManyReplays):
        act(database, lambda connection: outbox.replay(connection, job_id, message["id"]))


def test_the_last_deliveries_of_each_message_are_listed(database: Database) -> None:
    job_id = subscribed(database, submit(database), HOOK, MAIL)
    cancel(database, job_id)
    many, few = (row["id"] for row in messages(database, job_id))
    rows = [{"message_id": many, "number": n, "started_at": n} for n in range(1, 151)]
    rows += [{"message_id": few, "number": 1, "started_at": 1}]
    act(database, lambda connection: connection.execute(deliveries_table.insert(), rows))

    with database.read() as connection:
        listed = [(row["message_id"], row["number"]) for row in outbox.deliveries_of(connection, job_id)]
    assert listed == [(many, n) for n in range(51, 151)] + [(few, 1)]


def test_a_message_of_another_job_cannot_be_replayed(database: Database) -> None:
    mine, other = cancelled_while_queued(database), cancelled_while_queued(database)
    [message] = messages(database, other)

    with pytest.raises(MessageNotFound):
        act(database, lambda connection: outbox.replay(connection, mine, message["id"]))


def test_what_waits_is_counted_by_kind(database: Database) -> None:
    cancel(database, subscribed(database, submit(database), HOOK, MAIL, MAIL))

    with database.read() as connection:
        assert outbox.pending(connection) == {"webhook": 1, "email": 2}
