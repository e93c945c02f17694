"""The edges of a multipart body (RFC 2046, 5.1.1), of which the parser takes less than clients send.

``Opening`` is before the first part, ``Closing`` after the last. Between them no byte is looked at here.
"""

from __future__ import annotations

import re

from service.errors import BAD_MULTIPART, BODY_TRUNCATED, ServiceError

MAX_EDGE_BYTES = 64 * 1024
"""Of a preamble with the first boundary's line, and of an epilogue. Both are text for people, and are dropped."""
_LIMIT = "max_form_edge_bytes"

OTHER_PARTS = 100
"""So many parts a form may have besides its files: fields, and file inputs left empty."""
_FRAMING_BYTES_A_PART = 1024


def max_parts(max_files: int) -> int:
    """Return how many parts a form may have that may have so many files."""
    return max_files + OTHER_PARTS


def max_framing_bytes(max_files: int) -> int:
    """Return how much longer a form may be than what its parts hold: edges, boundaries and headers of parts."""
    return 2 * MAX_EDGE_BYTES + _FRAMING_BYTES_A_PART * max_parts(max_files)


LF_ALONE = "Lines of the form end with LF alone; they must end with CRLF (RFC 2046, 5.1.1)."

# Blanks have a limit: where they come one by one, those before are looked at again with each.
_END_OF_LINE = re.compile(rb"--|[ \t]{0,998}\r?\n")
_BEGIN_OF_END = re.compile(rb"(?:-|[ \t]{0,998}\r?)\Z")
_REST_OF_LAST_LINE = re.compile(rb"[ \t]*(?:\r?\n|\r?\Z)")


class Opening:
    """Drops what stands before the first boundary, and blanks behind it."""

    def __init__(self, boundary: bytes) -> None:
        self.is_open = False
        self.is_closed = False
        """The first boundary was the closing one: a form without parts."""
        self._line = b"--" + boundary
        self._held = bytearray()
        self._seen = 0

    def feed(self, chunk: bytes) -> bytes:
        """Return what the parser is to be fed, from the first boundary on; of a closing one, what follows it.

        Nothing before the boundary's line is whole.

        Raises:
            ServiceError: bad_multipart.
        """
        if not self._held and chunk.startswith(self._line + b"\r\n"):
            self.is_open = True
            return chunk
        self._held += chunk
        self._search()
        if self.is_open:
            opened, self._held = bytes(self._held), bytearray()
            return opened
        if len(self._held) >= MAX_EDGE_BYTES:
            detail = f"No boundary stands in the first {MAX_EDGE_BYTES // 1024} KiB of the form."
            raise ServiceError(BAD_MULTIPART, detail, limit=_LIMIT)
        return b""

    def _search(self) -> None:
        while not self.is_open:
            at = self._held.find(self._line, self._seen, MAX_EDGE_BYTES)
            if at < 0:
                self._seen = max(self._seen, len(self._held) - len(self._line) + 1)
            if at < 0 or not self._look(at):
                return

    def _look(self, at: int) -> bool:
        """Look at what may be the boundary; return whether it is decided what it is."""
        before, after = bytes(self._held[max(0, at - 2) : at]), at + len(self._line)
        found = _END_OF_LINE.match(self._held, after, MAX_EDGE_BYTES)
        is_line = before[-1:] in (b"", b"\n")
        if is_line and found:
            self._open(before, found)
        elif is_line and _BEGIN_OF_END.match(self._held, after, MAX_EDGE_BYTES):
            self._seen = at
            return False
        else:
            self._seen = at + 1
        return True

    def _open(self, before: bytes, found: re.Match[bytes]) -> None:
        self.is_closed = found[0] == b"--"
        if before not in (b"", b"\r\n") or not (self.is_closed or found[0].endswith(b"\r\n")):
            raise ServiceError(BAD_MULTIPART, LF_ALONE)
        self._held[: found.end()] = b"" if self.is_closed else self._line + b"\r\n"
        self.is_open = True

    def close(self) -> None:
        """Tell what was wrong with a body that ended before its first boundary.

        Raises:
            ServiceError: body_truncated, bad_multipart.
        """
        if self._line.startswith(bytes(self._held).strip()):
            raise ServiceError(BODY_TRUNCATED, "The form ended before its first part; nothing was kept.")
        raise ServiceError(BAD_MULTIPART, "The boundary that the Content-Type names does not stand in the body.")


class Closing:
    """Holds what follows the closing boundary, to see that it is nothing that somebody meant to send."""

    def __init__(self, boundary: bytes) -> None:
        self._line = b"\n--" + boundary
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes that follow.

        Raises:
            ServiceError: bad_multipart, there are too many.
        """
        self._held += data
        if len(self._held) > MAX_EDGE_BYTES:
            detail = f"More than {MAX_EDGE_BYTES // 1024} KiB follow the form's closing boundary."
            raise ServiceError(BAD_MULTIPART, detail, limit=_LIMIT)

    def close(self) -> None:
        """Refuse what was no end: a file may hold what looks like one.

        Raises:
            ServiceError: bad_multipart.
        """
        if not _REST_OF_LAST_LINE.match(self._held) or self._line in self._held:
            raise ServiceError(BAD_MULTIPART, "The form goes on after its closing boundary.")
