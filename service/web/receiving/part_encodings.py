"""``Content-Transfer-Encoding`` undone as a stream (RFC 2045, 6): base64 and quoted-printable, strictly.

What a lenient decoder passes over is a byte that its sender may have meant, so it is refused instead. Only how lines
end is left to the sender: CRLF as MIME has it, or LF alone, which senders write who never saw the wire.
"""

from __future__ import annotations

import binascii
import re
from typing import Protocol

IDENTITIES = frozenset({"", "7bit", "8bit", "binary"})
"""Encodings that leave the bytes as they are."""
MAX_HELD_BYTES = 1024
"""Of blanks at a line's end, kept until it is known whether the line ends. RFC 5322 knows no longer line."""

_BLANKS = b" \t\r\n"


class Decoder(Protocol):
    """Undoes an encoding; both methods raise ValueError where the text is not in it."""

    def feed(self, data: memoryview) -> bytes:
        """Return the bytes that ``data`` completes."""
        ...

    def end(self) -> None:
        """Check that nothing is left unfinished."""
        ...


class Base64:
    """Base64 in lines of any length; blanks between characters mean nothing, other characters are refused."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_padded = False

    def feed(self, data: memoryview) -> bytes:
        """Return the bytes of the groups of four that ``data`` completes."""
        text = self._rest + bytes(data).translate(None, _BLANKS)
        if text and self._is_padded:
            raise ValueError("something follows the padding")
        whole = len(text) - len(text) % 4
        self._rest = text[whole:]
        decoded = binascii.a2b_base64(text[:whole], strict_mode=True)
        self._is_padded = self._is_padded or text[:whole].endswith(b"=")
        if self._is_padded and self._rest:
            raise ValueError("something follows the padding")
        return decoded

    def end(self) -> None:
        """Check that the last group is whole."""
        if self._rest:
            raise ValueError("the last group of four characters is incomplete")


_QUOTED = re.compile(rb"(?:[!-<>-~ \t\n]++|\r\n|=[0-9A-Fa-f]{2}|=[ \t]*+\r?\n)*+")
_BLANKS_AT_END = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")


class QuotedPrintable:
    """Quoted-printable; blanks at a line's end were put there on the way, and are removed (RFC 2045, 6.7, rule 3)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: memoryview) -> bytes:
        """Return the bytes that ``data`` decides."""
        text = self._rest + bytes(data)
        whole = _decided(text)
        self._rest = text[whole:]
        if len(self._rest) > MAX_HELD_BYTES:
            raise ValueError("a line ends in too many blanks")
        text = text[:whole]
        if not _QUOTED.fullmatch(text):
            raise ValueError("a character that must be quoted is not, or a = begins nothing")
        return binascii.a2b_qp(_BLANKS_AT_END.sub(b"", text))

    def end(self) -> None:
        """Check that the text does not end within a quoted byte or a soft line break."""
        if self._rest.strip(b" \t"):
            raise ValueError("the last line is incomplete")


def _decided(text: bytes) -> int:
    """Return how much of a text means the same whatever follows: no beginning of ``=41``, no blanks at the end."""
    line = text.removesuffix(b"\r").rstrip(b" \t")
    if line.endswith(b"="):
        return len(line) - 1
    is_cut = len(line) == len(text) and line[-2:-1] == b"="
    return len(line) - 2 if is_cut else len(line)


DECODERS: dict[str, type[Base64] | type[QuotedPrintable]] = {"base64": Base64, "quoted-printable": QuotedPrintable}
"""Encodings that are undone, by their names."""
