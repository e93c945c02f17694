"""Is it alive, is it ready, and what has it done: for operators and their machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response

from service.errors import NOT_HEALTHY, ServiceError
from service.failures import TROUBLES
from service.web import documented
from service.web.parts import Parts, parts_of
from service.web.routing import get_and_head
from storage import clock_table
from storage.clock import is_remarkable, unproven
from storage.errors import StorageError, StorageLost
from storage.jobs.job_views import live_workers, overdue_leases
from storage.trouble import Trouble

router = APIRouter(tags=["operations"])

LATER = {"Retry-After": "5"}
PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via")
"""What proxies add to requests."""

WORKER_SILENCE_MILLISECONDS = 15_000
"""A worker gives a sign of life every few seconds; after this it does not count as alive."""


@get_and_head(router, "/livez", **documented.LIVEZ)
async def livez() -> dict[str, str]:
    """Return ok as long as the process answers."""
    return {"status": "ok"}


@get_and_head(router, "/readyz", **documented.READYZ)
async def readyz(request: Request) -> dict[str, Any]:
    """Return ok if database, files and a worker are there, and the service is not about to stop."""
    parts = parts_of(request)
    checks, reasons = await to_thread.run_sync(_checks, parts, limiter=parts.health_limiter)
    checks["accepting"] = not parts.watch.is_draining
    lost = parts.lookout.lost()
    checks |= dict.fromkeys(lost, False)
    is_told = _is_operator(request, parts)
    if not all(checks.values()):
        raise _not_healthy(checks, reasons, lost) if is_told else ServiceError(NOT_HEALTHY, "Not ready.", headers=LATER)
    return {"status": "ok", "checks": checks, "warnings": await parts.read(_warnings)} if is_told else {"status": "ok"}


def _is_operator(request: Request, parts: Parts) -> bool:
    """Return whether to tell what is wrong: to the admin, and to who asks on this machine, past any proxy.

    A proxy may pass on nothing that tells its clients from it; where people come by one, ``public_url`` says so.
    """
    if parts.keys.opens_as_admin(request):
        return True
    is_passed_on = bool(parts.settings.public_url) or any(name in request.headers for name in PASSED_ON)
    return not is_passed_on and parts.callers.is_this_machine(request.client.host if request.client else None)


def _warnings(connection: Connection) -> list[str]:
    """Return what does not keep the service from its work, and wants an operator all the same."""
    clock = clock_table.read(connection)
    if not is_remarkable(clock):
        return []
    seconds, way = round(abs(unproven(clock)) / 1000), "behind" if unproven(clock) < 0 else "ahead of"
    return [f"The wall clock is {seconds} s {way} the time that has certainly passed, and not believed yet."]


def _not_healthy(
    checks: Mapping[str, bool], reasons: Mapping[str, Trouble], lost: Mapping[str, StorageLost]
) -> ServiceError:
    missing = ", ".join(name for name, is_well in checks.items() if not is_well)
    sentences = [
        f"Not ready: {missing}.",
        *(f"{_capital(name)}: {TROUBLES[reason]} ({reason})." for name, reason in reasons.items()),
        *(f"{_capital(str(error))}." for error in lost.values()),
    ]
    told = {name: str(reason) for name, reason in reasons.items()}
    return ServiceError(NOT_HEALTHY, " ".join(sentences), headers=LATER, checks=checks, reasons=told)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _checks(parts: Parts) -> tuple[dict[str, bool], dict[str, Trouble]]:
    """Return what is well, and the trouble by the name of its check; takes two seconds at most.

    While something hangs nothing else is asked: whoever asks would hang too.
    """
    for sounding in parts.soundings.values():
        sounding.begin()
    found = {name: sounding.answer() for name, sounding in parts.soundings.items()}
    reasons = {name: trouble for name, trouble in found.items() if trouble is not None}
    is_hanging = Trouble.HANGING in reasons.values()
    checks = dict.fromkeys(found, True) if is_hanging else _looked_at(parts)
    return checks | dict.fromkeys(reasons, False), reasons


def _looked_at(parts: Parts) -> dict[str, bool]:
    checks = dict.fromkeys(("database", "files", "worker"), False)
    try:
        with parts.database.read() as connection:
            checks["worker"] = _is_worked(connection)
        checks["database"] = True
        checks["files"] = parts.store.space().free_bytes >= parts.settings.min_free_bytes
    except (DBAPIError, StorageError):
        # What failed has stayed False.
        return checks
    return checks


def _is_worked(connection: Connection) -> bool:
    """Return whether a worker lives, and none has let a lease run out: one that hangs, or cannot write any more."""
    live = live_workers(connection, within_milliseconds=WORKER_SILENCE_MILLISECONDS)
    return live > 0 and overdue_leases(connection) == 0


@get_and_head(router, "/metrics", **documented.METRICS)
async def metrics(request: Request) -> Response:
    """Return the metrics, to who brings the admin token."""
    parts = parts_of(request)
    parts.keys.check_admin(request)
    text = await to_thread.run_sync(parts.metrics.render, limiter=parts.list_limiter)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
