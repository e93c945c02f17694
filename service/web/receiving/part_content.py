"""What a part of a form holds, as its own headers say it: its encoding undone, its length checked, its text read."""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import BAD_ENCODING, BAD_OPTION, LENGTH_MISMATCH, ServiceError
from service.web.names.charsets import codec_of
from service.web.receiving.disposition import parameters_of
from service.web.receiving.part_encodings import DECODERS
from storage.files.file_store import Chunk


class PartContent:
    """The bytes of one part, on their way from the form to a file or an option."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._encoding = headers.get("content-transfer-encoding", "").strip().lower()
        decoder = DECODERS.get(self._encoding)
        self._decoder = None if decoder is None else decoder()
        length = headers.get("content-length")
        self._declared = None if length is None else int(length)
        self._sent_bytes = self._decoded_bytes = 0

    def take(self, data: memoryview) -> Chunk:
        """Return what ``data`` stands for: itself, uncopied, where no encoding is named.

        Raises:
            ServiceError: bad_encoding.
        """
        self._sent_bytes += len(data)
        if self._decoder is None:
            return data
        try:
            decoded = self._decoder.feed(data)
        except ValueError as error:
            raise self._broken(error) from error
        self._decoded_bytes += len(decoded)
        return decoded

    def end(self) -> None:
        """Check that all of it is there.

        Raises:
            ServiceError: bad_encoding, length_mismatch.
        """
        try:
            if self._decoder is not None:
                self._decoder.end()
        except ValueError as error:
            raise self._broken(error) from error
        came = {self._sent_bytes} | ({self._decoded_bytes} if self._decoder is not None else set())
        if self._declared is not None and self._declared not in came:
            detail = f"A part's Content-Length says {self._declared} bytes, and {self._sent_bytes} came."
            raise ServiceError(LENGTH_MISMATCH, detail, expected_bytes=self._declared, received_bytes=self._sent_bytes)

    def _broken(self, error: ValueError) -> ServiceError:
        return ServiceError(BAD_ENCODING, f"A part is not the {self._encoding} that it says it is: {error}.")


def charset_of(headers: Mapping[str, str], default: str) -> str:
    """Return the charset that a field's ``Content-Type`` names, or the default (RFC 7578, 4.5)."""
    _, parameters = parameters_of(headers.get("content-type"))
    return parameters.get(b"charset", b"").decode("latin-1").lower() or default


def text_of(value: bytes | bytearray, charset: str, name: str) -> str:
    """Return a field's text, without blanks round it.

    Raises:
        ServiceError: bad_option, it is not in that charset, or nobody knows the charset.
    """
    # Only what text is really in: of 64 KiB, Python's punycode would take a minute.
    codec = codec_of(charset)
    try:
        if codec is not None:
            return value.decode(codec).strip()
    except UnicodeError:
        pass
    raise ServiceError(BAD_OPTION, f"{name[:100]} is no text in {charset[:40]!r}.", option=name[:100])
