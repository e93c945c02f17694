"""Fields after a body: never taken for headers, and refused where they would change what the body means."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.patience import until
from tests.acceptance.raw_socket import CHUNKED, chunk, connected, head, read_answer
from tests.acceptance.service_process import ServiceProcess

CONTENT = b"what was sent"
WRONG = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
REFUSED = {
    f"Repr-Digest: {WRONG}": "bad_digest",
    "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==": "bad_digest",
    "Content-Encoding: gzip": "unsupported_header",
    "content-range: bytes 0-4/10": "unsupported_header",
    "Content-Disposition: attachment; filename=evil": "unsupported_header",
}
PASSED_OVER = (
    'Idempotency-Key: "from the end"',
    "Origin: http://evil.example",
    "Server-Timing: total;dur=1",
    "Authorization: Bearer nobody",
)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without a worker."""
    process = ServiceProcess(tmp_path_factory.mktemp("idle"), embedded_worker="false")
    try:
        yield process.start()
    finally:
        process.kill()


def pieces(start: bytes, trailer: str, how: str) -> list[bytes]:
    end = b"0\r\n" + trailer.encode() + b"\r\n\r\n"
    body = chunk(CONTENT)
    if how == "at once":
        return [start + body + end]
    if how == "two pieces":
        return [start + body, end]
    return [start, *(bytes([byte]) for byte in body + end)]


@pytest.mark.parametrize("how", ["at once", "two pieces", "byte by byte"])
@pytest.mark.parametrize("trailer", [*REFUSED, *PASSED_OVER])
def test_a_field_after_the_body_is_the_same_however_it_arrives(idle: ServiceProcess, trailer: str, how: str) -> None:
    before = set(idle.statuses())
    with connected(idle) as connection:
        for piece in pieces(head("PUT /sent.txt", CHUNKED), trailer, how):
            connection.sendall(piece)
        answer = read_answer(connection)

    if trailer in REFUSED:
        assert (answer.status, answer.json["code"]) == (400, REFUSED[trailer])
        until(lambda: set(idle.statuses()) == before, what="no job of it")
    else:
        assert (answer.status, answer.json["name"]) == (202, "sent.txt")


def test_no_key_is_shown_after_the_body(idle: ServiceProcess) -> None:
    token = (idle.data_dir / "admin-token").read_text().strip()
    with connected(idle) as connection:
        start = head("GET /metrics", CHUNKED)
        connection.sendall(pieces(start, f"Authorization: Bearer {token}", "at once")[0])
        assert read_answer(connection).status == 401


@pytest.mark.parametrize(
    "fields", ["X: " + "x" * 600_000, "\r\n".join(["X: x"] * 100_000)], ids=["a long one", "many of them"]
)
def test_fields_after_the_body_have_the_limit_of_a_head(idle: ServiceProcess, fields: str) -> None:
    """What arrives in one piece with the body's end is not counted: at most 256 KiB, the loop's own reading."""
    before = set(idle.statuses())
    with connected(idle) as connection:
        connection.sendall(head("PUT /sent.txt", CHUNKED) + chunk(CONTENT))
        connection.sendall(b"0\r\n" + fields.encode())
        answer = read_answer(connection)

    assert (answer.status, answer.json["code"]) == (431, "headers_too_large")
    assert set(idle.statuses()) == before
