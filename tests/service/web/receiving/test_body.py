"""Bodies that do not come whole: silence, hang-ups, and answers given before the body was read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from service.errors import BAD_REQUEST, BODY_TRUNCATED, LENGTH_REQUIRED, RECEIVE_TIMEOUT, ErrorKind, ServiceError
from service.web.problems import LingeringResponse
from service.web.receiving.body import Body, ClientGone, Pace
from tests.service.web.in_process import ADMIN, InProcess
from tests.storage.job_builder import everything

GONE: Message = {"type": "http.disconnect"}
FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
FORM_TYPE = (b"content-type", b"multipart/form-data; boundary=b")


def piece(content: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


class Client:
    """Sends these messages, then keeps silent; keeps what it is sent."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = list(messages)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def unread(self) -> int:
        return len(self._messages)


def scope_of(method: str = "PUT", path: str = "/a.txt", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"testserver"), *headers],
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
    }


def chunks_of(
    messages: Iterable[Message], *headers: tuple[bytes, bytes], timeout_seconds: float = 5
) -> tuple[list[bytes], Body]:
    client = Client(messages)

    async def read() -> tuple[list[bytes], Body]:
        scope = scope_of("PUT", "/a.txt", *headers)
        body = Body(Request(scope, client.receive), Pace(timeout_seconds), max_bytes=2**40)
        return [chunk async for chunk in body.chunks()], body

    return asyncio.run(read())


def test_a_body_comes_in_its_pieces_without_the_empty_ones() -> None:
    chunks, body = chunks_of([piece(b"a"), piece(b""), piece(b"bc"), piece(b"", more=False)])

    assert chunks == [b"a", b"bc"]
    assert body.is_finished


def test_silence_ends_a_body() -> None:
    with pytest.raises(ServiceError, match=r"0\.05 seconds") as caught:
        chunks_of([piece(b"a")], timeout_seconds=0.05)

    assert caught.value.kind is RECEIVE_TIMEOUT


def test_a_hang_up_ends_a_body() -> None:
    with pytest.raises(ClientGone):
        chunks_of([piece(b"a"), GONE])


def length(value: bytes) -> tuple[bytes, bytes]:
    return b"content-length", value


SIX = [piece(b"abc"), piece(b""), piece(b"def", more=False)]


def test_a_body_as_long_as_announced_comes_whole() -> None:
    assert chunks_of(SIX, length(b"6"))[0] == [b"abc", b"def"]
    assert chunks_of(SIX, length(b" 6 "), length(b"6"))[0] == [b"abc", b"def"]
    assert chunks_of([piece(b"", more=False)], length(b"0"))[0] == []


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ([b"7"], BODY_TRUNCATED),
        ([b"99999999999999999999"], BODY_TRUNCATED),
        ([b"5"], BAD_REQUEST),
        ([b"0"], BAD_REQUEST),
        ([b"6", b"7"], BAD_REQUEST),
        ([b"6, 6"], BAD_REQUEST),
        ([b"+6"], BAD_REQUEST),
        ([b"-6"], BAD_REQUEST),
        ([b"6_0"], BAD_REQUEST),
        ([b"\xb2"], BAD_REQUEST),
        ([b""], BAD_REQUEST),
    ],
)
def test_a_body_of_another_length_is_an_error(declared: list[bytes], kind: ErrorKind) -> None:
    with pytest.raises(ServiceError) as caught:
        chunks_of(SIX, *map(length, declared))

    assert caught.value.kind is kind


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_body_that_is_not_announced_is_none_in_http_1(version: str) -> None:
    async def read(**changes: Any) -> list[bytes]:
        client = Client([piece(b"", more=False)])
        body = Body(Request(scope_of() | changes, client.receive), Pace(5), max_bytes=2**40)
        return [chunk async for chunk in body.chunks()]

    with pytest.raises(ServiceError) as caught:
        asyncio.run(read(http_version=version))

    assert caught.value.kind is LENGTH_REQUIRED
    chunked = [(b"transfer-encoding", b"chunked")]
    assert asyncio.run(read(http_version=version, headers=chunked)) == []
    assert asyncio.run(read(http_version="2")) == []


