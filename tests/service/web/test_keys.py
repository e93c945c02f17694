"""Who may do what: three ways to bring a key, and what each key opens."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from service.errors import ADMIN_ONLY, CROSS_SITE, KEY_NEEDED, ServiceError
from service.intake.commands import digest_of
from service.web.keys import Keys
from tests.service.web.asking import request_with

KEYS = Keys(admin_token="the-admin-token-of-tests", secret=b"s" * 24)
JOB, OTHER = "a" * 26, "b" * 26
MANAGE_KEY = KEYS.manage_key(JOB)
DIGEST = digest_of(MANAGE_KEY)
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


def bringing(key: str) -> list[Request]:
    """Return the requests that bring this key in every way there is."""
    return [
        request_with({"Authorization": f"Bearer {key}"}),
        request_with({"Authorization": f"bearer  {key} "}),
        request_with(query=f"key={key}"),
        request_with({"Cookie": f"other=1; vacpack_manage={key}", **OWN_PAGE}),
    ]


def test_a_manage_key_has_128_bits_and_is_the_same_each_time() -> None:
    assert len(MANAGE_KEY) == 26
    assert MANAGE_KEY.isascii()
    assert KEYS.manage_key(JOB) == MANAGE_KEY


def test_each_job_and_each_service_has_its_own_manage_keys() -> None:
    elsewhere = Keys(admin_token="the-admin-token-of-tests", secret=b"t" * 24)

    assert len({MANAGE_KEY, KEYS.manage_key(OTHER), elsewhere.manage_key(JOB), JOB}) == 4


@pytest.mark.parametrize("request_", bringing(MANAGE_KEY))
def test_a_manage_key_opens_its_job_however_it_is_brought(request_: Request) -> None:
    KEYS.check_manage(request_, DIGEST)


@pytest.mark.parametrize("request_", bringing(MANAGE_KEY))
def test_a_manage_key_opens_no_other_job_and_no_list(request_: Request) -> None:
    assert not KEYS.may_manage(request_, digest_of(KEYS.manage_key(OTHER)))
    assert not KEYS.is_admin(request_)


@pytest.mark.parametrize("request_", bringing("the-admin-token-of-tests")[:2])
def test_the_admin_token_opens_everything(request_: Request) -> None:
    KEYS.check_admin(request_)
    KEYS.check_manage(request_, DIGEST)


@pytest.mark.parametrize("request_", bringing("the-admin-token-of-tests")[2:])
def test_an_admin_token_in_an_address_or_a_cookie_opens_nothing(request_: Request) -> None:
    """Addresses stand in logs and histories, and cookies go along with what other pages ask for."""
    assert not KEYS.is_admin(request_)
    assert not KEYS.may_manage(request_, DIGEST)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_cookie_changes_something_only_where_the_browser_says_which_page_asked(method: str) -> None:
    cookie = {"Cookie": f"vacpack_manage={MANAGE_KEY}"}

    KEYS.check_manage(request_with(cookie | {"Origin": "http://testserver"}, method=method), DIGEST)
    KEYS.check_manage(request_with(cookie, method="GET"), DIGEST)
    KEYS.check_manage(request_with(cookie, method=method, query=f"key={MANAGE_KEY}"), DIGEST)
    with pytest.raises(ServiceError) as refused:
        KEYS.check_manage(request_with(cookie, method=method), DIGEST)
    assert refused.value.kind is CROSS_SITE


@pytest.mark.parametrize(
    "request_",
    [
        request_with(),
        request_with({"Authorization": f"Basic {MANAGE_KEY}"}),
        request_with({"Authorization": "Bearer"}),
        request_with({"Authorization": f"Bearer {DIGEST}"}),
        request_with({"Authorization": f"Bearer {JOB}"}),
        request_with({"Authorization": "Bearer caf\u00e9"}),
        request_with({"Authorization": f"Bearer {MANAGE_KEY[:-1]}"}),
        request_with({"Authorization": f"Bearer {MANAGE_KEY.upper()}"}),
        request_with(query="key="),
        request_with(query="key=%ff%00"),
        request_with(query=f"manage_key={MANAGE_KEY}"),
    ],
)
def test_anything_else_opens_nothing_and_is_told_what_to_send(request_: Request) -> None:
    with pytest.raises(ServiceError, match="manage_key") as managing:
        KEYS.check_manage(request_, DIGEST)
    with pytest.raises(ServiceError, match="admin token") as listing:
        KEYS.check_admin(request_)

    assert managing.value.kind is KEY_NEEDED
    assert listing.value.kind is ADMIN_ONLY
    assert listing.value.headers == {"WWW-Authenticate": "Bearer"}


def test_a_header_wins_over_a_link() -> None:
    request = request_with({"Authorization": "Bearer wrong"}, query=f"key={MANAGE_KEY}")

    assert not KEYS.may_manage(request, DIGEST)
