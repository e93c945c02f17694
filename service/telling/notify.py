"""The contract between the outbox and those who carry its messages: what a messenger is given, and what it answers.

``webhooks`` and ``mail`` are messengers; ``telling.outbox_loop`` asks the one of each message's kind to send it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from storage.lifecycle import DeliveryOutcome, MessageKind

RETRY_PAUSES_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000)
"""Pauses after failed deliveries: the next ones come after 5 s, 5 min, 30 min, 2 h, 5 h and 10 h; then the message has
failed. The first steps of the schedule that Standard Webhooks 1.0 gives as an example."""

JITTER = 0.25
"""A pause is longer by up to this share of it: messages that failed together do not come back together."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a messenger says of one delivery. ``detail`` is a sentence that the job's owner may read."""

    outcome: DeliveryOutcome
    status_code: int | None = None
    """Of HTTP, or of SMTP."""
    detail: str | None = None
    pause_seconds: float = 0
    """The shortest pause that the other side asked for."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one target. Repeats of it are equal."""

    id: str
    """26 characters; the same in every delivery, so that the other side can tell a repeat."""
    target: str
    """A URL, or an address of e-mail."""
    language: str
    job: Mapping[str, Any]
    """The job's row as it was when it ended, in the form ``job_document.document`` takes; ``status`` says how."""


class Messenger(Protocol):
    """Carries messages of one kind. Called by several threads at a time."""

    def send(self, message: Message) -> Delivery:
        """Send it now, once, and say how that went.

        Returns within 30 s, whatever the other side does. Logs neither the target nor what the other side said. Raises
        nothing that can be foreseen; an exception counts as a failed delivery.
        """
        ...


Messengers = Mapping[MessageKind, Messenger]


class NotSetUp:
    """The messenger of a kind that the settings say nothing of: messages wait, in the hope that they will again."""

    def __init__(self, why: str) -> None:
        self._delivery = Delivery(DeliveryOutcome.FAILED, detail=why)

    def send(self, message: Message) -> Delivery:
        """As ``Messenger.send``: say why not."""
        return self._delivery


def pause_after(tries: int, delivery: Delivery) -> float | None:
    """Return the seconds until the next try, after so many; None where the message is given up or has arrived."""
    if delivery.outcome is not DeliveryOutcome.FAILED or tries > len(RETRY_PAUSES_SECONDS):
        return None
    pause = RETRY_PAUSES_SECONDS[tries - 1] * random.uniform(1, 1 + JITTER)
    return max(pause, min(delivery.pause_seconds, RETRY_PAUSES_SECONDS[-1]))