@pytest.mark.parametrize("lie", [-1, 1, 1_000_000])
@pytest.mark.parametrize("size", [1, 10, 3_000_000])
@pytest.mark.parametrize("is_form", [False, True])
def test_whatever_the_server_makes_of_a_body_no_job_is_made_of_another_length(
    app: InProcess, is_form: bool, size: int, lie: int
) -> None:
    """A parser that loses bytes, or finds too many, must not have its way: uvicorn's did, at an offer to upgrade."""
    content = FORM_HEAD + bytes(size) + b"\r\n--b--\r\n" if is_form else bytes(size)
    declared = len(content) + lie
    door = ("POST", "/uploads", FORM_TYPE) if is_form else ("PUT", "/a.txt")
    half = len(content) // 2
    client = Client([piece(content[:half]), piece(content[half:], more=False)])

    status = answered(app, client, scope_of(*door, length(b"%d" % declared)))  # type: ignore[arg-type]

    assert status == 400
    assert everything(app.parts.database)["jobs"] == []
    assert app.bench.stored_keys() == set()
    assert app.bench.parts() == []


def lingering(client: Client, *, drain_bytes: int = 100, drain_seconds: float = 5) -> list[Message]:
    done: list[int] = []
    inner = Response(b"no", 413, background=BackgroundTask(lambda: done.append(len(client.sent))))
    response = LingeringResponse(inner, drain_bytes=drain_bytes, drain_seconds=drain_seconds)
    asyncio.run(response(scope_of(), client.receive, client.send))
    assert done == [3]
    return client.sent


def test_an_early_answer_is_sent_whole_before_the_body_is_read_on() -> None:
    client = Client([piece(b"x" * 10), piece(b"x", more=False), piece(b"of the next request")])

    start, body, end = lingering(client)

    assert start["status"] == 413
    assert (b"connection", b"close") in start["headers"]
    assert (body["body"], body["more_body"]) == (b"no", True)
    assert (end["body"], end["more_body"]) == (b"", False)
    assert client.unread == 1


def test_reading_on_is_bounded_in_bytes() -> None:
    client = Client([piece(b"x" * 60) for _ in range(10)])

    lingering(client, drain_bytes=100)

    assert client.unread == 8


def test_reading_on_is_bounded_in_time() -> None:
    began = time.monotonic()

    assert len(lingering(Client([piece(b"x")]), drain_seconds=0.05)) == 3
    assert time.monotonic() - began < 3


def test_reading_on_ends_when_the_client_has_gone() -> None:
    assert len(lingering(Client([GONE]))) == 3


def answered(app: InProcess, client: Client, scope: dict[str, Any]) -> int:
    asyncio.run(app.application(scope, client.receive, client.send))
    status: int = client.sent[0]["status"]
    return status


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize(
    ("scope", "head"), [(scope_of(), b""), (scope_of("POST", "/uploads", FORM_TYPE), FORM_HEAD)], ids=["raw", "form"]
)
def test_an_upload_whose_client_has_gone_leaves_nothing_and_no_trace_in_the_log(
    app: InProcess, size: int, scope: dict[str, Any], head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client([piece(head), *(piece(bytes(size // 3)) for _ in range(3)), GONE])

    assert answered(app, client, scope) == 499

    assert everything(app.parts.database)["jobs"] == []
    assert app.bench.stored_keys() == set()
    assert app.bench.parts() == []
    assert not [record for record in caplog.records if record.exc_info]
    assert 'outcome="abandoned"} 1.0' in app.client.get("/metrics", headers=ADMIN).text


def test_a_silent_upload_is_given_up_and_leaves_nothing(start: Any) -> None:
    app = start(receive_timeout_seconds=0.1, early_refusal_drain_seconds=0.1)

    assert answered(app, Client([piece(bytes(2_000_000))]), scope_of()) == 408

    assert app.bench.stored_keys() == set()
    assert app.bench.parts() == []


def test_a_refusal_known_from_the_headers_is_sent_before_a_byte_is_read(app: InProcess) -> None:
    client = Client([piece(bytes(1000)) for _ in range(5)])
    read_when_answered: list[int] = []
    send = client.send

    async def watched(message: Message) -> None:
        read_when_answered.append(client.unread)
        await send(message)

    client.send = watched  # type: ignore[method-assign]
    too_large = (b"content-length", str(2**50).encode())

    assert answered(app, client, scope_of("PUT", "/a.txt", too_large)) == 413
    assert read_when_answered[:2] == [5, 5]
