"""The doors: forms and raw bodies, by POST and PUT. All end in the same sink and the same ``submit``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, BackgroundTasks
from sqlalchemy.exc import DBAPIError
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from service.errors import METHOD_NOT_ALLOWED, SHUTTING_DOWN, ServiceError
from service.intake.commands import Made, Submission, digest_of
from service.intake.receipt import shown_name
from service.intake.upload import Upload
from service.web import answers, documented
from service.web.audited import Audited
from service.web.http.negotiation import Kind, kind_of
from service.web.metrics import UploadOutcome
from service.web.parts import Parts, parts_of
from service.web.problems import LingeringResponse, explained, problem, translated
from service.web.receiving.body import Body, ClientGone, Pace
from service.web.receiving.files import FormReceiver, receive_raw
from service.web.receiving.form_edges import max_framing_bytes
from service.web.receiving.options import check_count, read_options
from service.web.receiving.subscriptions import read_subscribers
from service.web.receiving.upload_head import UploadHead, idempotent, key_digest, read_head, read_key
from service.web.routing import ROUTED
from storage.audit_table import Action
from storage.errors import StorageError
from storage.ids import random_id
from storage.jobs.idempotency import IdempotentRequest
from storage.jobs.job_table import NewJob
from storage.jobs.job_views import LAST_POSITION

CLIENT_GONE = 499
"""What nginx calls a request whose client closed the connection; nobody reads it but logs and the audit."""

router = APIRouter(tags=["uploads"])
_log = logging.getLogger("vacpack.uploads")


@router.post("/uploads", **documented.POST_UPLOAD)
async def post_upload(request: Request, background: BackgroundTasks) -> Response:
    """Take a form or a raw body."""
    return await _take(request, background, None)


class _AnyName(PathConvertor):
    """A path as ``path`` matches it, line ends too: a name may hold anything, and is cleaned where it is read."""

    regex = "(?s:.*)"


register_url_convertor("any_name", _AnyName())


@router.put("/uploads/{filename:any_name}", **documented.PUT_UPLOAD)
async def put_named(request: Request, background: BackgroundTasks) -> Response:
    """Take a raw body under the name in the URL; without one where the path ends before it."""
    return await _take(request, background, request.scope["raw_path"])


@router.put("/uploads", **documented.PUT_UNNAMED)
@router.put("/", **documented.PUT_ROOT)
async def put_unnamed(request: Request, background: BackgroundTasks) -> Response:
    """Take a raw body: what ``curl -T -`` sends."""
    return await _take(request, background, None)


@router.put("/{filename}", **documented.PUT_SHORT)
async def put_short(request: Request, background: BackgroundTasks) -> Response:
    """Take a raw body under the name in the URL: ``curl -T big.log http://host/``."""
    filename = request.path_params["filename"]
    if filename in ROUTED:
        detail = f"/{filename} is not a name a file can have here; use /uploads/{filename}."
        raise ServiceError(METHOD_NOT_ALLOWED, detail)
    return await _take(request, background, request.scope["raw_path"])


async def _take(request: Request, background: BackgroundTasks, raw_path: bytes | None) -> Response:
    """Answer an upload; an answer given before the body was read lingers until the client has seen it."""
    parts = parts_of(request)
    settings = parts.settings
    max_bytes = settings.max_upload_bytes + max_framing_bytes(settings.max_files_per_upload)
    body = Body(request, _pace(parts), max_bytes=max_bytes)
    # Not as a dependency: each costs an upload of 4 KiB some percent of its time.
    with Audited(request, Action.JOB_SUBMITTED) as audit:
        try:
            with _measured(parts):
                row = await _Door(request, parts, body, audit, background).take(raw_path)
            # Whoever shares an address, behind one router, may know a key and a digest, but has not got the bytes.
            has_bytes = body.is_finished or parts.caller_of(request) is None
            answer = answers.accepted(request, parts, row, is_owner=has_bytes)
        except ClientGone:
            _log.info("upload abandoned by its client")
            audit.refused(CLIENT_GONE, "abandoned")
            return Response(status_code=CLIENT_GONE)
        except (ServiceError, StorageError, DBAPIError) as error:
            told = translated(explained(request, error))
            audit.refused(told.kind.status, told.kind.code)
            answer = problem(request, told)
    return answer if body.is_finished else _lingering(answer, parts)


def _pace(parts: Parts) -> Pace:
    settings = parts.settings
    return Pace(settings.receive_timeout_seconds, settings.receive_min_bytes_per_second, settings.receive_rate_seconds)


def _lingering(answer: Response, parts: Parts) -> Response:
    settings = parts.settings
    return LingeringResponse(
        answer,
        drain_bytes=settings.early_refusal_drain_bytes,
        drain_seconds=settings.early_refusal_drain_seconds,
    )


