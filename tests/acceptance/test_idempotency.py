"""The same ``Idempotency-Key``: one job, however often, however quickly and through whatever crash it is repeated."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from tests.acceptance.asking import Answer, ask
from tests.acceptance.conftest import StartService
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import END, FORM, connected, head, part, read_answer, read_to_end, status_of
from tests.acceptance.service_process import ServiceProcess

DATA = b"once " * 500_000


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    process = ServiceProcess(tmp_path_factory.mktemp("idle"), embedded_worker="false")
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key of the test's own."""
    return f'"{request.node.name}"'


def put(service: ServiceProcess, key: str, data: bytes = DATA, target: str = "/uploads/f.log") -> Answer:
    return ask(f"{service.url}{target}", "PUT", data, Idempotency_Key=key)


def begin(service: ServiceProcess, connection: socket.socket, key: str) -> None:
    """Send half an upload."""
    before = service.stored()
    connection.sendall(head("PUT /uploads/f.log", f"Content-Length: {len(DATA)}", f"Idempotency-Key: {key}"))
    connection.sendall(DATA[: len(DATA) // 2])
    until(lambda: service.stored() - before, what="its part in the store")


def test_a_repeat_is_given_the_same_job_and_the_same_key(idle: ServiceProcess, key: str) -> None:
    first = put(idle, key)
    before = idle.stored()

    again, bare = put(idle, key), put(idle, key.strip('"'))

    assert [answer.status for answer in (first, again, bare)] == [202] * 3
    assert first.json == again.json == bare.json
    assert idle.stored() == before


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (DATA + b"more", "/uploads/f.log"),
        (DATA.swapcase(), "/uploads/f.log"),
        (DATA, "/uploads/g.log"),
        (DATA, "/uploads/f.log?format=gzip"),
    ],
    ids=["length", "bytes", "name", "option"],
)
def test_another_request_may_not_use_the_key(idle: ServiceProcess, key: str, data: bytes, target: str) -> None:
    put(idle, key)
    before = idle.stored(), idle.statuses()

    answer = put(idle, key, data, target)

    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")
    assert (idle.stored(), idle.statuses()) == before


def test_a_repeat_takes_over_from_a_request_that_is_still_arriving(idle: ServiceProcess, key: str) -> None:
    jobs, files = idle.statuses(), idle.stored()
    with connected(idle) as first:
        begin(idle, first, key)

        again = put(idle, key)

        answer, _ = read_to_end(first)
    assert again.status == 202
    assert status_of(answer) in (0, 409)
    assert not answer or b'"superseded"' in answer
    assert set(idle.statuses()) - set(jobs) == {again.json["id"]}
    until(lambda: len(idle.stored() - files) == 1, what="one file")


def test_a_mismatch_leaves_the_request_that_is_still_arriving_alone(idle: ServiceProcess, key: str) -> None:
    with connected(idle) as first:
        begin(idle, first, key)

        assert put(idle, key, b"another").json["code"] == "idempotency_mismatch"

        first.sendall(DATA[len(DATA) // 2 :])
        assert read_answer(first).status == 202


def test_many_at_once_make_one_job(idle: ServiceProcess, key: str) -> None:
    jobs, files = idle.statuses(), idle.stored()

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: put(idle, key), range(10)))

    assert {answer.status for answer in answers} <= {202, 409}
    assert {answer.json["code"] for answer in answers if answer.status == 409} <= {"superseded"}
    made = {answer.json["id"] for answer in answers if answer.status == 202}
    assert len(made) == 1
    assert set(idle.statuses()) - set(jobs) == made
    until(lambda: len(idle.stored() - files) == 1, what="one file")


@pytest.mark.parametrize("is_first", [True, False], ids=["key first", "key last"])
def test_a_form_s_hidden_field_is_a_key_too(idle: ServiceProcess, key: str, is_first: bool) -> None:
    fields = [part("idempotency_key", key.strip('"').encode()), part("file", DATA, filename="f")]
    body = b"".join(fields if is_first else reversed(fields)) + END

    def post() -> Answer:
        with connected(idle) as connection:
            connection.sendall(head("POST /uploads", FORM, f"Content-Length: {len(body)}") + body)
            return read_answer(connection)

    first = post()
    before = idle.stored()
    again = post()

    assert (first.status, again.status) == (202, 202)
    assert again.json == first.json
    until(lambda: idle.stored() == before, what="the second file gone")


