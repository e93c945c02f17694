"""A body becomes durable files: raw, or a form's parts, through the sink of one upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from service.errors import BAD_OPTION, FILE_MISSING, TOO_MANY_FILES, ServiceError
from service.intake.receipt import ReceivedFile
from service.intake.sink import Incoming, Sink
from service.intake.upload import Upload
from service.values.file_names import clean_name, clean_path
from service.web.http.digests import SHA_256, check_digests, digests_of, expected_digests, wants_sha256
from service.web.names.charsets import hints_of
from service.web.names.filenames import name_of_disposition
from service.web.receiving.body import Body
from service.web.receiving.form_edges import max_parts
from service.web.receiving.header_checks import Place
from service.web.receiving.header_rules import check_headers
from service.web.receiving.multipart import FormParser, FormPiece, PartBegins
from service.web.receiving.options import check_count, check_names, put
from service.web.receiving.part_content import PartContent, charset_of, text_of
from service.web.receiving.upload_head import UploadHead

MAX_FIELD_BYTES = 64 * 1024
CHARSET_FIELD = "_charset_"
"""Names the charset of the fields that follow it (RFC 7578, 4.6)."""


async def receive_raw(head: UploadHead, body: Body, upload: Upload) -> None:
    """Receive the body as one file.

    Raises:
        ClientGone, StorageFull, StorageFailed, ServiceError: nothing of it is left.
    """
    name = clean_name(head.filename)
    incoming = _begun(upload.sink, head.expected, wants_digest=head.wants_digest)
    async with _aborted_on_error(incoming):
        async for chunk in body.chunks():
            upload.reservation.take(len(chunk))
            if incoming.add(chunk):
                await incoming.flush()
        stored = incoming.finish_later() or await incoming.finish()
    upload.receipt.files.append(ReceivedFile(stored, name, _media_type(head.content_type)))
    check_digests(head.expected, stored.digests, name)


def _begun(sink: Sink, expected: Mapping[str, str], *, wants_digest: bool) -> Incoming:
    others = [name for name in expected if name != SHA_256]
    return sink.begin(wants_digest=wants_digest or SHA_256 in expected, others=others)


@asynccontextmanager
async def _aborted_on_error(incoming: Incoming) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await incoming.abort()
        raise


def _check_length(length: int) -> None:
    if length > MAX_FIELD_BYTES:
        raise ServiceError(BAD_OPTION, "A field of the form is longer than any option can be.")


def _media_type(content_type: str | None) -> str | None:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    is_said = 0 < len(media_type) <= 255 and media_type.isascii() and media_type.isprintable()
    return media_type if is_said and media_type != "application/octet-stream" else None


class FormReceiver:
    """Receives a form's parts in order: files into the sink, options into ``receipt.fields``."""

    def __init__(
        self,
        head: UploadHead,
        upload: Upload,
        *,
        max_files: int,
        on_key: Callable[[str], Awaitable[None]],
    ) -> None:
        """``on_key`` is given the form's ``idempotency_key``, before what follows it is read."""
        self._head = head
        self._sink = upload.sink
        self._reservation = upload.reservation
        self._receipt = upload.receipt
        self._max_files = max_files
        self._on_key = on_key
        self._part: PartBegins | None = None
        self._incoming: Incoming | None = None
        self._content = PartContent({})
        self._expected: Mapping[str, str] = {}
        self._value = bytearray()
        self._charset = "utf-8"

    async def receive(self, body: Body) -> None:
        """Receive all parts.

        Raises:
            ClientGone, StorageFull, StorageFailed, ServiceError: the file that was arriving is not left; those that
                were whole stand in the receipt, for the caller to remove.
        """
        parser = FormParser(self._head.content_type, max_parts=max_parts(self._max_files))
        try:
            async for chunk in body.chunks():
                for piece in parser.pieces_of(chunk):
                    for found in parser.feed(piece):
                        await self._handle(found)
                    if piece is not chunk:
                        # What is small comes in thousands: others have their turn in between.
                        await asyncio.sleep(0)
            parser.close()
        except BaseException:
            if self._incoming is not None:
                await self._incoming.abort()
            raise
        if not self._receipt.files:
            raise ServiceError(
                FILE_MISSING, "Send the file as a part with a file name: curl -F file=@FILE URL/uploads."
            )

    async def _handle(self, piece: FormPiece) -> None:
        if isinstance(piece, memoryview):
            await self._take(piece)
        elif isinstance(piece, PartBegins):
            self._begin(piece)
        else:
            await self._end()

    def _begin(self, part: PartBegins) -> None:
        check_headers(part.headers, Place.PART)
        self._part, self._content = part, PartContent(part.headers)
        self._expected = expected_digests(part.headers)
        if not part.is_file:
            check_names([part.name] if part.name != CHARSET_FIELD else [])
            self._value.clear()
            return
        if len(self._receipt.files) >= self._max_files:
            raise ServiceError(TOO_MANY_FILES, f"At most {self._max_files} files can be uploaded in one request.")
        asked = self._receipt.fields.get("format") or self._head.options.format
        check_count(asked, len(self._receipt.files) + 1)
        wants = self._head.wants_digest or wants_sha256(part.headers.get("want-repr-digest"))
        self._incoming = _begun(self._sink, self._expected, wants_digest=wants)

    async def _take(self, data: memoryview) -> None:
        self._reservation.take(len(data))
        content = self._content.take(data)
        if self._incoming is None:
            self._value += content
            _check_length(len(self._value))
        elif self._incoming.add(content):
            await self._incoming.flush()

    async def _end(self) -> None:
        assert self._part is not None
        self._content.end()
        if self._incoming is None:
            await self._end_field(self._part)
        elif self._part.filename == "" and self._incoming.size_bytes == 0:
            # What a browser sends for a file input left empty.
            self._incoming = None
        else:
            await self._end_file(self._part, self._incoming)

    async def _end_field(self, part: PartBegins) -> None:
        check_digests(self._expected, digests_of(self._value, self._expected), part.name)
        name, value = part.name, text_of(self._value, charset_of(part.headers, self._charset), part.name)
        if name == CHARSET_FIELD:
            self._read_from_here(value)
            return
        put(self._receipt.fields, name, value)
        _check_length(len(self._receipt.fields[name]))
        if name == "idempotency_key" and value:
            await self._on_key(value)

    def _read_from_here(self, charset: str) -> None:
        text_of(b"", charset, CHARSET_FIELD)
        if not all(map(str.isascii, self._receipt.fields.values())):
            detail = f"{CHARSET_FIELD} must come before the fields that it is about."
            raise ServiceError(BAD_OPTION, detail, option=CHARSET_FIELD)
        self._charset = charset

    async def _end_file(self, part: PartBegins, incoming: Incoming) -> None:
        # Only the first file may wait in memory for its row: a form may have a thousand.
        stored = None if self._receipt.files else incoming.finish_later()
        stored = stored or await incoming.finish()
        self._incoming = None
        name = clean_path(self._name_of(part))
        self._receipt.files.append(ReceivedFile(stored, name, _media_type(part.headers.get("content-type"))))
        check_digests(self._expected, stored.digests, name)

    def _name_of(self, part: PartBegins) -> str | None:
        """Return the file's name, by the charset that the form names if its bytes leave that open."""
        hints = hints_of(self._charset) or self._head.hints
        return name_of_disposition(part.disposition, hints, is_form=True) if hints else part.filename
