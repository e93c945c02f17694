"""A service in this process behind real sockets: for what lasts, and for what a client does to its connection."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from service.app import create_app
from service.settings import Settings
from service.web.connection.protocol import limited_protocol
from service.web.connection.slow_readers import SendPace
from service.web.parts import Parts
from service.wiring.running import Service

SERVER_GRACE_SECONDS = 5


@dataclass(frozen=True)
class LiveServer:
    """Where it listens and what it works with."""

    address: tuple[str, int]
    parts: Parts
    connections: set[Any]
    """uvicorn's: one protocol each."""


@contextmanager
def live_server(
    settings: Settings, *, loop: str = "auto", send_pace: SendPace | None = None, header_timeout_seconds: float = 15
) -> Iterator[LiveServer]:
    """Serve from a thread until the block ends; ``loop`` is the kind of event loop, in uvicorn's words."""
    service = Service(settings)
    loops: list[asyncio.AbstractEventLoop] = []

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        await service.start()
        yield
        await service.stop()

    config = uvicorn.Config(
        create_app(service.parts, life),
        port=0,
        http=limited_protocol(header_timeout_seconds, service.parts.metrics.met, send_pace=send_pace),
        ws="none",
        lifespan="on",
        loop=loop,  # type: ignore[arg-type]
        log_config=None,
        timeout_graceful_shutdown=SERVER_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield LiveServer(server.servers[0].sockets[0].getsockname()[:2], service.parts, server.server_state.connections)
    finally:
        loops[0].call_soon_threadsafe(service.begin_stop)
        server.should_exit = True
        thread.join()
