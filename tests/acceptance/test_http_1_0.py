"""Clients of HTTP/1.0, which know neither chunks nor interim answers: what they get ends with its connection."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from tests.acceptance.asking import ask, succeeded, upload
from tests.acceptance.raw_socket import connected, read_to_end, status_of
from tests.acceptance.service_process import ServiceProcess

DATA = b"".join(b"line %d of a log\n" % number for number in range(200_000))
HEADERS = {"plain": "", "keeping": "Connection: keep-alive\r\n"}


@pytest.fixture(scope="module")
def job(service: ServiceProcess) -> str:
    job_id: str = upload(service.url, DATA, options="format=zstd")["id"]
    succeeded(service.url, job_id)
    return job_id


@pytest.fixture(params=HEADERS)
def more(request: pytest.FixtureRequest) -> str:
    return HEADERS[request.param]


def answer_to(service: ServiceProcess, line: str, headers: str = "") -> tuple[bytes, bytes]:
    """Return the head and the body of the answer."""
    with connected(service) as connection:
        connection.sendall(f"{line} HTTP/1.0\r\n{headers}\r\n".encode())
        came = read_to_end(connection)[0]
    head, _, body = came.partition(b"\r\n\r\n")
    return head.lower(), body


TARGETS = [
    "/",
    "/livez",
    "/limits",
    "/openapi.json",
    "/docs",
    "/nothing/here",
    "/jobs",
    "/jobs/{job}",
    "/jobs?ids={job}",
    "/jobs/{job}/result",
    "/jobs/{job}/result?format=gzip",
    "/jobs/{job}/result?format=xz",
    "/jobs/{job}/original",
    "/jobs/{job}/events",
    "/static/app.css",
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", TARGETS)
def test_no_answer_is_in_chunks_and_each_ends_its_connection(
    service: ServiceProcess, job: str, more: str, method: str, target: str
) -> None:
    head, body = answer_to(service, f"{method} {target.format(job=job)}", more)

    assert status_of(head.upper()) in (200, 401, 404, 422)
    assert b"transfer-encoding" not in head
    assert b"\r\nconnection: close" in head
    if method == "HEAD":
        assert body == b""
    elif b"\r\ncontent-length: " in head:
        assert f"\r\ncontent-length: {len(body)}\r\n".encode() in head + b"\r\n"


def test_what_is_made_while_it_is_sent_comes_whole(service: ServiceProcess, job: str, more: str) -> None:
    assert gzip.decompress(answer_to(service, f"GET /jobs/{job}/result?format=gzip", more)[1]) == DATA
    assert answer_to(service, f"GET /jobs/{job}/original", more)[1] == DATA
    coded = answer_to(service, f"GET /jobs/{job}/original", more + "Accept-Encoding: zstd\r\n")[1]
    assert zstandard.ZstdDecompressor().decompressobj().decompress(coded) == DATA


def test_an_event_stream_is_what_it_is_without_chunks(service: ServiceProcess, job: str, more: str) -> None:
    body = answer_to(service, f"GET /jobs/{job}/events", more)[1]

    assert body.startswith(b"retry: 2000\n\n")
    assert body.endswith(b"\n\n")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_answers_that_have_no_body_have_none(service: ServiceProcess, job: str, version: str, method: str) -> None:
    tag = ask(f"{service.url}/jobs/{job}").headers["ETag"]
    for status, target, header in (
        (304, f"/jobs/{job}", f"If-None-Match: {tag}"),
        (304, f"/jobs/{job}/result", "If-None-Match: *"),
        (304, f"/jobs/{job}/result?format=gzip", "If-None-Match: *"),
        (204, f"/jobs/{job}/events", f"Last-Event-ID: {tag.strip(chr(34))}"),
    ):
        with connected(service) as connection:
            line = f"{method} {target} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n"
            connection.sendall(line.encode())
            head, _, body = read_to_end(connection)[0].partition(b"\r\n\r\n")

        assert (status_of(head), body) == (status, b""), target
        assert b"transfer-encoding" not in head.lower()
        assert b"content-length" not in head.lower()
