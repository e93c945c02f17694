"""The messengers of a worker, as its settings say."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from service.telling.mail import Letterhead, Mailer
from service.telling.notify import Messenger, Messengers, NotSetUp
from service.telling.safe_http import SafeClient
from service.telling.smtp import MailServer
from service.telling.webhooks import MAX_REPLY_BYTES, TIMEOUT_SECONDS, Webhooks
from service.values.email_address import read_sender
from service.values.target import read_networks
from service.values.webhook_signature import read_secrets
from service.work.work_settings import WorkSettings
from storage.lifecycle import MessageKind


def messengers(settings: WorkSettings) -> Messengers:
    """Return one of each kind: also of those that are not set up, as messages of before may lie there."""
    return {MessageKind.WEBHOOK: _webhooks(settings), MessageKind.EMAIL: _mailer(settings)}


def _webhooks(settings: WorkSettings) -> Messenger:
    secrets, opened = read_secrets(settings.webhook_secrets), read_networks(settings.webhook_allow_networks)
    if not secrets:
        return NotSetUp("This service sends no webhooks any more.")
    client = SafeClient(opened, timeout_seconds=TIMEOUT_SECONDS, max_reply_bytes=MAX_REPLY_BYTES)
    scans = bool(settings.scan_command)
    return Webhooks(secrets, client, opened=opened, public_url=settings.public_url, scans=scans)


def _mailer(settings: WorkSettings) -> Messenger:
    if not (settings.smtp_host and settings.smtp_from and settings.public_url):
        return NotSetUp("This service sends no e-mail any more.")
    server = MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        timeout_seconds=settings.smtp_timeout_seconds,
        own_name=own_name(settings.public_url),
        user=settings.smtp_user,
        password=settings.smtp_password,
    )
    letterhead = Letterhead(read_sender(settings.smtp_from), settings.public_url, scans=bool(settings.scan_command))
    # The system's certificates, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
    return Mailer(server, letterhead, ssl.create_default_context())


def own_name(public_url: str) -> str:
    """Return what to greet mail servers with (RFC 5321, 4.1.3): the service's own host, an address in brackets."""
    host = urlsplit(public_url).hostname or ""
    if ":" in host:
        return f"[IPv6:{host}]"
    if host.replace(".", "").isdigit():
        return f"[{host}]"
    return host if host and host.isascii() else "localhost"