@pytest.mark.parametrize("is_first", [True, False], ids=["key first", "key last"])
@pytest.mark.parametrize("size_bytes", [5, len(DATA)], ids=["small", "large"])
def test_a_form_s_key_is_not_taken_for_other_bytes(
    idle: ServiceProcess, key: str, size_bytes: int, is_first: bool
) -> None:
    def post(data: bytes, accept: str) -> Answer:
        fields = [part("idempotency_key", key.strip('"').encode()), part("file", data, filename="f")]
        body = b"".join(fields if is_first else reversed(fields)) + END
        with connected(idle) as connection:
            connection.sendall(head("POST /uploads", FORM, f"Accept: {accept}", f"Content-Length: {len(body)}") + body)
            return read_answer(connection)

    first = post(DATA[:size_bytes], "application/json")
    other = post(DATA[: size_bytes - 1] + b"!", "application/json")
    assert (first.status, other.status, other.json["code"]) == (202, 422, "idempotency_mismatch")

    jobs = set(idle.statuses())
    assert [post(data, "text/html").status for data in (DATA[:size_bytes], b"another file", DATA[:size_bytes])] == [
        202
    ] * 3
    assert len(set(idle.statuses()) - jobs) == 2, "the same file again is the same job, another is one of its own"


def test_a_form_with_another_option_of_the_same_length_is_another_request(idle: ServiceProcess, key: str) -> None:
    def post(name: bytes) -> Answer:
        body = part("format", name) + part("file", DATA, filename="f") + END
        with connected(idle) as connection:
            connection.sendall(
                head("POST /uploads", FORM, f"Content-Length: {len(body)}", f"Idempotency-Key: {key}") + body
            )
            return read_answer(connection)

    assert post(b"gzip").status == 202

    assert post(b"zstd").json["code"] == "idempotency_mismatch"
    assert post(b"gzip").status == 202


def test_a_repeat_that_names_its_digest_is_answered_before_its_body(idle: ServiceProcess, key: str) -> None:
    digest = b64encode(sha256(DATA).digest()).decode()
    lines = (f"Content-Length: {len(DATA)}", f"Idempotency-Key: {key}", f"Repr-Digest: sha-256=:{digest}:")
    with connected(idle) as connection:
        connection.sendall(head("PUT /uploads/f.log", *lines) + DATA)
        first = read_answer(connection)

    with connected(idle) as connection:
        connection.sendall(head("PUT /uploads/f.log", *lines))
        again = read_answer(connection)

    assert (first.status, again.status) == (202, 202)
    assert again.json == first.json


def test_a_key_whose_job_was_deleted_makes_a_new_one(idle: ServiceProcess, key: str) -> None:
    first = put(idle, key).json
    ask(f"{idle.url}/jobs/{first['id']}?key={first['manage_key']}", "DELETE")

    assert put(idle, key).json["id"] != first["id"]


def test_a_repeat_after_a_crash_finds_the_job_that_was_made(start_service: StartService, key: str) -> None:
    service = start_service(embedded_worker="false")
    first = put(service, key).json
    service.kill()
    service.start()

    again = put(service, key)

    assert again.status == 202
    assert (again.json["id"], again.json["manage_key"]) == (first["id"], first["manage_key"])
    assert list(service.statuses()) == [first["id"]]
    assert len(service.stored()) == 1


def test_a_repeat_after_a_crash_half_way_makes_the_one_job(start_service: StartService, key: str) -> None:
    service = start_service(embedded_worker="false")
    with connected(service) as first:
        begin(service, first, key)
        service.kill()
    service.start()
    assert service.holds_nothing()

    again = put(service, key)

    assert again.status == 202
    assert list(service.statuses()) == [again.json["id"]]
    assert len(service.stored()) == 1
