"""Whom an upload wants told of its job's end: ``notify_email`` and ``callback_url``, read into subscribers."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request

from service.errors import BAD_OPTION, OPTION_NOT_OFFERED, ServiceError
from service.settings import PREFIX, Settings, missing_for_email
from service.values.email_address import MAX_ADDRESSES, BadAddress, read_addresses
from service.values.target import BadTarget, read_networks, read_target
from service.web.page.language import language_of
from storage.lifecycle import MessageKind
from storage.messages.outbox import Subscriber

NOTIFY_EMAIL = "notify_email"
CALLBACK_URL = "callback_url"


def read_subscribers(values: Mapping[str, str], request: Request, settings: Settings) -> tuple[Subscriber, ...]:
    """Return whom the options among ``values`` name, in the language of the request.

    Raises:
        ServiceError: bad_option, option_not_offered.
    """
    addresses, url = values.get(NOTIFY_EMAIL), values.get(CALLBACK_URL)
    by_email = () if addresses is None else _email_subscribers(addresses, request, settings)
    return by_email if url is None else (*by_email, _webhook_subscriber(url, request, settings))


def _email_subscribers(asked: str, request: Request, settings: Settings) -> tuple[Subscriber, ...]:
    if missing := missing_for_email(settings):
        detail = (
            f"This service sends no e-mail: {', '.join(missing)} would have to be set where it runs. "
            f"Leave {NOTIFY_EMAIL} out, and ask for the job's status."
        )
        raise ServiceError(OPTION_NOT_OFFERED, detail, option=NOTIFY_EMAIL)
    try:
        addresses = read_addresses(asked, allowed_domains=settings.email_domains())
    except BadAddress as bad:
        raise ServiceError(BAD_OPTION, f"{NOTIFY_EMAIL}: {bad}", option=NOTIFY_EMAIL, max_count=MAX_ADDRESSES) from bad
    language = language_of(request)
    # All of them go through one server: it is the receiver that can be busy.
    return tuple(Subscriber(MessageKind.EMAIL, address, settings.smtp_host, language) for address in addresses)


def _webhook_subscriber(url: str, request: Request, settings: Settings) -> Subscriber:
    if not settings.webhook_secrets.get_secret_value():
        detail = (
            f"This service sends no webhooks: {PREFIX}WEBHOOK_SECRETS would have to be set where it runs. "
            f"Leave {CALLBACK_URL} out, and ask for the job's status."
        )
        raise ServiceError(OPTION_NOT_OFFERED, detail, option=CALLBACK_URL)
    try:
        target = read_target(url, read_networks(settings.webhook_allow_networks))
    except BadTarget as bad:
        raise ServiceError(BAD_OPTION, f"{CALLBACK_URL}: {bad}", option=CALLBACK_URL) from bad
    return Subscriber(MessageKind.WEBHOOK, url, target.authority[:255], language_of(request))
