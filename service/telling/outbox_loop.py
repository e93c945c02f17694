"""Sends what lies in the outbox, beside the jobs: one thread looks for what is due, a few more carry it.

Deliveries wait for others, not for the processor: they run at the worker's own priority, in threads of their own, and
take no job's place. A receiver that stalls holds ``MAX_PER_RECEIVER`` of them for as long as a messenger may take.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from sqlalchemy import Connection

from service.machine.database_retry import persist
from service.machine.loop import Loop
from service.telling.notify import Delivery, Message, Messengers, pause_after
from storage.database import Database
from storage.lifecycle import DeliveryOutcome
from storage.messages.deliveries import ClaimedMessage, DeliveryEnd, claim, failed, reschedule, sent
from storage.messages.due_messages import DueMessages
from storage.messages.message_counts import count_message

SENDERS = 16
"""Deliveries at a time."""

MAX_PER_RECEIVER = 2
"""Of these to one receiver; each worker counts its own."""

LEASE_MILLISECONDS = 120_000
"""Several times what a messenger may take. Only for when nobody finds the worker dead: a rescue is sooner."""

LIMITED = Delivery(
    DeliveryOutcome.LIMITED,
    detail="Nothing was sent: as many messages as may go to one mailbox or host in an hour have gone there.",
)

_log = logging.getLogger(__name__)


class OutboxLoop:
    """Drains the outbox for one worker. Start it once, stop it once."""

    def __init__(
        self,
        worker_id: str,
        database: Database,
        messengers: Messengers,
        *,
        poll_seconds: float,
        senders: int = SENDERS,
        max_per_target: int = 2**62,
    ) -> None:
        """``max_per_target``: messages to one mailbox or host in an hour, replays counted, further tries not."""
        self._worker_id = worker_id
        self._database = database
        self._messengers = messengers
        self._senders = senders
        self._max_per_target = max_per_target
        self._pool = ThreadPoolExecutor(senders, thread_name_prefix="delivery")
        self._lock = threading.Lock()
        self._sending: dict[Future[None], ClaimedMessage] = {}
        self._due = DueMessages(database)
        self._is_stopping = False
        self._claims = Loop("the outbox", self._claim_and_send, pause_seconds=poll_seconds)

    def start(self) -> None:
        """Begin."""
        self._claims.start()

    @property
    def loop(self) -> Loop:
        """Its duty: looking for what is due."""
        return self._claims

    def wake(self) -> None:
        """Look for messages now. Never blocks; safe from any thread."""
        self._claims.wake()

    def stop(self, grace_seconds: float) -> None:
        """Claim nothing more, and wait for what is being sent; what takes longer is sent again by the next worker."""
        self._is_stopping = True
        self._claims.stop()
        with self._lock:
            sending = list(self._sending)
        wait(sending, grace_seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._due.close()

    def _claim_and_send(self) -> None:
        while not self._is_stopping and (seq := self._find()) is not None:
            with self._database.transaction(is_durable=False) as connection:
                message = claim(connection, self._worker_id, seq, lease_milliseconds=LEASE_MILLISECONDS)
                if message is not None and self._is_too_much(connection, message):
                    end_of(message, LIMITED)(connection)
                    told = {"message_id": message.id, "outcome": str(DeliveryOutcome.LIMITED)}
                    _log.warning("message given up", extra=told)
                    continue
            if message is not None:
                self._send(message)

    def _is_too_much(self, connection: Connection, message: ClaimedMessage) -> bool:
        if message.tries > 1:
            return False
        return count_message(connection, message.kind, message.target) > self._max_per_target

    def _find(self) -> int | None:
        """Return a message that may be sent now. Looked for without the write lock, which others need meanwhile."""
        with self._lock:
            counts = Counter(message.receiver for message in self._sending.values())
        if counts.total() >= self._senders:
            return None
        return self._due.find([receiver for receiver, count in counts.items() if count >= MAX_PER_RECEIVER])

    def _send(self, message: ClaimedMessage) -> None:
        future = self._pool.submit(self._deliver, message)
        with self._lock:
            self._sending[future] = message
        future.add_done_callback(self._end)

    def _end(self, future: Future[None]) -> None:
        with self._lock:
            message = self._sending.pop(future)
        if not future.cancelled() and (error := future.exception()):
            # A fault of the program: the lease runs out, and the message is taken up again.
            _log.error("delivery broke off", extra={"message_id": message.id}, exc_info=error)
        self._claims.wake()

    def _deliver(self, message: ClaimedMessage) -> None:
        began = time.monotonic()
        delivery = self._sent(message)
        facts = {"message_id": message.id, "kind": str(message.kind), "tries": message.tries}
        told = {"outcome": str(delivery.outcome), "code": delivery.status_code}
        _log.info("delivery ended", extra=facts | told | {"seconds": round(time.monotonic() - began, 3)})
        persist(self._database, end_of(message, delivery))

    def _sent(self, message: ClaimedMessage) -> Delivery:
        try:
            # The place in the queue stands in every status; who has ended has none.
            job = json.loads(message.payload) | {"queue_position": None}
            messenger = self._messengers[message.kind]
            return messenger.send(Message(message.id, message.target, message.language, job))
        except Exception as error:
            _log.exception("a messenger failed", extra={"message_id": message.id})
            return Delivery(DeliveryOutcome.FAILED, detail=f"Sending ended with an unexpected {type(error).__name__}.")


def end_of(message: ClaimedMessage, delivery: Delivery) -> Callable[[Connection], bool]:
    """Return the change that records how a delivery ended and says what comes next."""
    end = DeliveryEnd(delivery.outcome, delivery.status_code, delivery.detail)
    if delivery.outcome is DeliveryOutcome.DELIVERED:
        return lambda connection: sent(connection, message, end)
    pause = pause_after(message.tries, delivery)
    if pause is None:
        return lambda connection: failed(connection, message, end)
    return lambda connection: reschedule(connection, message, end, pause_milliseconds=round(1000 * pause))
