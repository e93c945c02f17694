"""Every error a client can see, in one block: a stable code, a status, a title. Clients match on the code.

A ``ServiceError`` carries one of them with a sentence for this occasion; ``web.problems`` renders it. Nothing of the
system's own text, no path and no SQL ever goes into ``detail``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One kind of error: what clients match on, the HTTP status, and the title, the same on every occasion."""

    code: str
    status: int
    title: str
    limit: str | None = None
    """The limit that whoever is refused so has met, unless the occasion names another."""


BODY_TRUNCATED = ErrorKind("body_truncated", 400, "The upload ended before it was whole")
BAD_MULTIPART = ErrorKind("bad_multipart", 400, "The form could not be read")
BAD_ENCODING = ErrorKind("bad_encoding", 400, "A part is not in the encoding it names")
LENGTH_MISMATCH = ErrorKind("length_mismatch", 400, "A part is not as long as it says")
PARTIAL_UPLOAD = ErrorKind("partial_upload", 400, "Only whole files are taken, each in one request")
UNSUPPORTED_HEADER = ErrorKind("unsupported_header", 400, "A header asks for what is not done here")
BAD_DIGEST = ErrorKind("bad_digest", 400, "The digest header could not be read")
DIGEST_MISMATCH = ErrorKind("digest_mismatch", 400, "What arrived is not what the digest says")
BAD_IDEMPOTENCY_KEY = ErrorKind("bad_idempotency_key", 400, "The Idempotency-Key could not be read")
BAD_REQUEST = ErrorKind("bad_request", 400, "The request could not be read")
ADMIN_ONLY = ErrorKind("admin_only", 401, "This needs the admin token")
KEY_NEEDED = ErrorKind("key_needed", 403, "This needs the job's manage key")
CROSS_SITE = ErrorKind("cross_site", 403, "A page of another site may not do this")
JOB_NOT_FOUND = ErrorKind("job_not_found", 404, "There is no such job")
MESSAGE_NOT_FOUND = ErrorKind("message_not_found", 404, "The job has no such message")
NOT_FOUND = ErrorKind("not_found", 404, "There is nothing at this address")
METHOD_NOT_ALLOWED = ErrorKind("method_not_allowed", 405, "This address does not take that method")
RECEIVE_TIMEOUT = ErrorKind("receive_timeout", 408, "The upload stopped moving", "receive_timeout_seconds")
TOO_SLOW = ErrorKind("too_slow", 408, "The upload came too slowly")
NOT_READY = ErrorKind("not_ready", 409, "There is no result yet")
NO_RESULT = ErrorKind("no_result", 409, "The job ended without a result")
NOT_SCANNED = ErrorKind("not_scanned", 409, "The upload has not been found clean")
NO_ORIGINAL = ErrorKind("no_original", 409, "An archive has no single original")
NOT_CANCELLABLE = ErrorKind("not_cancellable", 409, "The job has already ended")
NOT_RETRYABLE = ErrorKind("not_retryable", 409, "Only failed and cancelled jobs can be run again")
TOO_MANY_RETRIES = ErrorKind("too_many_retries", 409, "The job was run again as often as it may be")
DELIVERY_UNDER_WAY = ErrorKind("delivery_under_way", 409, "The message is being sent just now")
TOO_MANY_REPLAYS = ErrorKind("too_many_replays", 409, "The message was sent again as often as it may be")
NOT_TRANSCODABLE = ErrorKind("not_transcodable", 409, "This result cannot be given in that format")
SUPERSEDED = ErrorKind("superseded", 409, "A newer request with the same Idempotency-Key took over")
JOB_EXPIRED = ErrorKind("job_expired", 410, "The job's files are gone")
SOURCE_MISSING = ErrorKind("source_missing", 410, "The uploaded file is not in the store any more")
MALICIOUS = ErrorKind("malicious", 410, "The upload was found to be malicious, and was removed")
RESULT_DAMAGED = ErrorKind("result_damaged", 410, "The stored result is damaged or lost")
ORIGINAL_DAMAGED = ErrorKind("original_damaged", 410, "The stored upload is damaged or lost")
LENGTH_REQUIRED = ErrorKind("length_required", 411, "The upload's length is not said")
PRECONDITION_FAILED = ErrorKind("precondition_failed", 412, "What the request asks for first is not so")
UPLOAD_TOO_LARGE = ErrorKind("upload_too_large", 413, "The upload is larger than allowed", "max_upload_bytes")
TOO_MANY_FILES = ErrorKind("too_many_files", 413, "The form holds more files than allowed", "max_files_per_upload")
TOO_MANY_PARTS = ErrorKind("too_many_parts", 413, "The form holds more parts than allowed", "max_parts_per_form")
TARGET_TOO_LONG = ErrorKind("target_too_long", 414, "The request's address is longer than allowed")
URLENCODED = ErrorKind("urlencoded", 415, "This content type damages files")
CONTENT_ENCODING = ErrorKind("content_encoding", 415, "Send the file as it is, without Content-Encoding")
TRANSFER_ENCODING = ErrorKind("transfer_encoding", 415, "This Content-Transfer-Encoding is not undone here")
MULTIPART_TYPE = ErrorKind("multipart_type", 415, "Of multipart types only a form by POST is taken apart")
RANGE_NOT_SATISFIABLE = ErrorKind("range_not_satisfiable", 416, "The range lies outside the file")
EXPECTATION_FAILED = ErrorKind("expectation_failed", 417, "The expectation cannot be met")
UNKNOWN_HOST = ErrorKind("unknown_host", 421, "The service is not known by this name")
BAD_OPTION = ErrorKind("bad_option", 422, "An option has a value it cannot have")
UNKNOWN_OPTION = ErrorKind("unknown_option", 422, "There is no such option")
OPTION_NOT_OFFERED = ErrorKind("option_not_offered", 422, "This server does not offer that option")
FILE_MISSING = ErrorKind("file_missing", 422, "The form holds no file")
ONE_FILE_ONLY = ErrorKind("one_file_only", 422, "This format holds one file only")
IDEMPOTENCY_MISMATCH = ErrorKind("idempotency_mismatch", 422, "This Idempotency-Key belongs to another request")
ADDRESS_SHARE = ErrorKind("address_share", 429, "Your address has its share already")
TOO_MANY_GUESSES = ErrorKind("too_many_guesses", 429, "Too many keys were wrong")
TOO_MANY_QUERIES = ErrorKind("too_many_queries", 429, "Your address asks too often")
HEADERS_TOO_LARGE = ErrorKind("headers_too_large", 431, "The request's headers are larger than allowed")
INTERNAL_ERROR = ErrorKind("internal_error", 500, "Something went wrong here")
STORAGE_FAILED = ErrorKind("storage_failed", 500, "The upload could not be stored")
TRANSFER_CODING = ErrorKind("transfer_coding", 501, "The transfer coding is not understood")
QUEUE_FULL = ErrorKind("queue_full", 503, "Too many jobs are waiting")
TOO_MANY_CONNECTIONS = ErrorKind("too_many_connections", 503, "Too many connections are open")
TOO_MANY_DOWNLOADS = ErrorKind("too_many_downloads", 503, "Too many downloads are being sent")
TOO_MANY_CONVERSIONS = ErrorKind("too_many_conversions", 503, "Too many downloads are being converted")
TOO_MANY_STREAMS = ErrorKind("too_many_streams", 503, "Too many event streams are open")
SHUTTING_DOWN = ErrorKind("shutting_down", 503, "The service is about to stop")
DATABASE_BUSY = ErrorKind("database_busy", 503, "The job table cannot be written just now")
STORAGE_LOST = ErrorKind("storage_lost", 503, "What the service stores in has been pulled away")
NOT_HEALTHY = ErrorKind("not_healthy", 503, "The service is not ready")
HTTP_VERSION = ErrorKind("http_version", 505, "The version of HTTP is not spoken here")
STORAGE_FULL = ErrorKind("storage_full", 507, "There is not enough room on the server", "min_free_bytes")

ERRORS: Mapping[str, ErrorKind] = MappingProxyType(
    {kind.code: kind for kind in tuple(globals().values()) if isinstance(kind, ErrorKind)}
)
"""All kinds by code."""


class ServiceError(Exception):
    """An error for the client: its kind, a sentence on what to do, and what a program may want to know.

    ``members`` become members of the problem document (RFC 9457, 3.2), ``headers`` response headers.
    """

    def __init__(
        self, kind: ErrorKind, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(f"{kind.code}: {detail}")
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members
