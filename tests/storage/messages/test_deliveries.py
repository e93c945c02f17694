"""Senders: what they are given and in which order, what they say afterwards, and what is left when they die."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from storage.database import Database
from storage.jobs import job_rescue
from storage.lifecycle import MessageKind
from storage.messages import outbox
from storage.messages.deliveries import (
    ClaimedMessage,
    DeliveryEnd,
    claim,
    delivery_counts,
    failed,
    release_sender,
    reschedule,
    sent,
)
from storage.messages.due_messages import FIRST_OF_OTHERS_SQL, FIRST_SQL, find_due
from storage.messages.outbox import Subscriber
from storage.models import outbox as outbox_table
from storage.plain_reader import PlainReader
from tests.storage.job_builder import WORKER, Row, act, change_row, row_of, submit
from tests.storage.messages.test_outbox import HOOK, MAIL, cancel, messages, subscribed

DELIVERED = DeliveryEnd("delivered", 200, None)
BROKEN = DeliveryEnd("failed", 500, "It broke.")


def ended(database: Database, *whom: Subscriber) -> str:
    job_id = subscribed(database, submit(database), *whom)
    cancel(database, job_id)
    return job_id


def found(database: Database, busy: tuple[str, ...] = ()) -> int | None:
    with closing(PlainReader(database)) as reader:
        return find_due(reader, busy)


def take(
    database: Database, sender: str = WORKER, *, lease: int = 20_000, busy: tuple[str, ...] = ()
) -> ClaimedMessage | None:
    while (seq := found(database, busy)) is not None:
        message = act(database, lambda c, seq=seq: claim(c, sender, seq, lease_milliseconds=lease))
        if message is not None:
            return message
    return None


def taken(database: Database, sender: str = WORKER, *, lease: int = 20_000) -> ClaimedMessage:
    message = take(database, sender, lease=lease)
    assert message is not None
    return message


def again(database: Database, message: ClaimedMessage, *, pause: int = 0) -> bool:
    return act(database, lambda connection: reschedule(connection, message, BROKEN, pause_milliseconds=pause))


def arrive(database: Database, message: ClaimedMessage) -> bool:
    return act(database, lambda connection: sent(connection, message, DELIVERED))


def give_up(database: Database, message: ClaimedMessage) -> bool:
    return act(database, lambda connection: failed(connection, message, BROKEN))


def deliveries(database: Database, job_id: str) -> list[tuple[int, str | None, int | None]]:
    with database.read() as connection:
        rows = outbox.deliveries_of(connection, job_id)
        return [(row["number"], row["outcome"], row["status_code"]) for row in rows]


def second_end(database: Database, job_id: str) -> None:
    """Have the job end once more, as after a retry, and in another way: of the same nobody is told twice."""
    change_row(database, job_id, status="failed")
    seq = row_of(database, job_id)["seq"]
    act(database, lambda connection: outbox.add_for_ended(connection, seq))


def counts(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {row["outcome"]: row["deliveries"] for row in delivery_counts(connection)}


def is_due(database: Database) -> bool:
    return found(database) is not None


def test_a_claim_gives_out_all_that_a_delivery_needs(database: Database) -> None:
    job_id = ended(database, MAIL)
    [row] = messages(database, job_id)
    message = taken(database)

    assert (message.id, message.kind, message.target, message.language) == (row["id"], "email", MAIL.target, "zh-CN")
    assert (message.payload, message.tries, message.delivery) == (row["payload"], 1, 1)
    assert deliveries(database, job_id) == [(1, None, None)]


def test_what_is_under_a_lease_is_given_to_nobody_else(database: Database) -> None:
    ended(database)
    taken(database)

    assert take(database, "another") is None
    assert not is_due(database)


def test_messages_are_given_out_in_the_order_they_are_due(database: Database) -> None:
    jobs = [ended(database) for _ in range(3)]
    first = taken(database)
    again(database, first)
    order = [taken(database).id for _ in range(3)]

    ids = [messages(database, job_id)[0]["id"] for job_id in jobs]
    assert order[:2] == ids[1:]
    assert order[2] == first.id == ids[0]


def test_an_arrival_ends_the_message(database: Database) -> None:
    job_id = ended(database)

    assert arrive(database, taken(database))
    [row] = messages(database, job_id)
    assert (row["status"], row["lease_owner"], row["ended_at"] is None) == ("sent", None, False)
    assert deliveries(database, job_id) == [(1, "delivered", 200)]
    assert take(database) is None
    assert counts(database) == {"delivered": 1}


def test_a_failed_delivery_is_due_again_after_the_pause_and_not_before(database: Database) -> None:
    job_id = ended(database)
    again(database, taken(database), pause=60_000)

    assert take(database) is None
    [row] = messages(database, job_id)
    assert (row["status"], row["tries"]) == ("pending", 1)
    due = outbox_table.update().values(run_at=row["run_at"] - 60_000)
    act(database, lambda connection: connection.execute(due))
    assert is_due(database)
    assert (taken(database).tries, deliveries(database, job_id)) == (2, [(1, "failed", 500), (2, None, None)])


def test_what_is_given_up_is_not_given_out_again(database: Database) -> None:
    job_id = ended(database)
    give_up(database, taken(database))

    assert take(database) is None
    assert messages(database, job_id)[0]["status"] == "failed"


def test_a_later_message_of_the_same_job_and_target_waits_for_the_first(database: Database) -> None:
    job_id = ended(database, HOOK, MAIL)
    second_end(database, job_id)
    hook, mail = taken(database), taken(database)

    assert (hook.kind, mail.kind) == ("webhook", "email")
    assert take(database) is None
    again(database, hook, pause=60_000)
    assert take(database) is None
    arrive(database, mail)
    assert taken(database).kind == "email"
    assert take(database) is None


@pytest.mark.parametrize("end", [arrive, give_up])
def test_once_the_first_has_ended_the_next_is_due(database: Database, end: object) -> None:
    job_id = ended(database)
    second_end(database, job_id)
    first = taken(database)
    assert callable(end)
    end(database, first)

    assert taken(database).seq > first.seq


def test_a_message_of_another_job_does_not_wait(database: Database) -> None:
    first, second = ended(database), ended(database)
    again(database, taken(database), pause=60_000)

    assert taken(database).id == messages(database, second)[0]["id"]
    assert messages(database, first)[0]["status"] == "pending"


def test_a_busy_receiver_is_passed_over(database: Database) -> None:
    ended(database, HOOK)
    mail = ended(database, MAIL)
    message = take(database, busy=(HOOK.receiver,))

    assert message is not None
    assert message.id == messages(database, mail)[0]["id"]
    assert take(database, busy=(HOOK.receiver,)) is None


def test_a_lease_that_is_over_is_taken_up_and_its_first_owner_changes_nothing(database: Database) -> None:
    job_id = ended(database)
    slow = taken(database, "slow", lease=-1)
    assert is_due(database)
    quick = taken(database, "quick")

    assert quick.id == slow.id
    assert not arrive(database, slow)
    assert not again(database, slow)
    assert not give_up(database, slow)
    assert deliveries(database, job_id) == [(1, "interrupted", None), (2, None, None)]
    assert arrive(database, quick)
    assert counts(database) == {"interrupted": 1, "delivered": 1}


def test_what_a_dead_sender_held_is_due_at_once_and_the_try_not_counted(database: Database) -> None:
    job_id = ended(database)
    other = ended(database)
    dead = taken(database, "dead")
    kept = taken(database, "alive")

    assert act(database, lambda connection: release_sender(connection, "dead")) == 1
    assert deliveries(database, job_id) == [(1, "interrupted", None)]
    message = taken(database, "heir")
    assert (message.id, message.tries, message.delivery) == (dead.id, 1, 2)
    assert not arrive(database, dead)
    assert arrive(database, kept)
    assert messages(database, other)[0]["status"] == "sent"


def test_rescuing_a_worker_takes_its_messages_back(database: Database) -> None:
    ended(database)
    message = taken(database)
    act(database, lambda connection: job_rescue.rescue_worker(connection, WORKER, is_blamed=True, max_losses=3))

    assert taken(database, "heir").id == message.id


def test_numbers_of_deliveries_go_on_after_a_replay_and_tries_begin_anew(database: Database) -> None:
    job_id = ended(database)
    message = taken(database)
    give_up(database, message)
    act(database, lambda connection: outbox.replay(connection, job_id, message.id))
    second = taken(database)

    assert (second.id, second.tries, second.delivery) == (message.id, 1, 2)


def test_a_sender_that_was_slow_does_not_end_the_delivery_that_followed_a_replay(database: Database) -> None:
    job_id = ended(database)
    slow = taken(database, lease=-1)
    act(database, lambda connection: outbox.replay(connection, job_id, slow.id))
    second = taken(database)

    assert (second.tries, second.sender) == (slow.tries, slow.sender)
    assert not give_up(database, slow)
    assert arrive(database, second)
    assert deliveries(database, job_id) == [(1, "interrupted", None), (2, "delivered", 200)]


def test_many_senders_at_once_are_each_given_other_messages(database: Database) -> None:
    for _ in range(40):
        ended(database)

    def drain(sender: str) -> list[str]:
        ids = []
        while message := take(database, sender):
            ids.append(message.id)
        return ids

    with ThreadPoolExecutor(4) as pool:
        given = [message_id for ids in pool.map(drain, "abcd") for message_id in ids]
    assert len(given) == len(set(given)) == 40


def test_a_message_that_was_taken_since_it_was_found_is_not_taken_again(database: Database) -> None:
    ended(database)
    seq = found(database)
    assert seq is not None
    taken(database, "another")

    assert act(database, lambda connection: claim(connection, WORKER, seq, lease_milliseconds=1)) is None


@pytest.mark.parametrize(("sql", "values"), [(FIRST_SQL, ()), (FIRST_OF_OTHERS_SQL, ("[]",))])
def test_searches_use_the_indexes_of_what_is_pending(database: Database, sql: str, values: tuple[str, ...]) -> None:
    with closing(database.reader()) as reader:
        plan = str(reader.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall())
    assert ("ix_outbox_receiver" if values else "ix_outbox_due") in plan


def steps_of(database: Database, busy: tuple[str, ...]) -> int:
    """Return how many hundreds of steps of the database's machine a search takes."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with closing(PlainReader(database)) as reader:
        reader._connection.set_progress_handler(count, 100)
        assert find_due(reader, busy) is None
    return steps


