"""Downloads: one stored copy, every form out. The result as stored or transcoded, and the bytes that came in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from service.codecs.codec import CODECS, transcode
from service.codecs.terms import STREAM_OF, Chunk, Format, Level
from service.errors import (
    BAD_OPTION,
    NO_ORIGINAL,
    NO_RESULT,
    NOT_READY,
    NOT_SCANNED,
    NOT_TRANSCODABLE,
    ServiceError,
)
from service.job_document import is_archived, is_known_clean
from service.web import answers, documented
from service.web.audited import audited
from service.web.http.digests import digest_field
from service.web.http.negotiation import prefers_coding
from service.web.http.preconditions import is_not_modified
from service.web.http.ranges import requested_range
from service.web.names.filenames import attachment
from service.web.parts import Parts, parts_of
from service.web.routing import get_and_head
from service.web.sending import streams
from service.web.sending.download_limits import DownloadLimit, LimitedDownload
from service.web.sending.recent_conversions import COSTLY_BYTES
from service.web.sending.stored_files import (
    check_not_malicious,
    check_undamaged,
    damaged_original,
    note_lost,
    opened,
    read_whole,
    watched,
)
from service.web.sending.streams import Convert, Proof, proof_of
from storage.audit_table import Action
from storage.errors import FileMissing
from storage.ids import Key
from storage.jobs.job_views import job_sources
from storage.lifecycle import JobStatus

router = APIRouter(tags=["downloads"])

OPAQUE = "application/octet-stream"
"""What a client's own bytes are sent as, whatever it called them: a browser runs none of them."""
SAFE_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache, no-transform",
}


Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Download:
    """One representation of a job's bytes."""

    key: Key
    name: str
    media_type: str
    etag: str
    size_bytes: int | None
    """Of the body; None where it is not known before it is made."""
    sha256: str | None
    """Of the body, where it is known."""
    convert: Convert | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stored_bytes: int = field(kw_only=True)
    """Of the stored file."""
    proof: Proof | None = field(kw_only=True)
    """Of the whole stored file, where there is one."""
    is_costly: bool = False
    """Whether it is made of so much that it is kept for the next who asks, if it is small."""
    made: bytes | None = None
    """The body, where it has been kept."""

    def is_proven(self, part: tuple[int, int | None]) -> bool:
        """Return whether this part of the body is made of all stored bytes, and there is a proof of them.

        Of other parts nothing can be said: who asks for one can compare the digest of the whole, or takes the risk.
        """
        return self.proof is not None and (self.convert is not None or part == (0, self.stored_bytes))

    def make(self, chunks: Iterator[Chunk]) -> Generator[Chunk]:
        """Make the body of all stored bytes; breaks off at its end where they are not what was stored."""
        assert self.proof is not None
        proven = self.proof.held_to(chunks)
        return proven if self.convert is None else self.convert(proven)


# Clients that read no Content-Disposition, as wget, save under the last segment of the address: it may be any name.
@get_and_head(
    router,
    "/jobs/{job_id}/result/{any_name:path}",
    dependencies=[Depends(audited(Action.RESULT_DOWNLOADED))],
    include_in_schema=False,
)
@get_and_head(
    router,
    "/jobs/{job_id}/result",
    dependencies=[Depends(audited(Action.RESULT_DOWNLOADED))],
    **documented.GET_RESULT,
)
async def get_result(request: Request, job_id: str) -> Response:
    """Send the result as stored, or transcoded to another format."""
    parts = parts_of(request)
    row = answers.snapshot_of(parts, job_id).row
    wanted = request.query_params.get("format")
    if wanted not in (None, "gzip"):
        detail = f"format can be gzip, or left out for the result as stored; not {wanted[:40]!r}."
        raise ServiceError(BAD_OPTION, detail, option="format", allowed=["gzip"])
    _check_ready(row)
    check_undamaged(row)
    if not wanted or STREAM_OF.get(row["result_format"]) is Format.GZIP:
        return await _send(request, parts, _as_stored(row))
    return await _send(request, parts, _transcoded(row))


