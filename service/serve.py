"""One service process from start to end: it owns the signals, so that told to stop it drains and exits with 0.

uvicorn alone raises the signal again and exits with 143, and waits for open streams for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager

import structlog
import uvicorn

from service.app import create_app
from service.machine import logs
from service.machine.allocator import keep_freed_memory
from service.machine.open_files import raise_open_file_limit
from service.settings import Settings, missing_for_email
from service.start.holdings import prepare, served_alone
from service.start.listening import bind, is_reached_from_elsewhere, listen, url_of
from service.web.connection.protocol import limited_protocol
from service.web.connection.slow_readers import SendPace
from service.web.parts import Parts
from service.web.request_id import request_id
from service.wiring.running import Service

KEEP_ALIVE_SECONDS = 65
"""Longer than the usual 60 s of proxies, so that it is never us who closes a connection they are about to use."""

CLEAN_UP_SECONDS = 1.0
"""For requests that were cut off, to remove what they received."""

_log = structlog.stdlib.get_logger("vacpack.serve")


class Server(uvicorn.Server):
    """uvicorn with our own reaction to signals."""

    def __init__(
        self, config: uvicorn.Config, on_stop: Callable[[], None], on_start: Callable[[list[str]], None]
    ) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._on_start = on_start

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """React to SIGTERM and SIGINT from inside the loop, and raise nothing again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._on_stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, then say where."""
        await super().startup(sockets)
        if self.started:
            self._on_start([url_of(each) for each in sockets or ()])


def serve(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        CannotStart: another service holds the data folder, or it cannot be used; or the address is taken.
    """
    logs.configure(log_format=settings.log_format, level=settings.log_level, context=_context)
    keep_freed_memory()
    raise_open_file_limit()
    with served_alone(settings) as data_folder, ExitStack() as bound:
        sockets = [bound.enter_context(each) for each in bind(settings.host, settings.port)]
        prepare(settings)
        service = Service(settings, data_folder)
        service.sweep_at_start()
        app = create_app(service.parts, lambda: _life(service, server.server_state.tasks))
        config = uvicorn.Config(
            app,
            http=limited_protocol(
                settings.header_timeout_seconds,
                service.parts.metrics.met,
                connections=service.connections,
                send_pace=_send_pace(settings, service.parts),
            ),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(settings.shutdown_grace_seconds - 1)),
        )
        server = Server(config, on_stop=service.begin_stop, on_start=_tell(settings))
        # What was made up to here stays to the end: no collection looks at it again, nor does the end of the process.
        # A stop takes 0.17 s instead of 0.45, a start and a stop 1.37 s of CPU instead of 1.65 (medians of 8).
        gc.freeze()
        listen(sockets, config.backlog)
        if os.environ.get("FORWARDED_ALLOW_IPS") == "*" and is_reached_from_elsewhere(sockets):
            _log.warning("FORWARDED_ALLOW_IPS is *: whoever reaches the service chooses the address that limits count")
        server.run(sockets)


def _send_pace(settings: Settings, parts: Parts) -> SendPace:
    told = parts.metrics.limits_met.labels("send_min_bytes_per_second").inc
    return SendPace(settings.send_min_bytes_per_second, settings.send_rate_seconds, told)


def _tell(settings: Settings) -> Callable[[list[str]], None]:
    def tell(urls: list[str]) -> None:
        others = {"also": " ".join(urls[1:])} if len(urls) > 1 else {}
        _log.info(
            "serving",
            url=urls[0],
            **others,
            data_dir=str(settings.data_dir),
            worker="embedded" if settings.embedded_worker else "none",
        )
        missing = missing_for_email(settings)
        if settings.smtp_host and missing:
            _log.warning("e-mail is off", missing=", ".join(missing))

    return tell


def _context() -> dict[str, str]:
    identifier = request_id.get()
    return {"request_id": identifier} if identifier else {}


@asynccontextmanager
async def _life(service: Service, requests: set[asyncio.Task[None]]) -> AsyncIterator[None]:
    await service.start()
    try:
        yield
    finally:
        # uvicorn cancels what is left of the requests when the grace is over, and does not wait until they have removed
        # what they received: for that they need the parts.
        if requests:
            await asyncio.wait(requests, timeout=CLEAN_UP_SECONDS)
        await service.stop()
