"""Live events against the real service: curl, a thousand streams, jobs that run, and the end of everything."""

from __future__ import annotations

import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, running, succeeded, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.curl import curl
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected, head, read_to_end
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import text
from tests.service.web.event_reader import EventReader, Told

GRACE_SECONDS = 10.0
LISTENERS = 1000


def test_curl_follows_a_job_to_its_end(service: ServiceProcess, tmp_path: Path) -> None:
    job = upload(service.url, text(3_000_000), options="format=xz&level=small")

    answer = curl("-N", f"{service.url}{job['links']['events']}", folder=tmp_path)

    assert (answer.code, answer.status) == (0, 200)
    assert answer.header("content-type") == "text/event-stream"
    lines = answer.body.decode().split("\n")
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names[-1] == "done"
    assert set(names[:-1]) == {"status"}
    assert '"status": "succeeded"' in lines[-3]


def test_curl_that_has_seen_the_end_gets_204(service: ServiceProcess, tmp_path: Path) -> None:
    job = upload(service.url, b"short")
    version = succeeded(service.url, job["id"])["version"]

    answer = curl("-H", f"Last-Event-ID: {version}", f"{service.url}/jobs/{job['id']}/events", folder=tmp_path)

    assert (answer.status, answer.body) == (204, b"")


def test_curl_shows_events_as_they_happen(service: ServiceProcess) -> None:
    """Nothing between row and terminal holds an event back until there are more."""
    job = upload(service.url, text(20_000_000), options="format=xz&level=small")
    running(service.url, job["id"])
    line = ["curl", "-sN", "--max-time", "60", f"{service.url}/jobs/{job['id']}/events"]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(4)]
        assert first[0] == b"retry: 2000\n"
        assert ask(f"{service.url}/jobs/{job['id']}").json["status"] == "running"
        process.terminate()
    ask(f"{service.url}/jobs/{job['id']}", "DELETE", Authorization=f"Bearer {job['manage_key']}")


def test_a_client_that_keeps_coming_back_misses_nothing_and_hears_nothing_twice(service: ServiceProcess) -> None:
    """Two watch a running job: one stays, the other leaves after each event and comes back with its last id."""
    job = upload(service.url, text(12_000_000), options="format=xz&level=small")
    stayed: list[Told] = []

    def stay() -> None:
        with closing(EventReader(service.address, job["id"])) as reader:
            stayed.extend(reader.events())

    thread = threading.Thread(target=stay)
    thread.start()
    returned = list(coming_back(service, job["id"]))
    thread.join()

    final = ask(f"{service.url}/jobs/{job['id']}").json
    for told in (stayed, returned):
        assert told[-1].name == "done"
        statuses = [event for event in told if event.name == "status"]
        # A place in the queue is part of an id; nothing else in them goes down.
        versions = [int(event.id.partition("-")[0]) for event in statuses]
        assert len({event.id for event in statuses}) == len(statuses) > 3
        assert versions == sorted(versions)
        assert statuses[-1].data == final
        assert all(event.data["version"] == version for event, version in zip(statuses, versions, strict=True))
        percents = [event.data["progress"]["percent"] for event in statuses]
        assert percents == sorted(percents)
        assert percents[-1] == 100


def coming_back(service: ServiceProcess, job_id: str) -> Iterator[Told]:
    """Take one event from each connection until there is no more to be told."""
    last_id = None
    while True:
        with closing(EventReader(service.address, job_id, last_id)) as reader:
            if reader.response.status == 204:
                return
            told = next(reader.events())
            yield told
            last_id = told.id
            if told.data["status"] == "succeeded":
                # What follows the final status stands in the same answer.
                yield from reader.events()


def test_a_job_tells_at_most_four_changes_a_second(service: ServiceProcess) -> None:
    job = upload(service.url, text(12_000_000), options="format=xz&level=small")
    began = time.monotonic()
    with closing(EventReader(service.address, job["id"])) as reader:
        count = sum(event.name == "status" for event in reader.events())

    assert count <= 2 + 4 * (time.monotonic() - began)