def _check_ready(row: Row) -> None:
    status = JobStatus(row["status"])
    if status is JobStatus.SUCCEEDED:
        return
    if status.is_final:
        raise ServiceError(NO_RESULT, f"The job is {status}; GET /jobs/{row['id']} tells why.", job_status=str(status))
    headers = {"Retry-After": "1"}
    raise ServiceError(NOT_READY, f"The job is {status}; ask again later.", headers=headers, job_status=str(status))


def _as_stored(row: Row) -> Download:
    return Download(
        key=row["result_key"],
        name=row["result_name"],
        media_type=OPAQUE if row["stored_as_is"] else row["result_media_type"],
        etag=f'"{row["result_sha256"]}"',
        size_bytes=row["result_size_bytes"],
        sha256=row["result_sha256"],
        stored_bytes=row["result_size_bytes"],
        proof=_proof(row),
    )


def _proof(row: Row) -> Proof | None:
    return proof_of(row["result_checksum"], row["result_sha256"])


def _transcoded(row: Row) -> Download:
    gzip = CODECS[Format.GZIP]
    if row["stored_as_is"]:
        convert: Convert = partial(gzip.compress, level=Level.FAST, threads=1, size_bytes=row["result_size_bytes"])
        name = row["result_name"]
    elif (source := STREAM_OF[row["result_format"]]) is not None:
        convert = partial(transcode, source=CODECS[source], target=gzip, level=Level.FAST)
        name = row["result_name"].removesuffix(CODECS[source].suffix)
    else:
        detail = f"{row['result_format']} results are given as they are stored."
        raise ServiceError(NOT_TRANSCODABLE, detail)
    etag = f'"{row["result_sha256"]}-gzip"'
    return Download(
        row["result_key"],
        name + gzip.suffix,
        gzip.media_type,
        etag,
        None,
        None,
        convert,
        stored_bytes=row["result_size_bytes"],
        proof=_proof(row),
        is_costly=row["source_size_bytes"] >= COSTLY_BYTES,
    )


@get_and_head(
    router,
    "/jobs/{job_id}/original/{any_name:path}",
    dependencies=[Depends(audited(Action.ORIGINAL_DOWNLOADED))],
    include_in_schema=False,
)
@get_and_head(
    router,
    "/jobs/{job_id}/original",
    dependencies=[Depends(audited(Action.ORIGINAL_DOWNLOADED))],
    **documented.GET_ORIGINAL,
)
async def get_original(request: Request, job_id: str) -> Response:
    """Send the bytes that came in: stored as such, encoded for a client that can undo it, or decoded here."""
    parts = parts_of(request)
    try:
        return await _original(request, parts, job_id)
    except FileMissing:
        # Finished this moment: what came in is in the result now. If it is not, the source is lost.
        try:
            return await _original(request, parts, job_id)
        except FileMissing as error:
            await note_lost(parts, job_id)
            raise damaged_original() from error


async def _original(request: Request, parts: Parts, job_id: str) -> Response:
    if is_archived(answers.snapshot_of(parts, job_id).row):
        raise ServiceError(NO_ORIGINAL, "The upload became an archive; GET …/result gives it.")
    sources = await parts.read(partial(job_sources, job_id=job_id))
    # Read after the sources: where one is gone, there is a result, or no job any more.
    row = answers.snapshot_of(parts, job_id).row
    check_undamaged(row)
    check_not_malicious(row)
    if parts.settings.scan_command:
        _check_known_clean(row)
    if (key := sources[0]["key"]) is not None:
        return await _send(request, parts, _source_as_stored(row, key, sources[0]["checksum"]))
    return await _send(request, parts, _decoded(request, row))


def _check_known_clean(row: Row) -> None:
    """Refuse what may be malicious: queued, being scanned, or ended before anybody can say that it was found clean."""
    status = JobStatus(row["status"])
    if is_known_clean(row):
        return
    if status.is_final:
        raise ServiceError(NOT_SCANNED, f"The job is {status}, without a result.", job_status=str(status))
    headers = {"Retry-After": "1"}
    raise ServiceError(NOT_SCANNED, f"The job is {status}; ask again later.", headers=headers, job_status=str(status))


def _source_as_stored(row: Row, key: Key, checksum: str | None) -> Download:
    size, digest = row["source_size_bytes"], row["source_sha256"]
    return Download(
        key,
        row["name"],
        OPAQUE,
        f'"{digest or key}"',
        size,
        digest,
        headers={"Vary": "Accept-Encoding"},
        stored_bytes=size,
        proof=proof_of(checksum, digest),
    )


