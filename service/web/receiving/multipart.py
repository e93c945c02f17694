"""``multipart/form-data`` (RFC 7578) as a stream of pieces, over python-multipart's callbacks. No copy of file bytes.

The parser reports neither a body that ends before its closing boundary nor what follows that; ``close`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from service.errors import BAD_MULTIPART, BODY_TRUNCATED, TOO_MANY_PARTS, ServiceError
from service.web.names.filenames import MAX_SEMICOLONS, name_of_disposition
from service.web.receiving.disposition import parameters_of
from service.web.receiving.form_edges import LF_ALONE, Closing, Opening
from service.web.receiving.header_rules import gathered

MAX_HEADER_BYTES = 8 * 1024
"""Of all headers of one part: a path of 900 Chinese characters, percent-encoded, fits."""
_LIMIT = "max_part_header_bytes"
MAX_HEADERS = 10
"""Of one part: five are the most that any known client sends, and each costs three callbacks."""
HEADER_BYTES_A_PART, HEADERS_A_PART = 1024, 4
"""On the average of as many parts as a form may have, whatever a single one has."""
PIECE_BYTES = 2 * 1024
"""Parsed at a time where parts are small: at most 1,300 callbacks, some 2 ms."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part begins. A part with a file name is a file, and so is one called ``file``."""

    name: str
    filename: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    disposition: bytes = b""
    """What ``filename`` was read from, for a reader who knows what charset it is likely to be in."""

    @property
    def is_file(self) -> bool:
        """Whether its content is a file and not an option."""
        return self.filename is not None or self.name == "file"


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is whole."""


class _TooManyParts(Exception):
    """Nothing more of the form is read."""


FormPiece = PartBegins | PartEnds | memoryview
"""What a chunk of a body brings; a view is some of a part's content."""