@contextmanager
def many_files_allowed() -> Iterator[None]:
    """Let this process, and what it starts, open as many files as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2 * LISTENERS + 200:
        pytest.skip(f"the system allows only {before[1]} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_streams(service: ServiceProcess) -> int:
    answer = ask(f"{service.url}/metrics", Authorization=f"Bearer {service.admin_token()}")
    [line] = [line for line in answer.body.decode().split("\n") if line.startswith("vacpack_event_streams ")]
    return round(float(line.split()[1]))


@pytest.mark.parametrize("files", [1024, 65536])
def test_a_thousand_open_streams_end_cleanly_when_it_is_told_to_stop(start_service: StartService, files: int) -> None:
    """Also where a shell would let the service open 1,024 files only: it raises that limit by itself."""
    with many_files_allowed(), ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, soft), hard))
        service = start_service(shutdown_grace_seconds=GRACE_SECONDS, embedded_worker="false")
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        jobs = [upload(service.url, b"waiting")["id"] for _ in range(20)]
        sockets = [stack.enter_context(connected(service)) for _ in range(LISTENERS)]
        for number, connection in enumerate(sockets):
            connection.sendall(head(f"GET /jobs/{jobs[number % len(jobs)]}/events"))
        until(lambda: open_streams(service) == LISTENERS, what="a thousand streams")

        began = time.monotonic()
        service.signal(signal.SIGTERM)
        code = service.wait(seconds=GRACE_SECONDS)
        seconds = time.monotonic() - began

        came = [read_to_end(connection)[0] for connection in sockets]
    assert code == 0, service.log()
    # Not by running out of the grace: nobody was cut off.
    assert seconds < GRACE_SECONDS - 2
    assert [answer for answer in came if not answer.endswith(b"\n\n\r\n0\r\n\r\n")] == []
    assert all(answer.count(b"event: status") == 1 for answer in came)
    assert [event for event in service.events() if event["level"] in ("warning", "error")] == []


def test_streams_beyond_their_number_are_refused_and_others_go_on(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(max_event_streams=3, embedded_worker="false")
    job = upload(service.url, b"waiting")
    readers = [EventReader(service.address, job["id"]) for _ in range(3)]
    streams = [reader.events() for reader in readers]
    assert [next(stream).name for stream in streams] == ["status"] * 3

    refused = curl(f"{service.url}/jobs/{job['id']}/events", folder=tmp_path)
    assert (refused.status, refused.json["code"]) == (503, "too_many_streams")
    assert refused.header("retry-after") == "5"
    readers[0].close()
    readers[0].socket.close()
    until(lambda: open_streams(service) == 2, what="a place")
    with closing(EventReader(service.address, job["id"])) as reader:
        assert next(reader.events()).name == "status"
    for reader in readers[1:]:
        reader.close()


def test_a_stream_goes_on_after_the_service_was_restarted(start_service: StartService) -> None:
    service = start_service(embedded_worker="false", shutdown_grace_seconds=3)
    job = upload(service.url, b"waiting")
    with closing(EventReader(service.address, job["id"])) as reader:
        events = reader.events()
        told = next(events)
        service.stop()
        assert list(events) == []
    service.settings["VACPACK_EMBEDDED_WORKER"] = "true"
    service.start()

    with closing(EventReader(service.address, job["id"], told.id)) as reader:
        again = list(reader.events())

    assert again[-1].name == "done"
    assert told.id not in [event.id for event in again]


def test_deleting_a_job_ends_its_streams(service: ServiceProcess) -> None:
    job = upload(service.url, text(20_000_000), options="format=xz&level=small")
    with closing(EventReader(service.address, job["id"])) as reader:
        events = reader.events()
        next(events)
        key = f"Bearer {job['manage_key']}"
        assert ask(f"{service.url}/jobs/{job['id']}", "DELETE", Authorization=key).status == 204
        last = list(events)[-1]

    assert (last.name, last.data["code"]) == ("gone", "job_not_found")
    with closing(EventReader(service.address, job["id"], last.id)) as reader:
        assert reader.response.status == 404
