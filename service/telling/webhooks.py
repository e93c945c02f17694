"""Webhooks as Standard Webhooks 1.0 says: a signed POST of the job's status as it was when the job ended.

The body is the same in every delivery, the id too; the timestamp is the attempt's. How it is signed stands in
``webhook_signature``, what may be called in ``target`` and ``safe_http``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from service.job_document import as_json, document, timestamp, told_as
from service.telling.notify import Delivery, Message
from service.telling.safe_http import NoReply, Reply, SafeClient
from service.values.target import BadTarget, Networks, read_target
from service.values.webhook_signature import signature
from storage.lifecycle import DeliveryOutcome

TIMEOUT_SECONDS = 10.0
"""For everything from the name's look-up to the answer's last byte."""

MAX_REPLY_BYTES = 64 * 1024
"""Of the answer, head and body; what comes after is not read."""

GONE = 410


def body_of(message: Message, public_url: str, *, scans: bool = False) -> bytes:
    """Return what is sent: a pure function of the message, about 1 KiB."""
    job = message.job
    content = {
        "type": told_as(job["status"]),
        "timestamp": timestamp(job["finished_at"]),
        "data": document(job, public_url, scans=scans),
    }
    return as_json(content)


class Webhooks:
    """The ``Messenger`` of webhooks."""

    def __init__(
        self,
        secrets: Sequence[bytes],
        client: SafeClient,
        *,
        opened: Networks = (),
        public_url: str = "",
        scans: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``opened`` are the networks inside that ``client`` may call; ``scans`` as for ``document``."""
        self._secrets = tuple(secrets)
        self._client = client
        self._opened = opened
        self._public_url = public_url
        self._scans = scans
        self._clock = clock

    def send(self, message: Message) -> Delivery:
        """As ``Messenger.send``: 2xx is success, 410 the end, all else, redirects too, is tried again."""
        try:
            target = read_target(message.target, self._opened)
            body = body_of(message, self._public_url, scans=self._scans)
            return _judged(self._client.post(target, self._headers(message.id, body), body))
        except (BadTarget, NoReply) as error:
            return Delivery(DeliveryOutcome.FAILED, detail=str(error))

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        attempted_at = int(self._clock())
        signatures = [signature(secret, message_id, attempted_at, body) for secret in self._secrets]
        return {
            "User-Agent": f"vacpack/{version('vacpack')}",
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(attempted_at),
            "webhook-signature": " ".join(signatures),
        }


def _judged(reply: Reply) -> Delivery:
    code = reply.status_code
    if 200 <= code < 300:
        return Delivery(DeliveryOutcome.DELIVERED, code)
    if code == GONE:
        return Delivery(DeliveryOutcome.REFUSED, code, "The receiver wants no more messages.")
    if 300 <= code < 400:
        return Delivery(DeliveryOutcome.FAILED, code, "The receiver redirects; redirects are not followed.")
    pause = reply.headers.get("retry-after", "")
    seconds = float(pause) if pause.isascii() and pause.isdigit() and len(pause) < 10 else 0.0
    return Delivery(DeliveryOutcome.FAILED, code, f"The receiver answered {code}.", seconds)