@contextmanager
def _measured(parts: Parts) -> Iterator[None]:
    metrics, began = parts.metrics, time.monotonic()
    outcome: str = UploadOutcome.FAILED
    metrics.receiving.inc()
    try:
        yield
        outcome = UploadOutcome.ACCEPTED
        metrics.receive_seconds.observe(time.monotonic() - began)
    except ClientGone:
        outcome = UploadOutcome.ABANDONED
        raise
    except ServiceError as error:
        outcome = error.kind.code
        raise
    finally:
        metrics.receiving.dec()
        metrics.uploads.labels(outcome).inc()


class _Door:
    """One request for an upload, read and turned into what the intake takes."""

    def __init__(self, request: Request, parts: Parts, body: Body, audit: Audited, background: BackgroundTasks) -> None:
        self._request = request
        self._parts = parts
        self._settings = parts.settings
        self._body = body
        self._audit = audit
        self._background = background
        self._upload = Upload(parts.intake, parts.caller_of(request), parts.read)
        self._page_key: str | None = None

    async def take(self, raw_path: bytes | None) -> dict[str, Any]:
        """Return the row of the job it became, or had become already."""
        if self._parts.watch.is_draining:
            raise ServiceError(SHUTTING_DOWN, "Try again in a moment.", headers={"Retry-After": "5"})
        self._parts.lookout.check()
        head = read_head(self._request, raw_path=raw_path, max_ttl_seconds=self._settings.max_ttl_seconds)
        # Those in the query are refused before the body is read; a form's fields may come after its file.
        read_subscribers(head.query, self._request, self._settings)
        async with self._upload:
            made = await self._made(head)
        if made.row is None:
            self._audit.repeated(made.job_id, 202)
            return answers.snapshot_of(self._parts, made.job_id).row
        return made.row | {"queue_position": min(self._parts.admission.queued, LAST_POSITION)}

    async def _made(self, head: UploadHead) -> Made:
        earlier = await self._identify(head.idempotency_key)
        if earlier is not None and head.names_its_bytes:
            # Where the head already names the bytes, by their digest, they need not be sent again.
            return Made(earlier, None)
        receive = partial(self._receive, head)
        made = await self._upload.run(head.declared_bytes, receive, by=self._audit, after=self._background)
        self._parts.metrics.received_bytes.inc(self._upload.reservation.received_bytes)
        return made

    async def _identify(self, key: str | None) -> str | None:
        if key is None:
            return None
        return await self._upload.identify(idempotent(self._request, key, self._upload.caller))

    async def _receive(self, head: UploadHead) -> Submission:
        if head.is_form:
            max_files = self._settings.max_files_per_upload
            await FormReceiver(head, self._upload, max_files=max_files, on_key=self._on_key).receive(self._body)
        else:
            await receive_raw(head, self._body, self._upload)
        return self._submission(head)

    async def _on_key(self, value: str) -> None:
        key = read_key(value)
        if kind_of(self._request) is Kind.HTML:
            self._page_key = key
        else:
            await self._identify(key)

    def _submission(self, head: UploadHead) -> Submission:
        settings, receipt = self._settings, self._upload.receipt
        # A browser sends every field of its form, those left alone as well.
        asked = {name: value for name, value in receipt.fields.items() if value}
        values = head.query | asked
        options = read_options(values, max_ttl_seconds=settings.max_ttl_seconds)
        subscribers = read_subscribers(values, self._request, settings)
        check_count(options.format, len(receipt.files))
        job_id = random_id()
        job = NewJob(
            id=job_id,
            manage_key_digest=digest_of(self._parts.keys.manage_key(job_id)),
            name=shown_name([file.name for file in receipt.files]),
            format=options.format,
            level=options.level,
            ttl_milliseconds=1000 * (options.ttl_seconds or settings.result_ttl_seconds),
            max_attempts=settings.max_attempts,
            caller=self._upload.caller or "",
            sources=receipt.sources(),
        )
        return Submission(job, self._identified(), 1000 * settings.idempotency_seconds, subscribers)

    def _identified(self) -> IdempotentRequest | None:
        """Return what makes this upload and its repeats one job.

        A page's form is sent again by reloading, and after the back button with another file, which is another upload:
        there its content is a part of the key.
        """
        content, request = self._upload.receipt.content(), self._upload.request
        if request is not None:
            return request.with_part(content)
        return _of_page(self._page_key, self._upload.caller, content) if self._page_key else None


def _of_page(key: str, caller: str | None, content: str) -> IdempotentRequest:
    return IdempotentRequest(digest_of(f"{key_digest(key, caller)}\n{content}"))
