"""The HTTP application: the routes of ``web`` over the parts it is given, and what runs from start to end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from socket import gethostname

from fastapi import FastAPI

from service.web import audit, deliveries, documented, events, front, health, jobs, limits, problems, results, uploads
from service.web.middleware import RequestScope
from service.web.page import pages
from service.web.parts import Parts
from service.web.sites import Sites

CONTRACT_VERSION = "1"
"""Of what the description promises. Which release answers is nobody's business but the operator's."""

BUSY = frozenset({"get_job", "post_upload", "put_named"})
"""Routes that answer nearly all requests of a busy service."""

Life = Callable[[], AbstractAsyncContextManager[None]]


def create_app(parts: Parts, life: Life) -> FastAPI:
    """Return the application; ``life`` is entered before the first request and left after the last."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with life():
            yield

    app = FastAPI(
        title="vacpack",
        version=CONTRACT_VERSION,
        description=documented.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Nothing here hands these to anybody: looking for a receiver cost 6 % of a status request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        servers=[{"url": parts.settings.path_prefix() or "/"}],
    )
    app.state.parts = parts
    problems.install(app)
    # One flat list, tried in turn, the busy routes first. ``include_router`` would nest them: 0.1 ms a request.
    rooms = (jobs, uploads, results, events, deliveries, audit, front, limits, health)
    routes = [route for room in rooms for route in room.router.routes]
    app.router.routes.extend(sorted(routes, key=lambda route: getattr(route, "name", "") not in BUSY))
    app.mount("/static", pages.Assets(directory=pages.STATIC), name="static")
    app.mount("/docs/assets", pages.Assets(directory=front.DOCS_FOLDER), name="docs-assets")
    settings = parts.settings
    sites = Sites(settings.public_url, settings.allowed_hosts, own_name=gethostname())
    app.add_middleware(RequestScope, metrics=parts.metrics, sites=sites, path_prefix=settings.path_prefix())
    documented.complete(app)
    return app