class FormParser:
    """Turns the chunks of a body into pieces of its form."""

    def __init__(self, content_type: str, *, max_parts: int) -> None:
        boundary = boundary_of(content_type)
        self._line = b"\r\n--" + boundary
        self._close_line = self._line + b"--"
        self._opening = Opening(boundary)
        self._closing = Closing(boundary)
        self._pieces: list[FormPiece] = []
        self._chunk = b""
        self._before = b""
        """The last bytes before the chunk: as many as a closing boundary that is not whole, or a line's end more."""
        self._position = -1
        """Where in the chunk the last callback ended that told of bytes; -1: there was none."""
        self._header_name = b""
        self._header_value = b""
        self._parts_left = self._max_parts = max_parts
        self._headers: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._headers_left = MAX_HEADERS + HEADERS_A_PART * max_parts
        self._header_bytes_left = MAX_HEADER_BYTES + HEADER_BYTES_A_PART * max_parts
        self._disposition = b""
        self._has_ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_end": self._on_end,
                },
                max_header_count=MAX_HEADERS + 1,
                max_header_size=MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise ServiceError(BAD_MULTIPART, "The boundary is not a valid one.") from error

    def pieces_of(self, chunk: bytes) -> Iterator[bytes]:
        """Yield a chunk in pieces to ``feed``, after each of which others may have their turn.

        Each is short, or reaches into two parts at most: what is large is the content of one part, which is one piece.
        """
        at = 0
        while at < len(chunk):
            next_line = chunk.find(self._line, at)
            end = max(at + PIECE_BYTES, next_line if next_line >= 0 else len(chunk))
            yield chunk[at:end]
            at = end

    def feed(self, chunk: bytes) -> list[FormPiece]:
        """Return what ``chunk`` brings. Its pieces of content are views into it: they keep it alive.

        Raises:
            ServiceError: bad_multipart, too_many_parts.
        """
        self._pieces = []
        self._check_parts()
        if not self._opening.is_open:
            chunk = self._opening.feed(chunk)
            self._has_ended = self._opening.is_closed
        if self._has_ended:
            self._closing.feed(chunk)
        elif chunk:
            self._parse(chunk)
        return self._pieces

    def _check_parts(self) -> None:
        if self._parts_left < 0:
            raise ServiceError(TOO_MANY_PARTS, f"At most {self._max_parts} parts of a form are taken.")

    def _parse(self, chunk: bytes) -> None:
        self._chunk, self._position = chunk, -1
        try:
            self._parser.write(chunk)
        except _TooManyParts:
            # Told with what comes next: those before it may already say what is wrong.
            return
        except FormParserError as error:
            # The parser has limits of its own, and no other word for them.
            met: dict[str, Any] = {"limit": _LIMIT} if str(error).endswith("exceeded") else {}
            raise ServiceError(BAD_MULTIPART, self._explained(error), **met) from error
        if self._has_ended:
            self._closing.feed(chunk[self._end_in(chunk) :])
        kept = len(self._close_line) + 2
        self._before = (self._before + chunk[-kept:])[-kept:]

    def _end_in(self, chunk: bytes) -> int:
        """Return where in the chunk the closing boundary ends: the first one after what the callbacks told of."""
        if self._position >= 0:
            return chunk.index(self._close_line, self._position) + len(self._close_line)
        # It may have begun before the chunk; or the chunk begins with the ends of two lines of a head.
        before = self._before[-len(self._close_line) + 1 :]
        window = before + chunk[: len(self._close_line) + 4]
        return window.index(self._close_line) + len(self._close_line) - len(before)

    def _explained(self, error: FormParserError) -> str:
        """Return what was wrong, for the mistakes that are made."""
        offset = getattr(error, "offset", -1)
        around = self._before[-1:] + self._chunk[:offset][-1:]
        if b"\n" in self._header_name + self._header_value:
            return LF_ALONE
        if around.endswith(b"\n") and self._chunk[offset : offset + 1] in (b" ", b"\t"):
            return "A header of a part goes on in a second line; it must stand in one (RFC 9112, 5.2)."
        return "The body is not well-formed multipart/form-data."

    def close(self) -> None:
        """Check that the closing boundary was there, and nothing of the form behind it.

        Raises:
            ServiceError: body_truncated, bad_multipart, too_many_parts.
        """
        self._check_parts()
        if self._has_ended:
            self._closing.close()
            return
        if not self._opening.is_open:
            self._opening.close()
        if b"\n" in self._header_value or self._close_line[1:] in self._before:
            raise ServiceError(BAD_MULTIPART, LF_ALONE)
        raise ServiceError(BODY_TRUNCATED, "The form's closing boundary is missing; nothing was kept.")

    def _on_part_begin(self) -> None:
        # Here, and not where parts are received: a chunk of empty ones holds thousands.
        self._parts_left -= 1
        if self._parts_left < 0:
            raise _TooManyParts
        self._headers, self._header_bytes = [], 0
        self._disposition = b""

    def _is_ours(self, data: bytes, end: int) -> bool:
        """Note where a callback's bytes end; return whether they are the chunk's own.

        Usually they are. The parser's own look-behind buffer, which is the other case, is written again.
        """
        is_ours = data is self._chunk
        self._position = max(self._position, end if is_ours else 0)
        return is_ours

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._is_ours(data, end)
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._is_ours(data, end)
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if b"\n" in self._header_value:
            raise ServiceError(BAD_MULTIPART, LF_ALONE)
        self._count_header(len(self._header_name) + len(self._header_value))
        name = self._header_name.decode("latin-1").lower()
        if name == "content-disposition":
            self._disposition = self._header_value
        self._headers.append((name, self._header_value.decode("latin-1").strip(" \t")))
        self._header_name = self._header_value = b""

    def _count_header(self, size_bytes: int) -> None:
        """Count a header, to its part and to the form: what is done with each may take its time."""
        self._header_bytes += size_bytes
        self._header_bytes_left -= size_bytes
        self._headers_left -= 1
        if self._header_bytes > MAX_HEADER_BYTES:
            raise _too_many(f"At most {MAX_HEADER_BYTES // 1024} KiB of headers of a part are taken.")
        if len(self._headers) >= MAX_HEADERS:
            raise _too_many(f"At most {MAX_HEADERS} headers of a part are taken.")
        if self._header_bytes_left < 0 or self._headers_left < 0:
            raise _too_many("The headers of all parts are more than such a form may have.")

    def _on_headers_finished(self) -> None:
        if self._disposition.count(b";") > MAX_SEMICOLONS:
            detail = f"A part's Content-Disposition has more than {MAX_SEMICOLONS} semicolons."
            raise ServiceError(BAD_MULTIPART, detail)
        headers = gathered(self._headers)
        kind, parameters = parameters_of(self._disposition)
        if kind != b"form-data" or b"name" not in parameters:
            raise ServiceError(BAD_MULTIPART, "A part has no Content-Disposition: form-data; name=….")
        name = parameters[b"name"].decode(errors="replace")
        filename = name_of_disposition(self._disposition, is_form=True)
        self._pieces.append(PartBegins(name, filename, headers, self._disposition))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        is_ours = self._is_ours(data, end)
        self._pieces.append(memoryview(data)[start:end] if is_ours else memoryview(bytes(data[start:end])))

    def _on_part_end(self) -> None:
        self._pieces.append(PartEnds())

    def _on_end(self) -> None:
        self._has_ended = True


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a ``Content-Type`` names.

    Raises:
        ServiceError: bad_multipart, it names none.
    """
    _, parameters = parameters_of(content_type)
    if boundary := parameters.get(b"boundary"):
        return boundary
    raise ServiceError(BAD_MULTIPART, "The Content-Type names no boundary.")


def _too_many(detail: str) -> ServiceError:
    return ServiceError(BAD_MULTIPART, detail, limit=_LIMIT)
