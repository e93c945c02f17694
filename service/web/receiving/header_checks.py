"""How headers that change what a body means are looked at: each check raises what refuses its header.

``header_rules`` says which header is looked at by which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.errors import (
    CONTENT_ENCODING,
    LENGTH_MISMATCH,
    MULTIPART_TYPE,
    PARTIAL_UPLOAD,
    PRECONDITION_FAILED,
    TRANSFER_ENCODING,
    UNSUPPORTED_HEADER,
    URLENCODED,
    ErrorKind,
    ServiceError,
)
from service.web.receiving.part_encodings import DECODERS, IDENTITIES
from service.web.receiving.urlencoded import advice


class Place(StrEnum):
    """Where headers stand, and so what body they are of."""

    RAW = "raw body"
    FORM = "form"
    PART = "part"


@dataclass(frozen=True, slots=True)
class Said:
    """One header and what stands beside it."""

    name: str
    value: str
    place: Place
    method: str
    headers: Mapping[str, str]

    def refusal(self, kind: ErrorKind, detail: str) -> ServiceError:
        """Return the error that names the header."""
        return ServiceError(kind, detail, header=self.name)


def media_type_of(headers: Mapping[str, str]) -> str:
    """Return the media type in lower case, without its parameters and without blanks."""
    return "".join(headers.get("content-type", "").partition(";")[0].partition(",")[0].split()).lower()


_TYPES_OF_PIECES = frozenset({"message/partial", "application/offset+octet-stream", "application/partial-upload"})
"""RFC 2046 (5.2.2), tus 1.0, and draft-ietf-httpbis-resumable-upload."""


def check_type(said: Said) -> None:
    """Refuse bodies of types whose bytes are not those of a file."""
    media_type = media_type_of(said.headers)
    if media_type in _TYPES_OF_PIECES:
        refuse_piece(said)
    if media_type == "message/external-body":
        raise said.refusal(UNSUPPORTED_HEADER, "The file is elsewhere (RFC 2046, 5.2.3); send its own bytes.")
    if said.place is Place.PART:
        if (
            media_type.startswith("multipart/")
            and "filename" not in said.headers.get("content-disposition", "").lower()
        ):
            detail = "A part of the form holds parts itself (RFC 7578, 4.3); send each file as a part of its own."
            raise said.refusal(MULTIPART_TYPE, detail)
    elif media_type == "application/x-www-form-urlencoded":
        raise said.refusal(URLENCODED, advice(said.headers.get("user-agent", "")))
    elif said.place is Place.RAW and media_type.startswith("multipart/"):
        detail = (
            "Forms are taken by POST to /uploads as multipart/form-data. A file that is itself of a multipart type"
            " is sent as application/octet-stream."
        )
        raise said.refusal(MULTIPART_TYPE, detail)


def check_coding(said: Said) -> None:
    """Refuse every coding but that of none."""
    codings = {coding.strip().lower() for coding in said.value.split(",", 10)}
    if not codings <= {"", "identity"}:
        detail = f"The bytes are announced as {said.value[:40]!r}; vacpack keeps those that arrive, so name no coding."
        raise said.refusal(CONTENT_ENCODING, detail)


def check_transfer_coding(said: Said) -> None:
    """Refuse the transfer coding of a part."""
    if said.place is Place.PART and said.value.strip().lower() not in ("", "identity"):
        raise said.refusal(TRANSFER_ENCODING, "A part has no Transfer-Encoding; send its bytes as they are.")


def check_mime_encoding(said: Said) -> None:
    """Refuse encodings that nobody undoes."""
    encoding = said.value.strip().lower()
    if encoding in IDENTITIES or (said.place is Place.PART and encoding in DECODERS):
        return
    if encoding in DECODERS:
        detail = f"{encoding} is undone in a form's parts only; send the bytes of the body as they are."
    else:
        known = ", ".join((*sorted(IDENTITIES - {""}), *DECODERS))
        detail = f"{said.value[:40]!r} is not an encoding that is undone here; there are: {known}."
    raise said.refusal(TRANSFER_ENCODING, detail)


def check_length(said: Said) -> None:
    """Refuse a part's length that is no number."""
    # Nineteen digits are more than any disk holds, and Python reads no number of thousands.
    is_length = said.value.isascii() and said.value.isdigit() and len(said.value) <= 19
    if said.place is Place.PART and not is_length:
        raise said.refusal(LENGTH_MISMATCH, "A part's Content-Length is no number of bytes.")


def refuse_piece(said: Said) -> None:
    """Refuse a piece of a file."""
    detail = f"{said.name} announces a piece of a file or a resumable upload; send the whole file in one request."
    raise said.refusal(PARTIAL_UPLOAD, detail)


_WHOLE = {"upload-complete": "?1", "upload-incomplete": "?0"}
"""What says that all of the file is in this request (draft-ietf-httpbis-resumable-upload, 11 and 03): an ordinary
upload to a server that does not resume. So do all uploads of recent iOS."""


def check_resumable(said: Said) -> None:
    """Refuse what a resumable protocol says of anything but a whole file."""
    is_whole = any(said.headers.get(name, "").strip() == value for name, value in _WHOLE.items())
    if said.name == "upload-draft-interop-version" or _WHOLE.get(said.name) == said.value.strip():
        return
    if said.name == "upload-length" and is_whole and _is_all_there_is(said):
        return
    refuse_piece(said)


def check_total_length(said: Said) -> None:
    """Refuse ownCloud's length of a file but where all of it is in this request, as it is unless it sends chunks."""
    if "oc-chunked" in said.headers or not _is_all_there_is(said):
        refuse_piece(said)


def _is_all_there_is(said: Said) -> bool:
    return said.value.strip() == said.headers.get("content-length")


def refuse_precondition(said: Said) -> None:
    """Refuse a precondition that cannot be true."""
    detail = "Every upload is a new job, so there is nothing yet that If-Match could match; leave it out."
    raise said.refusal(PRECONDITION_FAILED, detail)


def check_method(said: Said) -> None:
    """Refuse another method than the request's."""
    if said.value.strip().upper() != said.method:
        raise said.refusal(UNSUPPORTED_HEADER, "A request's method is the one in its first line; send it with that.")


def refuse_copy(said: Said) -> None:
    """Refuse what asks for more than the file's bytes."""
    raise said.refusal(UNSUPPORTED_HEADER, f"{said.name} asks for what is not done here; send the file's bytes alone.")
