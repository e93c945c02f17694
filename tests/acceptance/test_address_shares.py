"""One address cannot take from the others what is theirs, as a trusted proxy tells addresses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.asking import Answer, ask
from tests.acceptance.conftest import StartService
from tests.acceptance.service_process import ServiceProcess

GREEDY, VICTIM = "198.51.100.1", "2001:db8::7"


def put(service: ServiceProcess, host: str | None, data: bytes = b"x") -> Answer:
    headers = {"X_Forwarded_For": host} if host else {}
    return ask(f"{service.url}/uploads/f", "PUT", data, **headers)


def test_who_sends_ten_times_its_share_leaves_the_queue_to_others(start_service: StartService) -> None:
    service = start_service(max_queued_jobs=20, max_queued_jobs_per_address=5, embedded_worker="false")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: put(service, GREEDY), range(50)))

    refused = [answer for answer in answers if answer.status != 202]
    assert len(answers) - len(refused) == 5
    assert {(answer.status, answer.json["code"], answer.json["limit"]) for answer in refused} == {
        (429, "address_share", "max_queued_jobs_per_address")
    }
    assert {answer.headers["Retry-After"] for answer in refused} == {"30"}
    assert [put(service, host).status for host in (VICTIM, "198.51.100.2", None)] == [202] * 3
    assert len(service.statuses()) == 8
    assert ask(f"{service.url}/limits").json["max_queued_jobs_per_address"] == 5


def test_a_small_job_is_next_though_another_address_sent_a_hundred_before(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")
    for _ in range(100):
        assert put(service, GREEDY).status == 202

    job_id = put(service, VICTIM).json["id"]

    assert ask(f"{service.url}/jobs/{job_id}").json["queue_position"] <= 9
