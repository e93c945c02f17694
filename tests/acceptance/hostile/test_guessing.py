"""Somebody guesses the admin token at every door that opens with it, also where it only shows more."""

from __future__ import annotations

import pytest

from tests.acceptance.asking import Answer
from tests.acceptance.hostile.attacker import hostile_ask, statuses, together
from tests.acceptance.hostile.victim import VICTIM, beside_victim
from tests.acceptance.service_process import ServiceProcess

DOORS = ("/metrics", "/jobs", "/audit", "/readyz")
TRIES, PER_MINUTE = 40, 10


@pytest.mark.parametrize("door", DOORS)
def test_guesses_are_few_and_even_the_right_one_is_not_told_then(service: ServiceProcess, door: str) -> None:
    right = {"Authorization": f"Bearer {service.admin_token()}"}
    attacker = f"198.51.100.{DOORS.index(door) + 50}"

    def guess(number: int) -> Answer:
        wrong = {"Authorization": f"Bearer {number:032x}", "X_Forwarded_For": attacker}
        return hostile_ask(service, door, **wrong)

    with beside_victim(service):
        answers = together(guess, TRIES)
        last = hostile_ask(service, door, X_Forwarded_For=attacker, **right)

    assert statuses(answers) <= {(401, "admin_only"), (200, ""), (429, "too_many_guesses")}
    assert sum(answer.status == 429 for answer in answers) >= TRIES - PER_MINUTE - 2
    assert (last.status, last.json["code"]) == (429, "too_many_guesses")
    assert hostile_ask(service, door, X_Forwarded_For=VICTIM, **right).status == 200
