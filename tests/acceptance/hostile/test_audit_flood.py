"""Requests that are refused by the thousand: the audit's rows are bounded, and what makes room still works."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection

from tests.acceptance.conftest import StartService
from tests.acceptance.hostile.attacker import together
from tests.acceptance.hostile.victim import ATTACKER, beside_victim
from tests.acceptance.patience import until
from tests.acceptance.service_process import ServiceProcess

FLOODS, REQUESTS = 4, 200
ROWS = 150
DETAILS_BYTES = 300


def flood(service: ServiceProcess, count: int) -> list[int]:
    """List the jobs so often without a token, with a long search; return the statuses."""
    path, headers = f"/jobs?q={'x' * 200}&status=queued", {"X-Forwarded-For": ATTACKER}
    answered = []
    with closing(HTTPConnection(*service.address)) as connection:
        for _ in range(count):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            answered.append(answer.status)
    return answered


def floods(service: ServiceProcess) -> list[int]:
    return [status for some in together(lambda _: flood(service, REQUESTS), FLOODS) for status in some]


def count_of(service: ServiceProcess) -> Callable[[], int]:
    return lambda: int(service.rows("SELECT count(*) FROM audit_events")[0][0])


def test_refused_queries_fill_no_more_than_the_rows_there_may_be(start_service: StartService) -> None:
    service = start_service(audit_max_events=ROWS, max_queries_per_minute_per_address=1_000_000, sweep_seconds=0.2)
    flood(service, ROWS)

    with beside_victim(service):
        answered = floods(service)

    assert set(answered) == {401}
    until(lambda: count_of(service)() <= ROWS, what="no more rows than there may be")
    longest = service.rows("SELECT max(length(details)) FROM audit_events WHERE client = ?", ATTACKER)[0][0]
    assert longest <= DETAILS_BYTES


def test_one_address_is_audited_at_its_rate_and_no_other_has_less(start_service: StartService) -> None:
    service = start_service(max_queries_per_minute_per_address=240)

    with beside_victim(service):
        answered = floods(service)

    assert set(answered) == {401, 429}
    written = "SELECT count(*) FROM audit_events WHERE client = ?"
    until(lambda: service.rows(written, ATTACKER)[0][0] == answered.count(401), what="a row for each that was answered")
