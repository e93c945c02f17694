"""The doors: forms and raw bodies, by POST and PUT. All end in the same sink and the same ``submit``."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, BackgroundTasks
from sqlalchemy.exc import DBAPIError
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from service.errors import METHOD_NOT_ALLOWED, SHUTTING_DOWN, ServiceError
from service.intake.admission import Reservation
from service.intake.arrivals import Arrival
from service.intake.commands import Submission, digest_of, earlier_job, submit
from service.web import answers, documented
from service.web.audited import Audited
from service.web.http.negotiation import Kind, kind_of
from service.web.parts import Parts, parts_of
from service.web.problems import LingeringResponse, explained, problem, translated
from service.web.receiving.body import Body, ClientGone, Pace
from service.web.receiving.files import FormReceiver, Receipt, receive_raw, undone_on_error
from service.web.receiving.form_edges import max_framing_bytes
from service.web.receiving.options import check_count, read_options
from service.web.receiving.subscriptions import read_subscribers
from service.web.receiving.upload_head import UploadHead, idempotent, key_digest, read_head, read_key
from service.web.routing import ROUTED
from storage.audit_table import Action
from storage.database import is_undone
from storage.errors import StorageError
from storage.ids import random_id
from storage.jobs.idempotency import IdempotentRequest
from storage.jobs.job_table import NewJob, NewSource
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
                row = await _Upload(request, parts, body, audit).take(raw_path)
            # Whoever shares an address, behind one router, may know a key and a digest, but has not got the bytes.
            has_bytes = body.is_finished or parts.caller_of(request) is None
            answer = answers.accepted(request, parts, row, is_owner=has_bytes)
            background.add_task(parts.wake)
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
    outcome = "failed"
    metrics.receiving.inc()
    try:
        yield
        outcome = "accepted"
        metrics.receive_seconds.observe(time.monotonic() - began)
    except ClientGone:
        outcome = "abandoned"
        raise
    except ServiceError as error:
        outcome = error.kind.code
        raise
    finally:
        metrics.receiving.dec()
        metrics.uploads.labels(outcome).inc()


class _Finished(Exception):
    """An earlier request with the same key has made this job."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


