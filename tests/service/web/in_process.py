"""A service in this process: real routes, real SQLite, real files; jobs are worked on when a test says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.app import create_app
from service.settings import Settings
from service.web.parts import Parts
from service.wiring.running import Service
from service.work.work_settings import work_settings
from storage.files.local_files import LocalFiles
from tests.service.work.bench import Bench
from tests.storage.job_builder import Row, everything

TEXT = {"Accept": "text/plain"}
PAGE = {"Accept": "text/html"}
FROM_PAGE = PAGE | {"Origin": "http://testserver"}
"""What a browser sends from the service's own page, to change something."""
PRINTABLE = "".join(map(chr, range(32, 127)))
HERE = ("127.0.0.1", 50000)
ADMIN = {"Authorization": "Bearer the-admin-token-of-tests"}


@dataclass(frozen=True)
class InProcess:
    """What a test works with."""

    client: TestClient
    application: FastAPI
    parts: Parts
    bench: Bench

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the application."""
        return self.application.routes

    def put(self, content: bytes = b"hello " * 1000, name: str = "a.txt", **options: str) -> Row:
        """Upload a raw body; return the receipt."""
        answer = self.client.put(f"/uploads/{name}", content=content, params=options)
        assert answer.status_code == 202, answer.text
        receipt: Row = answer.json()
        return receipt

    def done(self, content: bytes = b"hello " * 1000, name: str = "a.txt", **options: str) -> Row:
        """Upload a raw body, work on it here and now, and return the receipt."""
        receipt = self.put(content, name, **options)
        assert self.bench.run()["status"] == "succeeded"
        return receipt

    def status(self, job: Row | str) -> Row:
        job_id = job if isinstance(job, str) else job["id"]
        document: Row = self.client.get(f"/jobs/{job_id}").json()
        return document

    def refusal(self, method: str, url: str, status: int, code: str, **request: Any) -> Row:
        """Send a request that must be refused so; return the problem document."""
        answer = self.client.request(method, url, **request)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
        document: Row = answer.json()
        assert document["code"] == code, answer.text
        assert document["status"] == status
        return document


def key_of(receipt: Mapping[str, Any]) -> dict[str, str]:
    """Return the header with the manage key of a receipt."""
    return {"Authorization": f"Bearer {receipt['manage_key']}"}


def from_address(host: str) -> dict[str, str]:
    """Return the header that has a request of the test's client come from this address."""
    return {"X-Test-Address": host}


def _located(scope: Scope) -> Scope:
    address = dict(scope.get("headers", ())).get(b"x-test-address")
    return {**scope, "client": (address.decode(), 1)} if address else scope


def in_ascii(app: ASGIApp) -> ASGIApp:
    """Percent-encode what is not ASCII in response headers: the test's client takes nothing else."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        scope = _located(scope)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                message["headers"] = [(name, quote(value, safe=PRINTABLE).encode()) for name, value in headers]
            await send(message)

        await app(scope, receive, send_on)

    return wrapped


@contextmanager
def in_process(settings: Settings) -> Iterator[InProcess]:
    """Run a service without a worker until the block ends."""
    service = Service(settings)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    parts = service.parts
    assert isinstance(parts.store, LocalFiles)
    application = create_app(parts, life)
    with TestClient(in_ascii(application), raise_server_exceptions=False, client=HERE) as client:
        # Tests say what they accept.
        del client.headers["accept-encoding"]
        yield InProcess(client, application, parts, Bench(parts.database, parts.store, work_settings(settings)))


def events(app: InProcess) -> list[Row]:
    """Return all events, oldest first, after everything that waits has been written."""
    app.client.portal.call(_written, app)  # type: ignore[union-attr]
    return everything(app.parts.database)["audit_events"]


async def _written(app: InProcess) -> None:
    task = app.parts.audit._task
    if task is not None:
        await task
