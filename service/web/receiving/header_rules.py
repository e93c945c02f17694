"""Headers that change what a body means, in one table: each is honoured or refused, on every door and in every part.

A header that is passed over in silence makes the service keep something else than was sent: base64 instead of the
file, a piece instead of the whole. Headers that describe only, and those nobody knows, may be passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from service.errors import BAD_DIGEST, BAD_REQUEST, UNSUPPORTED_HEADER, ServiceError
from service.web.http.digests import DESCRIPTIONS, FIELDS, is_digest
from service.web.receiving.header_checks import (
    Place,
    Said,
    check_coding,
    check_length,
    check_method,
    check_mime_encoding,
    check_resumable,
    check_total_length,
    check_transfer_coding,
    check_type,
    refuse_copy,
    refuse_piece,
    refuse_precondition,
)


def gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by their names, in lower case; of a list that comes in several lines, all of it.

    Raises:
        ServiceError: bad_request, one that matters is said twice, and differently.
    """
    headers: dict[str, str] = {}
    for name, value in pairs:
        earlier = headers.get(name)
        if earlier is None or earlier == value:
            headers[name] = value
        elif name in _LISTS:
            headers[name] = f"{earlier}, {value}"
        elif name in _SINGLE or rule_of(name) is not None:
            raise ServiceError(BAD_REQUEST, f"{name} is said twice, and differently.", header=name)
    return headers


def check_headers(headers: Mapping[str, str], place: Place, method: str = "POST") -> None:
    """Refuse what cannot be honoured.

    Raises:
        ServiceError: of the kinds that the table names.
    """
    for name, value in headers.items():
        if name in _BY_NAME or name.startswith(_PREFIXES):
            rule = rule_of(name)
            if rule is not None and rule.check is not None:
                rule.check(Said(name, value, place, method, headers))


def _check_trailer(said: Said) -> None:
    announced = {name.strip().lower() for name in said.value.split(",")}
    if bad := sorted(name for name in announced if rule_of(name) is not None):
        detail = f"{', '.join(bad)} after the body is not read; send it as a header before it."
        raise said.refusal(BAD_DIGEST if any(map(is_digest, bad)) else UNSUPPORTED_HEADER, detail)


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of some headers."""

    names: tuple[str, ...]
    """In lower case; one that ends in ``*`` stands for all that begin so."""
    outcome: str
    """For people; the documents show it."""
    check: Callable[[Said], None] | None = None
    """Raises what refuses it; None: other modules honour it, or there is nothing to refuse."""


RULES = (
    Rule(
        ("content-type",),
        "`multipart/form-data` by POST is a form. Any other `multipart/…` of a request, and of a part without a file"
        " name: `multipart_type`. `application/x-www-form-urlencoded` of a request: `urlencoded`. All others are kept"
        " with the file, but those of pieces (`message/partial`, `application/offset+octet-stream`,"
        " `application/partial-upload`), which are `partial_upload`, and `message/external-body`, `unsupported_header`."
        " On a field, its `charset` is honoured, and before it that of a field `_charset_`.",
        check_type,
    ),
    Rule(("content-encoding",), "`identity` or none; any other, `aws-chunked` too: `content_encoding`", check_coding),
    Rule(
        ("content-transfer-encoding",),
        "In a part `base64` and `quoted-printable` are undone, strictly; `7bit`, `8bit` and `binary` change nothing;"
        " any other, and the first two on a raw body or a whole form: `transfer_encoding`",
        check_mime_encoding,
    ),
    Rule(("transfer-encoding",), "Of a request: HTTP's. In a part: `transfer_encoding`", check_transfer_coding),
    Rule(
        ("content-length",),
        "Of a part, where it has one: as many bytes as came, before or after decoding, or `length_mismatch`",
        check_length,
    ),
    Rule(
        tuple(FIELDS),
        "SHA-256, SHA-512, SHA-1, MD5, CRC-32 and Adler-32, checked before the 202, on a raw body or on any part, of"
        " which they cover the bytes after decoding. Where only others are named, and none in another of these headers;"
        " on a whole form; and where `X-Amz-Content-Sha256` announces aws-chunked (`STREAMING-…`): `bad_digest`",
    ),
    Rule(
        ("x-amz-checksum-*", "x-ms-content-crc64"),
        "Digests of other algorithms (CRC-32C, CRC-64): passed over beside one that is checked; alone: `bad_digest`",
    ),
    Rule(
        ("trailer",),
        "With a digest in it: `bad_digest`; with any other of this table: `unsupported_header`",
        _check_trailer,
    ),
    Rule(
        (
            "content-range",
            "range",
            "x-content-range",
            "x-ms-range",
            "x-amz-write-offset-bytes",
            "tus-*",
            "x-goog-upload-*",
            "x-upload-content-*",
            "uploader-*",
            "x-chunk-*",
            "oc-chunked",
        ),
        "A piece of a file, or the beginning of a protocol for pieces: `partial_upload` (RFC 9110, 14.5). `Range` may"
        " be ignored (14.2), but who sends it with a body means a piece",
        refuse_piece,
    ),
    Rule(
        ("upload-*",),
        "`Upload-Complete: ?1`, and with it an `Upload-Length` that is the `Content-Length`, is a whole upload; any"
        " other: `partial_upload`",
        check_resumable,
    ),
    Rule(
        ("oc-total-length",),
        "As many bytes as the `Content-Length`, without `OC-Chunked`, are a whole upload; any other: `partial_upload`",
        check_total_length,
    ),
    Rule(
        ("if-match",),
        "Never true, as every upload is a new job: `precondition_failed` (RFC 9110, 13.1.1)",
        refuse_precondition,
    ),
    Rule(
        ("if-none-match", "if-unmodified-since", "if-modified-since", "if-range"),
        "True, or of no meaning here, for the same reason (RFC 9110, 13.1)",
    ),
    Rule(
        ("x-http-method-override", "x-http-method", "x-method-override"),
        "The request's own method, or `unsupported_header`",
        check_method,
    ),
    Rule(
        (
            "x-amz-copy-source*",
            "x-amz-decoded-content-length",
            "x-amz-trailer",
            "x-ms-copy-source",
            "x-goog-copy-source",
        ),
        "A copy of another file, or a body that is not the file alone: `unsupported_header`",
        refuse_copy,
    ),
    Rule(("content-disposition",), "Of a raw body: its name, unless the URL has one. Of a part: its name and kind"),
    Rule(
        (
            "content-language",
            "content-location",
            "content-id",
            "content-description",
            "mime-version",
            "prefer",
            "want-digest",
            "want-content-digest",
            *sorted(DESCRIPTIONS),
        ),
        "Describes or wishes, and changes nothing of the bytes: passed over",
    ),
)
"""All rules. The first one that names a header counts."""

_BY_NAME = {name: rule for rule in reversed(RULES) for name in rule.names if not name.endswith("*")}
_FAMILIES = [(name[:-1], rule) for rule in RULES for name in rule.names if name.endswith("*")]
_PREFIXES = tuple(prefix for prefix, _ in _FAMILIES)
_LISTS = frozenset({"content-encoding", "repr-digest", "content-digest", "digest", "x-goog-hash", "trailer"}) | {
    "want-repr-digest",
    "if-match",
    "if-none-match",
    "prefer",
}
_SINGLE = frozenset({"idempotency-key"})


def rule_of(name: str) -> Rule | None:
    """Return the rule for a header, by its name in lower case; None for one that changes nothing."""
    rule = _BY_NAME.get(name)
    if rule is None and name.startswith(_PREFIXES):
        return next(rule for prefix, rule in _FAMILIES if name.startswith(prefix))
    return rule