def _decoded(request: Request, row: Row) -> Download:
    coding, digest, stored_bytes = row["result_coding"], row["source_sha256"], row["result_size_bytes"]
    headers = {"Vary": "Accept-Encoding"}
    if coding and prefers_coding(request, coding):
        headers["Content-Encoding"] = coding
        return Download(
            row["result_key"],
            row["name"],
            OPAQUE,
            f'"{digest}-{coding}"',
            stored_bytes,
            row["result_sha256"],
            headers=headers,
            stored_bytes=stored_bytes,
            proof=_proof(row),
        )
    size = row["source_size_bytes"]
    return Download(
        row["result_key"],
        row["name"],
        OPAQUE,
        f'"{digest}"',
        size,
        digest,
        CODECS[Format(row["result_format"])].decompress,
        headers,
        stored_bytes=stored_bytes,
        proof=_proof(row),
    )


async def _send(request: Request, parts: Parts, download: Download) -> Response:
    if download.is_costly and (made := parts.recent.get(download.key)) is not None:
        download = replace(download, made=made, size_bytes=len(made))
    has_ranges = download.convert is None and "Content-Encoding" not in download.headers
    headers = SAFE_HEADERS | {"ETag": download.etag, "Accept-Ranges": "bytes" if has_ranges else "none"}
    headers |= download.headers
    if is_not_modified(request, download.etag):
        return Response(status_code=304, headers=headers)
    if download.sha256 is not None:
        headers["Repr-Digest"] = digest_field(download.sha256)
    status, start, end = 200, 0, download.size_bytes
    if has_ranges and end is not None and (part := requested_range(request, end, download.etag)) is not None:
        status, (start, end) = 206, part
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{download.size_bytes}"
    if end is not None:
        headers["Content-Length"] = str(end - start)
    return await _stream(request, parts, download, (start, end), Response(None, status, headers, download.media_type))


async def _stream(
    request: Request, parts: Parts, download: Download, part: tuple[int, int | None], head: Response
) -> Response:
    if download.size_bytes is None:
        # An empty response says 0; this one's length is not known before it is made.
        del head.headers["Content-Length"]
    # Raw UTF-8, which the header dictionaries above cannot carry.
    head.raw_headers.append((b"content-disposition", attachment(download.name)))
    caller = parts.caller_of(request)
    limits = _limits(parts, download, request.method)
    for limit in limits:
        limit.check(caller)
    file = await opened(parts, request.path_params["job_id"], download.key, download.stored_bytes)
    if request.method == "HEAD":
        file.close()
        return head
    made = await _body(parts, request.path_params["job_id"], file, download, part)
    body = watched(parts, request.path_params["job_id"], download.key, made)
    try:
        # Others may have begun while the file was opened.
        response = LimitedDownload(body, head.status_code, limits, caller)
    except ServiceError:
        file.close()
        raise
    response.raw_headers = head.raw_headers
    return response


def _limits(parts: Parts, download: Download, method: str) -> tuple[DownloadLimit, ...]:
    if method == "HEAD":
        return ()
    is_converted = download.convert is not None and download.made is None
    return (parts.downloads, parts.conversions) if is_converted else (parts.downloads,)


async def _body(
    parts: Parts, job_id: str, file: BinaryIO, download: Download, part: tuple[int, int | None]
) -> AsyncIterator[bytes]:
    if download.made is not None:
        file.close()
        return streams.once(download.made)
    body = await _made_now(parts, job_id, file, download, part)
    return parts.recent.gathered(download.key, body) if download.is_costly else body


async def _made_now(
    parts: Parts, job_id: str, file: BinaryIO, download: Download, part: tuple[int, int | None]
) -> AsyncGenerator[bytes]:
    start, end = part
    if not download.is_proven(part):
        assert end is not None
        return streams.stored(file, start, end)
    if download.stored_bytes > streams.READ_BYTES:
        return streams.converted(file, download.make)
    assert download.proof is not None
    content = await read_whole(parts, job_id, download.key, file, download.proof)
    return streams.once(content) if download.convert is None else streams.converted(BytesIO(content), download.convert)
