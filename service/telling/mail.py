"""E-mail to those whom an upload named: one message each when its job has ended, in the uploader's language.

Composing is a pure function of the job's row; ``Mailer`` hands the message in through ``smtp`` and says how it went.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from service.job_document import has_original, readable_size, saved_percent
from service.language import words
from service.telling.mail_subject import POLICY
from service.telling.notify import Delivery, Message
from service.telling.smtp import MailRefused, MailServer, MailServerFailed, hand_in
from storage.lifecycle import DeliveryOutcome, JobStatus

KEPT = "kept"
"""What a message says of a result that is the source as it came; of all others it says the job's status."""

MAX_NAME_LENGTH = 80
"""Characters of a file's name in a subject."""

_environment = Environment(
    loader=PackageLoader("service.telling", "mail_templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_log = logging.getLogger(__name__)

Row = Mapping[str, Any]

ACCEPTED = 250
_FOR_GOOD = range(500, 600)
_LOGIN_WANTED = 530
"""Says nothing of the message (RFC 4954, 6): an operator can mend it."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all messages of a service have: whom they come from, and where their links lead."""

    sender: Address
    public_url: str
    scans: bool = False
    """As for ``document``."""


class Mailer:
    """The ``Messenger`` of e-mail."""

    def __init__(self, server: MailServer, letterhead: Letterhead, context: ssl.SSLContext) -> None:
        """``context`` says which certificates of mail servers are believed."""
        self._server = server
        self._letterhead = letterhead
        self._context = context

    def send(self, message: Message) -> Delivery:
        """As ``Messenger.send``: only what the server says of this message for good (5xx) ends it.

        No connection, no trust and no login are tried again: they can be mended without the message.
        """
        now = datetime.now(UTC)
        email = compose(
            message.job,
            self._letterhead,
            message_id=message.id,
            recipient=message.target,
            language=message.language,
            now=now,
        )
        sender = self._letterhead.sender.addr_spec
        try:
            hand_in(self._server, self._context, email, sender=sender, recipient=message.target)
        except MailRefused as refused:
            is_final = refused.code in _FOR_GOOD and refused.code != _LOGIN_WANTED
            outcome = DeliveryOutcome.REFUSED if is_final else DeliveryOutcome.FAILED
            return Delivery(outcome, refused.code, f"The mail server answered: {refused.code} {refused.text}")
        except MailServerFailed as failed:
            _log.warning("the mail server could not be used", extra={"message_id": message.id, "reason": str(failed)})
            return Delivery(DeliveryOutcome.FAILED, detail="The mail server could not be used.")
        return Delivery(DeliveryOutcome.DELIVERED, ACCEPTED)


def compose(
    job: Row, letterhead: Letterhead, *, message_id: str, recipient: str, language: str, now: datetime
) -> EmailMessage:
    """Return the message that tells one recipient how a job has ended; ``job`` is its row as it was then.

    ``message_id`` becomes the Message-ID, the same whenever it is sent again, so that repeats can be dropped.
    """
    content = _content(job, letterhead, language)
    email = EmailMessage(POLICY)
    email["From"] = letterhead.sender
    email["To"] = Address(addr_spec=recipient)
    email["Subject"] = content["subject"]
    email["Date"] = now
    email["Message-ID"] = f"<{message_id}@{letterhead.sender.domain}>"
    # No answering machine answers it (RFC 3834).
    email["Auto-Submitted"] = "auto-generated"
    email.set_content(_environment.get_template("ended.txt").render(content))
    email.add_alternative(_environment.get_template("ended.html").render(content), subtype="html")
    # After the content, which takes such headers with it into its first part.
    email["Content-Language"] = language
    return email


def _content(job: Row, letterhead: Letterhead, language: str) -> dict[str, Any]:
    say = words(language)
    name = on_one_line(job["name"])
    outcome = KEPT if job["status"] == JobStatus.SUCCEEDED and job["stored_as_is"] else job["status"]
    sizes = {"before": readable_size(job["source_size_bytes"]), "after": readable_size(job["result_size_bytes"] or 0)}
    short = name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
    return {
        "language": language,
        "subject": say(f"mail.subject.{outcome}", name=short, **sizes),
        "lead": say(f"mail.lead.{outcome}", name=name),
        "facts": [(say(f"mail.{label}"), value) for label, value in _facts(job, outcome, language).items()],
        "links": [(say(f"mail.{label}"), url) for label, url in _links(job, letterhead).items()],
        "colon": say("mail.colon"),
        "why": say("mail.why"),
    }


def _facts(job: Row, outcome: str, language: str) -> dict[str, str]:
    say = words(language)
    facts = {"size": _size(job, outcome, language)}
    if job["source_files"] > 1:
        facts["files"] = str(job["source_files"])
    if outcome == JobStatus.FAILED:
        code = job["error_code"]
        facts["reason"] = f"{say(f'failure.{code}')} ({code})"
    if job["expires_at"] is not None:
        facts["kept_until"] = f"{datetime.fromtimestamp(job['expires_at'] / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return facts


def _size(job: Row, outcome: str, language: str) -> str:
    before, after = job["source_size_bytes"], job["result_size_bytes"]
    if outcome != JobStatus.SUCCEEDED:
        return readable_size(before)
    percent = saved_percent(job)
    values = {"before": readable_size(before), "after": readable_size(after), "format": job["result_format"]}
    key = "mail.size.smaller" if percent >= 0 else "mail.size.larger"
    return words(language)(key, percent=f"{abs(percent):g}", **values)


def _links(job: Row, letterhead: Letterhead) -> dict[str, str]:
    base = f"{letterhead.public_url}/jobs/{job['id']}"
    has_result = job["status"] == JobStatus.SUCCEEDED
    links = {"result": f"{base}/result"} if has_result else {}
    if has_original(job, scans=letterhead.scans):
        links["original"] = f"{base}/original"
    return links | {"job": base}


def on_one_line(name: str) -> str:
    """Return a file's name as it may stand in a header: without line ends, controls and what turns text round.

    Nor with what begins an encoded word (RFC 2047): the library decodes ``=?…?=`` in what it is given, and until
    Python 3.11.10 and 3.12.5 wrote out the line ends that came of it (CVE-2024-6923).
    """
    return "".join(letter if letter.isprintable() else " " for letter in name).replace("=?", "= ?")