class _Upload:
    """One upload from its headers to its row."""

    def __init__(self, request: Request, parts: Parts, body: Body, audit: Audited) -> None:
        self._request = request
        self._caller = parts.caller_of(request)
        self._audit = audit
        self._parts = parts
        self._body = body
        self._receipt = Receipt()
        self._arrival: Arrival | None = None
        self._page_key: str | None = None
        self._stack = AsyncExitStack()

    async def take(self, raw_path: bytes | None) -> dict[str, Any]:
        """Return the row of the job it became, or had become already."""
        settings = self._parts.settings
        if self._parts.watch.is_draining:
            raise ServiceError(SHUTTING_DOWN, "Try again in a moment.", headers={"Retry-After": "5"})
        self._parts.lookout.check()
        head = read_head(self._request, raw_path=raw_path, max_ttl_seconds=settings.max_ttl_seconds)
        # Those in the query are refused before the body is read; a form's fields may come after its file.
        read_subscribers(head.query, self._request, settings)
        try:
            async with self._stack:
                await self._enter(head, head.idempotency_key)
                return await self._receive(head)
        except _Finished as finished:
            self._audit.repeated(finished.job_id, 202)
            return answers.snapshot_of(self._parts, finished.job_id).row

    async def _enter(self, head: UploadHead, key: str | None) -> None:
        """Take over from an older request with this key, or find out what it has made.

        Where the head already names the bytes, by their digest, they need not be sent again.
        """
        if key is None or self._arrival is not None:
            return
        request = idempotent(self._request, key, self._caller)
        self._arrival = await self._stack.enter_async_context(self._parts.arrivals.enter(request))
        made = await self._parts.read(partial(earlier_job, request=request))
        if made is not None and head.names_its_bytes:
            raise _Finished(made)

    async def _receive(self, head: UploadHead) -> dict[str, Any]:
        reservation = self._parts.admission.admit(head.declared_bytes, self._caller)
        row = None
        try:
            async with undone_on_error(self._parts.sink, self._receipt):
                await self._receive_body(head, reservation)
                submission = self._submission(head)
            row = await self._submit(submission)
        finally:
            reservation.close(became_job=row is not None)
        self._parts.metrics.received_bytes.inc(reservation.received_bytes)
        return row | {"queue_position": min(self._parts.admission.queued, LAST_POSITION)}

    async def _receive_body(self, head: UploadHead, reservation: Reservation) -> None:
        parts = self._parts
        if not head.is_form:
            await receive_raw(head, self._body, parts.sink, reservation, self._receipt)
            return

        async def on_key(value: str) -> None:
            if kind_of(self._request) is Kind.HTML:
                self._page_key = read_key(value)
            else:
                await self._enter(head, read_key(value))

        max_files = parts.settings.max_files_per_upload
        form = FormReceiver(head, parts.sink, reservation, self._receipt, max_files=max_files, on_key=on_key)
        await form.receive(self._body)

    async def _submit(self, submission: Submission) -> dict[str, Any]:
        """Commit the job. Only a refusal removes the files: a commit nobody waits for any more may still happen.

        Nor are they let go then: no sweep takes them while this process lives. After an error of the commit itself
        sweeps may, by their rows.
        """
        if self._arrival is not None:
            self._arrival.begin_commit()
        unstored = [new for file in self._receipt.files for new in file.stored.unstored]
        try:
            change = partial(submit, submission=submission, by=self._audit.requester)
            stored = [file.stored.key for file in self._receipt.files if file.stored.chunks is None]
            made = await self._parts.writer.run(change, unstored, needs=stored)
        except Exception as error:
            if isinstance(error, ServiceError) or is_undone(error):
                await self._discard(submission)
            self._let_go()
            raise
        if isinstance(made, str):
            await self._discard(submission)
            raise _Finished(made)
        self._let_go()
        self._audit.written()
        return made

    def _let_go(self) -> None:
        self._parts.sink.release([file.stored for file in self._receipt.files])

    async def _discard(self, submission: Submission) -> None:
        await self._parts.sink.call(self._parts.sink.delete, [source.key for source in submission.job.sources])

    def _submission(self, head: UploadHead) -> Submission:
        settings, receipt = self._parts.settings, self._receipt
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
            caller=self._caller or "",
            sources=tuple(
                NewSource(
                    file.stored.key,
                    file.name,
                    file.stored.size_bytes,
                    file.stored.sha256,
                    file.media_type,
                    file.stored.checksum,
                )
                for file in receipt.files
            ),
        )
        return Submission(job, self._identified(), 1000 * settings.idempotency_seconds, subscribers)

    def _identified(self) -> IdempotentRequest | None:
        """Return what makes this upload and its repeats one job.

        A page's form is sent again by reloading, and after the back button with another file, which is another upload:
        there its content is a part of the key.
        """
        content = _content(self._receipt)
        if self._arrival is not None:
            return self._arrival.request.with_part(content)
        return _of_page(self._page_key, self._caller, content) if self._page_key else None


def _of_page(key: str, caller: str | None, content: str) -> IdempotentRequest:
    return IdempotentRequest(digest_of(f"{key_digest(key, caller)}\n{content}"))


def _content(receipt: Receipt) -> str:
    """Return what a body held, to tell a repeat from another request: options, names, sizes, and digests or checksums.

    A form's key may come after its files, when it is too late to digest them; each has its checksum in any case.
    """
    stored = [(file.name, file.stored) for file in receipt.files]
    files = [(name, file.size_bytes, file.sha256 or file.checksum) for name, file in stored]
    return json.dumps([sorted(receipt.fields.items()), files])


def shown_name(names: list[str]) -> str:
    """Return a job's name: the file's base name, or of several files their common folder, or how many they are.

    ``names`` are clean, and what is left of them is.
    """
    if len(names) == 1:
        return names[0].rpartition("/")[2]
    folders = {name.partition("/")[0] if "/" in name else "" for name in names}
    return folders.pop() if len(folders) == 1 and "" not in folders else f"{len(names)} files"
