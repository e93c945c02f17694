"""``multipart/form-data`` (RFC 7578) as a stream of events, over python-multipart's callbacks. No copy of file bytes.

The parser does not report a body that ends before its closing boundary; ``close`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import BAD_MULTIPART, BODY_TRUNCATED, ServiceError
from service.web.filenames import MAX_SEMICOLONS, name_of_disposition, name_of_part

MAX_HEADER_BYTES = 64 * 1024
"""Of one header of one part: names of 4,000 characters, percent-encoded, must fit."""


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part begins. A part with a file name is a file, and so is one called ``file``."""

    name: str
    filename: str | None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether its content is a file and not an option."""
        return self.filename is not None or self.name == "file"


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is whole."""


Event = PartBegins | PartEnds | memoryview


class FormParser:
    """Turns the chunks of a body into events."""

    def __init__(self, content_type: str) -> None:
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise ServiceError(BAD_MULTIPART, "The Content-Type names no boundary.")
        self._events: list[Event] = []
        self._chunk = b""
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[str, str] = {}
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
                max_header_count=32,
                max_header_size=MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise ServiceError(BAD_MULTIPART, "The boundary is not a valid one.") from error

    def feed(self, chunk: bytes) -> list[Event]:
        """Return what ``chunk`` brings. Its data events are views into it: they keep it alive.

        Raises:
            ServiceError: bad_multipart.
        """
        self._chunk = chunk
        self._events = []
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise ServiceError(BAD_MULTIPART, "The body is not well-formed multipart/form-data.") from error
        return self._events

    def close(self) -> None:
        """Check that the closing boundary was there.

        Raises:
            ServiceError: body_truncated.
        """
        if not self._has_ended:
            raise ServiceError(BODY_TRUNCATED, "The form's closing boundary is missing; nothing was kept.")

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        name = self._header_name.decode("latin-1").lower()
        if name == "content-disposition":
            self._disposition = self._header_value
        self._headers[name] = self._header_value.decode("latin-1")
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        if self._disposition.count(b";") > MAX_SEMICOLONS:
            detail = f"A part's Content-Disposition has more than {MAX_SEMICOLONS} semicolons."
            raise ServiceError(BAD_MULTIPART, detail)
        kind, parameters = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in parameters:
            raise ServiceError(BAD_MULTIPART, "A part has no Content-Disposition: form-data; name=….")
        name = parameters[b"name"].decode(errors="replace")
        self._events.append(PartBegins(name, _filename(self._disposition, parameters), self._headers))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        # Usually the chunk itself. The parser's own look-behind buffer is written again: what comes from it is copied.
        is_ours = data is self._chunk
        self._events.append(memoryview(data)[start:end] if is_ours else memoryview(bytes(data[start:end])))

    def _on_part_end(self) -> None:
        self._events.append(PartEnds())

    def _on_end(self) -> None:
        self._has_ended = True


def _filename(disposition: bytes, parameters: Mapping[bytes, bytes]) -> str | None:
    """Return a part's file name, None if it has none.

    RFC 7578 (4.2) forbids ``filename*``; .NET and older libraries send it all the same, beside a mangled ``filename``.
    """
    if b"filename*" in disposition.lower():
        return name_of_disposition(disposition.decode("latin-1"))
    filename = parameters.get(b"filename")
    return None if filename is None else name_of_part(filename)