def test_a_backlog_for_a_busy_receiver_costs_nothing_to_pass_over(database: Database) -> None:
    job_id = ended(database)
    [row] = messages(database, job_id)
    few = steps_of(database, (HOOK.receiver,))
    more = [row | {"seq": None, "id": f"m{n}", "target": f"{HOOK.target}/{n}"} for n in range(2000)]
    act(database, lambda connection: connection.execute(outbox_table.insert(), more))

    assert steps_of(database, (HOOK.receiver,)) <= few + 1


def test_of_receivers_that_are_not_busy_the_longest_due_message_comes_first(database: Database) -> None:
    receivers = ["c", "a", "d", "b"]
    jobs = [ended(database, Subscriber(MessageKind.WEBHOOK, f"https://{name}", name, "en")) for name in receivers]
    given = [message.id for message in iter(lambda: take(database, busy=("c", "x")), None)]

    assert given == [messages(database, job_id)[0]["id"] for job_id in jobs[1:]]


def test_details_are_cut_to_what_the_column_holds(database: Database) -> None:
    job_id = ended(database)
    end = DeliveryEnd("failed", None, "x" * 1000)
    message = taken(database)
    act(database, lambda connection: failed(connection, message, end))

    with database.read() as connection:
        rows: list[Row] = [dict(row) for row in outbox.deliveries_of(connection, job_id)]
    assert rows[0]["detail"] == "x" * 500
