"""The outbox drained by a worker: what arrives, what is tried again, who waits for whom, and what a stop leaves."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection

from service.telling.notify import RETRY_PAUSES_SECONDS, Delivery, Message, NotSetUp
from service.telling.outbox_loop import MAX_PER_RECEIVER, OutboxLoop
from storage.database import Database
from storage.jobs import job_table
from storage.lifecycle import DeliveryOutcome, MessageKind
from storage.messages import outbox
from storage.messages.deliveries import release_sender
from storage.messages.outbox import Subscriber
from storage.models import outbox as outbox_table
from tests.service.work.bench import until
from tests.storage.job_builder import Row, act, everything, now
from tests.storage.messages.test_deliveries import deliveries, ended, second_end
from tests.storage.messages.test_outbox import HOOK, MAIL, messages

SENDER = "w" * 26
DELIVERED = Delivery(DeliveryOutcome.DELIVERED, 200)
BROKEN = Delivery(DeliveryOutcome.FAILED, 500, "It broke.")


class Scripted:
    """A messenger that does as it is told, and keeps what it was given."""

    def __init__(self, *deliveries: Delivery, during: Callable[[Message], object] = lambda _: None) -> None:
        self._deliveries = list(deliveries) or [DELIVERED]
        self._during = during
        self.sent: list[Message] = []

    def send(self, message: Message) -> Delivery:
        self.sent.append(message)
        self._during(message)
        return self._deliveries.pop(0) if len(self._deliveries) > 1 else self._deliveries[0]


@contextmanager
def draining(
    database: Database, messenger: Scripted | NotSetUp, *, senders: int = 4, max_per_target: int = 1000
) -> Iterator[OutboxLoop]:
    kinds = dict.fromkeys(MessageKind, messenger)
    loop = OutboxLoop(SENDER, database, kinds, poll_seconds=0.05, senders=senders, max_per_target=max_per_target)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop(5)


def status_of(database: Database, job_id: str) -> str:
    status: str = messages(database, job_id)[0]["status"]
    return status


def make_due(database: Database) -> None:
    """Let the pauses be over."""
    past = now(database) - 1
    act(database, lambda connection: connection.execute(outbox_table.update().values(run_at=past)))


def test_a_target_gets_no_more_in_an_hour_whatever_becomes_of_the_jobs(database: Database) -> None:
    messenger = Scripted()
    first = [ended(database, MAIL) for _ in range(3)]
    with draining(database, messenger, max_per_target=3):
        until(lambda: {status_of(database, job_id) for job_id in first} == {"sent"})
        for job_id in first:
            act(database, lambda connection, job_id=job_id: job_table.delete_job(connection, job_id))
        last, other = ended(database, MAIL), ended(database, HOOK)
        until(lambda: (status_of(database, last), status_of(database, other)) == ("failed", "sent"))

    assert [message.target for message in messenger.sent] == [MAIL.target] * 3 + [HOOK.target]
    [delivery] = [row for row in everything(database)["deliveries"] if row["outcome"] == "limited"]
    assert delivery["detail"].startswith("Nothing was sent")


def test_a_message_is_sent_once_with_the_row_of_the_end(database: Database) -> None:
    job_id = ended(database, MAIL)
    messenger = Scripted()
    with draining(database, messenger):
        until(lambda: status_of(database, job_id) == "sent")
        time.sleep(0.2)

    [message] = messenger.sent
    assert (message.target, message.language) == (MAIL.target, "zh-CN")
    assert (message.id, message.job["id"]) == (messages(database, job_id)[0]["id"], job_id)
    assert (message.job["status"], message.job["queue_position"]) == ("cancelled", None)
    assert deliveries(database, job_id) == [(1, "delivered", 200)]


@pytest.mark.parametrize("tries", range(1, 7))
def test_a_failure_is_followed_by_the_pause_of_its_try(database: Database, tries: int) -> None:
    job_id = ended(database)
    before = outbox_table.update().values(tries=tries - 1)
    act(database, lambda connection: connection.execute(before))
    with draining(database, Scripted(BROKEN)):
        until(lambda: deliveries(database, job_id) == [(1, "failed", 500)])

    [row] = messages(database, job_id)
    pause = (row["run_at"] - now(database)) / 1000
    assert row["status"] == "pending"
    assert RETRY_PAUSES_SECONDS[tries - 1] - 25 < pause <= 1.25 * RETRY_PAUSES_SECONDS[tries - 1]


def test_after_the_last_try_the_message_has_failed(database: Database) -> None:
    job_id = ended(database)
    messenger = Scripted(BROKEN)
    with draining(database, messenger) as loop:
        for number in range(1, 8):
            until(lambda number=number: len(messenger.sent) == number)  # type: ignore[misc]
            until(lambda: messages(database, job_id)[0]["lease_owner"] is None)
            if number < 7:
                assert status_of(database, job_id) == "pending"
            make_due(database)
            loop.wake()
        until(lambda: status_of(database, job_id) == "failed")

    assert deliveries(database, job_id) == [(number, "failed", 500) for number in range(1, 8)]
    assert len({message.id for message in messenger.sent}) == 1
    assert all(message == messenger.sent[0] for message in messenger.sent)


def test_one_that_refuses_for_good_is_asked_once(database: Database) -> None:
    job_id = ended(database)
    messenger = Scripted(Delivery(DeliveryOutcome.REFUSED, 410))
    with draining(database, messenger):
        until(lambda: status_of(database, job_id) == "failed")

    assert (len(messenger.sent), deliveries(database, job_id)) == (1, [(1, "refused", 410)])


def test_a_messenger_that_raises_is_a_failed_delivery_and_tells_no_details(database: Database) -> None:
    def explode(_: Message) -> None:
        raise RuntimeError("secret")

    job_id = ended(database)
    with draining(database, Scripted(during=explode)):
        until(lambda: deliveries(database, job_id) == [(1, "failed", None)])

    with database.read() as connection:
        [row] = outbox.deliveries_of(connection, job_id)
    assert row["detail"] == "Sending ended with an unexpected RuntimeError."
    assert status_of(database, job_id) == "pending"


def test_a_kind_that_is_not_set_up_any_more_waits_and_says_why(database: Database) -> None:
    job_id = ended(database)
    with draining(database, NotSetUp("This service sends no webhooks any more.")):
        until(lambda: deliveries(database, job_id) == [(1, "failed", None)])

    assert status_of(database, job_id) == "pending"


def test_messages_of_one_job_and_target_arrive_in_order_whatever_happens(database: Database) -> None:
    job_id = ended(database)
    second_end(database, job_id)
    messenger = Scripted(BROKEN, BROKEN, DELIVERED, BROKEN, DELIVERED)
    with draining(database, messenger) as loop:

        def all_sent() -> bool:
            make_due(database)
            loop.wake()
            return {row["status"] for row in messages(database, job_id)} == {"sent"}

        until(all_sent)

    order = list(dict.fromkeys(message.id for message in messenger.sent))
    assert order == [row["id"] for row in messages(database, job_id)]
    ids = [message.id for message in messenger.sent]
    assert ids == sorted(ids, key=order.index)


def test_a_stalled_receiver_holds_a_few_senders_and_the_others_go_on(database: Database) -> None:
    released = threading.Event()

    def stall(message: Message) -> None:
        if message.target == HOOK.target:
            released.wait(20)

    stalled = [ended(database, HOOK) for _ in range(20)]
    quick = [ended(database, Subscriber(MessageKind.EMAIL, f"{n}@x.example", f"{n}.example", "en")) for n in range(20)]
    messenger = Scripted(during=stall)
    with draining(database, messenger, senders=MAX_PER_RECEIVER + 1):
        until(lambda: all(status_of(database, job_id) == "sent" for job_id in quick))
        held = [message for message in messenger.sent if message.target == HOOK.target]
        released.set()
        until(lambda: all(status_of(database, job_id) == "sent" for job_id in stalled))

    assert len(held) == MAX_PER_RECEIVER


def test_a_backlog_for_a_busy_receiver_does_not_take_the_write_lock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, transactions = threading.Event(), Counter[str]()
    transaction = database.transaction

    def counted(*, is_durable: bool = True) -> AbstractContextManager[Connection]:
        transactions["begun"] += 1
        return transaction(is_durable=is_durable)

    for _ in range(5):
        ended(database, HOOK)
    monkeypatch.setattr(database, "transaction", counted)
    messenger = Scripted(during=lambda _: released.wait(20))
    with draining(database, messenger) as loop:
        until(lambda: len(messenger.sent) == MAX_PER_RECEIVER)
        for _ in range(20):
            loop.wake()
            time.sleep(0.01)
        begun = transactions["begun"]
        released.set()

    assert begun == MAX_PER_RECEIVER


def test_a_payload_that_cannot_be_read_is_a_failed_delivery(database: Database) -> None:
    job_id = ended(database)
    broken = outbox_table.update().values(payload="no JSON")
    act(database, lambda connection: connection.execute(broken))
    with draining(database, Scripted()):
        until(lambda: deliveries(database, job_id) == [(1, "failed", None)])


def test_a_stop_ends_the_round_that_is_claiming(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        ended(database, Subscriber(MessageKind.WEBHOOK, f"https://{n}", str(n), "en"))
    messenger, stopped, transaction = Scripted(), threading.Event(), database.transaction
    loop = OutboxLoop(SENDER, database, dict.fromkeys(MessageKind, messenger), poll_seconds=60)

    def stop() -> None:
        loop.stop(5)
        stopped.set()

    def stopping(*, is_durable: bool = True) -> AbstractContextManager[Connection]:
        monkeypatch.setattr(database, "transaction", transaction)
        threading.Thread(target=stop, daemon=True).start()
        time.sleep(0.2)
        return transaction(is_durable=is_durable)

    monkeypatch.setattr(database, "transaction", stopping)
    loop.start()

    assert stopped.wait(20)
    assert len(messenger.sent) == 1


def test_no_more_are_sent_at_a_time_than_there_are_senders(database: Database) -> None:
    running, most, lock, all_busy = 0, 0, threading.Lock(), threading.Event()

    def count(_: Message) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 3:
                all_busy.set()
        # The first ones wait for a third, and a fourth would show.
        all_busy.wait(60)
        time.sleep(0.02)
        with lock:
            running -= 1

    jobs = [ended(database, Subscriber(MessageKind.WEBHOOK, f"https://{n}", str(n), "en")) for n in range(20)]
    with draining(database, Scripted(during=count), senders=3):
        until(lambda: all(status_of(database, job_id) == "sent" for job_id in jobs))

    assert most == 3


def test_what_no_sender_is_free_for_is_left_to_others(database: Database) -> None:
    released = threading.Event()
    jobs = [ended(database, Subscriber(MessageKind.WEBHOOK, f"https://{n}", str(n), "en")) for n in range(5)]
    messenger = Scripted(during=lambda _: released.wait(20))
    with draining(database, messenger, senders=2):
        until(lambda: len(messenger.sent) == 2)
        time.sleep(0.2)
        held = [row["lease_owner"] for job_id in jobs for row in messages(database, job_id)]
        released.set()

    assert held == [SENDER, SENDER, None, None, None]


def test_a_stop_waits_for_what_is_being_sent_and_begins_nothing(database: Database) -> None:
    begun, released = threading.Event(), threading.Event()

    def wait(_: Message) -> None:
        begun.set()
        released.wait(20)

    job_id = ended(database)
    messenger = Scripted(during=wait)
    with draining(database, messenger, senders=1) as loop:
        assert begun.wait(20)
        other = ended(database)
        threading.Timer(0.2, released.set).start()
        loop.stop(20)
        # The record of its end is part of what is waited for.
        assert status_of(database, job_id) == "sent"
        assert status_of(database, other) == "pending"
        time.sleep(0.2)

    assert len(messenger.sent) == 1


def test_what_a_stop_breaks_off_is_sent_by_the_next(database: Database) -> None:
    released = threading.Event()
    job_id = ended(database)
    stuck = Scripted(during=lambda _: released.wait(20))
    with draining(database, stuck) as loop:
        until(lambda: len(stuck.sent) == 1)
        loop.stop(0)
        act(database, lambda connection: release_sender(connection, SENDER))
        # What it says now counts for nothing.
        released.set()
    with draining(database, Scripted()):
        until(lambda: status_of(database, job_id) == "sent")

    rows: list[Row] = messages(database, job_id)
    assert deliveries(database, job_id) == [(1, "interrupted", None), (2, "delivered", 200)]
    assert rows[0]["tries"] == 1


def test_a_job_deleted_while_its_message_is_under_way_leaves_nothing_and_stops_nothing(database: Database) -> None:
    begun, released = threading.Event(), threading.Event()

    def hold(_: Message) -> None:
        begun.set()
        released.wait(20)

    job_id = ended(database)
    with draining(database, Scripted(during=hold)):
        assert begun.wait(20)
        act(database, lambda connection: job_table.delete_job(connection, job_id))
        released.set()
        other = ended(database)
        until(lambda: status_of(database, other) == "sent")

    assert deliveries(database, job_id) == []
