"""The route of a job's events: what it answers, and what its streams do on real connections."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from service.settings import Settings
from service.web.following import broadcaster, event_stream, waiting
from storage.jobs import job_table
from storage.lifecycle import JobStatus
from tests.service.web.event_reader import EventReader
from tests.service.web.in_process import PAGE, TEXT, InProcess, from_address
from tests.service.web.live_server import SERVER_GRACE_SECONDS, LiveServer, live_server
from tests.storage.job_builder import act, change_row, finish, one_of_each, running, submit

UNKNOWN = "a" * 26
STREAM = "text/event-stream"


def url_of(job: dict[str, Any] | str) -> str:
    return f"/jobs/{job if isinstance(job, str) else job['id']}/events"


# What ends at once.


def test_a_job_that_has_ended_is_told_with_done_in_one_answer(app: InProcess) -> None:
    receipt = app.done()

    answer = app.client.get(url_of(receipt))

    document = app.client.get(f"/jobs/{receipt['id']}")
    identifier = document.headers["etag"].strip('"')
    assert answer.status_code == 200
    assert answer.headers["content-type"] == STREAM
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    done = {"id": receipt["id"], "status": "succeeded", "version": document.json()["version"]}
    assert answer.text == (
        "retry: 2000\n\n"
        f"id: {identifier}\nevent: status\ndata: {document.text}\n"
        f"id: {identifier}\nevent: done\ndata: {json.dumps(done)}\n\n"
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_the_final_status_is_sent_away_for_good(app: InProcess, method: str) -> None:
    receipt = app.done()
    identifier = app.client.get(f"/jobs/{receipt['id']}").headers["etag"].strip('"')

    answer = app.client.request(method, url_of(receipt), headers={"Last-Event-ID": identifier})

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("last_id", ["", "0", "999999", "1-1", '"3"', "x" * 1000])
def test_a_final_status_is_told_to_who_has_another(app: InProcess, last_id: str) -> None:
    answer = app.client.get(url_of(app.done()), headers={"Last-Event-ID": last_id})

    assert "event: status" in answer.text
    assert "event: done" in answer.text


@pytest.mark.parametrize("job_id", [UNKNOWN, "A" * 26, "x", "a" * 27])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_job_has_no_events(app: InProcess, job_id: str, method: str) -> None:
    assert app.client.request(method, url_of(job_id)).status_code == 404


def test_refusals_are_problems_whatever_the_client_accepts(app: InProcess) -> None:
    app.refusal("GET", url_of(UNKNOWN), 404, "job_not_found", headers={"Accept": STREAM})
    expired = one_of_each(app.parts.database)[JobStatus.EXPIRED]
    app.refusal("GET", url_of(expired), 410, "job_expired", headers={"Accept": STREAM})


def test_a_job_whose_time_is_over_has_no_events(app: InProcess) -> None:
    receipt = app.done()
    change_row(app.parts.database, receipt["id"], expires_at=int(time.time() * 1000) - 1)

    app.refusal("GET", url_of(receipt), 410, "job_expired")


@pytest.mark.parametrize("is_final", [True, False])
def test_head_says_what_get_would_and_opens_no_stream(app: InProcess, is_final: bool) -> None:
    receipt = app.done() if is_final else app.put()

    head = app.client.head(url_of(receipt))

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == STREAM
    assert app.parts.events.open_streams == 0


def test_streams_are_refused_beyond_their_number_and_ended_jobs_are_not(start: Callable[..., InProcess]) -> None:
    app = start(max_event_streams=0)
    done, queued = app.done(), app.put()

    app.refusal("GET", url_of(queued), 503, "too_many_streams")
    assert app.client.get(url_of(queued)).headers["retry-after"] == "5"
    assert app.client.get(url_of(done)).status_code == 200


def test_one_address_has_its_share_of_the_streams(start: Callable[..., InProcess]) -> None:
    app = start(max_event_streams_per_address=0)
    queued = app.put()

    refusal = app.refusal("GET", url_of(queued), 429, "address_share", headers=from_address("192.0.2.1"))
    assert refusal["limit"] == "max_event_streams_per_address"
    assert not app.parts.events.has_share(None)


def test_a_status_links_to_its_events_in_every_form_it_is_given(app: InProcess) -> None:
    receipt = app.put()

    assert receipt["links"]["events"] == app.status(receipt)["links"]["events"] == url_of(receipt)


@pytest.mark.parametrize("headers", [TEXT, PAGE])
def test_a_stream_is_a_stream_whatever_the_client_prefers(app: InProcess, headers: dict[str, str]) -> None:
    assert app.client.get(url_of(app.done()), headers=headers).headers["content-type"] == STREAM


# What lasts.


@pytest.fixture
def live(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    monkeypatch.setattr(broadcaster, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(broadcaster, "COMMENT_SECONDS", 0.2)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(event_stream, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(event_stream, "SEND_BUFFER_BYTES", 4096)
    with live_server(settings) as server:
        yield server


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stream_tells_each_change_and_ends_with_the_job(live: LiveServer) -> None:
    job = running(live.parts.database)
    with closing(EventReader(live.address, job.id)) as reader:
        events = reader.events()
        assert next(events).id == "2"
        assert reader.retry_milliseconds == 2000
        assert reader.response.headers["content-type"] == STREAM
        # Its limits must not outlive it.
        assert reader.response.headers["connection"] == "close"
        change_row(live.parts.database, job.id, version=3, phase="compressing", bytes_done=500)
        told = next(events)
        assert (told.name, told.id, told.data["progress"]["percent"]) == ("status", "3", 47.5)
        finish(live.parts.database, job)
        names = [(told.name, told.data["status"]) for told in events]

    assert names == [("status", "succeeded"), ("done", "succeeded")]
    until(lambda: live.parts.events.open_streams == 0)


def test_who_comes_back_is_told_nothing_until_something_changes(live: LiveServer) -> None:
    job = running(live.parts.database)
    with closing(EventReader(live.address, job.id, last_id="2")) as reader:
        events = reader.events()
        change_row(live.parts.database, job.id, version=3)
        assert next(events).id == "3"
        act(live.parts.database, lambda connection: job_table.delete_job(connection, job.id))
        assert [(told.name, told.data["code"]) for told in events] == [("gone", "job_not_found")]


def test_comments_come_while_nothing_changes(live: LiveServer) -> None:
    job_id = submit(live.parts.database)
    with closing(EventReader(live.address, job_id)) as reader:
        events = reader.events()
        next(events)
        time.sleep(1)
        change_row(live.parts.database, job_id, version=2)
        next(events)

    # Five in a second; a machine that is busy elsewhere may take its time.
    assert 2 <= reader.comments <= 6


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_leaves_is_forgotten(live: LiveServer, is_reset: bool) -> None:
    job_id = submit(live.parts.database)
    readers = [EventReader(live.address, job_id) for _ in range(5)]
    until(lambda: live.parts.events.open_streams == 5)

    for reader in readers:
        if is_reset:
            reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        reader.close()
        reader.socket.close()

    until(lambda: live.parts.events.open_streams == 0)


def test_a_client_that_does_not_read_is_dropped_and_holds_up_nobody(live: LiveServer) -> None:
    job = running(live.parts.database)
    with closing(stalled(live.address, job.id)) as deaf, closing(EventReader(live.address, job.id)) as reader:
        until(lambda: live.parts.events.open_streams == 2)
        events = reader.events()
        version = int(next(events).id)
        deadline = time.monotonic() + 30
        while live.parts.events.open_streams == 2:
            assert time.monotonic() < deadline
            version += 1
            change_row(live.parts.database, job.id, version=version)
            assert next(events).id == str(version)

        assert live.parts.events.open_streams == 1
        came = received(deaf)
    # It missed most of them, and has not the last one.
    assert len(came) < 200_000
    assert f"id: {version}\n".encode() not in came


def stalled(address: tuple[str, int], job_id: str) -> socket.socket:
    """Ask for events with a small window, and read none."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(20)
    connection.connect(address)
    connection.sendall(f"GET {url_of(job_id)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def received(connection: socket.socket) -> bytes:
    """Return what is left to be read."""
    came = b""
    try:
        while piece := connection.recv(65536):
            came += piece
    except OSError:
        return came
    return came


def test_a_client_that_reads_late_gets_the_newest(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STALL_SECONDS", 30.0)
    job = running(live.parts.database)
    with closing(stalled(live.address, job.id)) as late, closing(EventReader(live.address, job.id)) as reader:
        events = reader.events()
        next(events)
        for version in range(3, 203):
            change_row(live.parts.database, job.id, version=version)
            next(events)
        finish(live.parts.database, job)
        final = list(events)[-1].id
        came = received(late)

    ids = [int(line.removeprefix(b"id: ")) for line in came.split(b"\n") if line.startswith(b"id: ")]
    assert ids == sorted(ids)
    assert ids[-2:] == [int(final)] * 2
    # Some 15 lay in the kernel's buffers, one here; with the usual buffer of the connection it would be 90.
    assert len(ids) < 50
    assert came.endswith(b"0\r\n\r\n")
    assert json.loads(came.split(b"data: ")[-1].split(b"\n")[0])["status"] == "succeeded"


def test_a_client_that_does_not_read_does_not_hold_the_stop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, live: LiveServer
) -> None:
    monkeypatch.setattr(event_stream, "STALL_SECONDS", 300.0)
    with live_server(settings) as server:
        job = running(server.parts.database)
        with closing(EventReader(server.address, job.id)) as reader:
            deaf = [stalled(server.address, job.id) for _ in range(5)]
            events = reader.events()
            next(events)
            for version in range(3, 203):
                change_row(server.parts.database, job.id, version=version)
                next(events)
        began = time.monotonic()

    # Cut off after a second, not when the grace is over.
    assert time.monotonic() - began < SERVER_GRACE_SECONDS - 1
    for connection in deaf:
        connection.close()
