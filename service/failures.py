"""Why an attempt can fail, in one table: a stable code, a sentence for people, and whether trying again may help.

``work`` raises ``AttemptFailed`` where it knows the reason; ``failure_of`` finds one for every other error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.codec import CodecError
from storage.errors import StorageError, StorageFull


@dataclass(frozen=True, slots=True)
class FailureKind:
    """One reason: the title, the same each time, and whether another attempt is pointless."""

    title: str
    is_fatal: bool = False


SOURCE_MISSING = "source_missing"

FAILURES: Mapping[str, FailureKind] = {
    SOURCE_MISSING: FailureKind("The uploaded file is not in the store any more.", is_fatal=True),
    # Not fatal: a bit may have flipped in memory only, and the next attempt reads the disk.
    "source_damaged": FailureKind("The stored upload is not what arrived."),
    "codec_failed": FailureKind("The file could not be compressed."),
    "verify_failed": FailureKind("The compressed file did not give the original back, so it was thrown away."),
    "disk_full": FailureKind("There was no room left to store the result."),
    "storage_failed": FailureKind("The storage could not be read or written."),
    "out_of_memory": FailureKind("There was not enough memory to compress the file."),
    "internal_error": FailureKind("Something went wrong in the service."),
    # These two are written by ``storage.job_rescue``: the worker could not do it any more.
    "worker_lost": FailureKind("Working on this file ended the worker each time.", is_fatal=True),
    "worker_stalled": FailureKind("The worker stopped answering while it worked on this file."),
}
"""Every ``error_code`` a job can have. Titles are shown in the status as ``error.title``."""


class AttemptFailed(Exception):
    """The attempt cannot go on; ``code`` stands in ``FAILURES``, ``detail`` is a sentence for this occasion."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def failure_of(error: Exception) -> AttemptFailed:
    """Return the failure that an error means. Its detail holds no path and nothing of the error's own text."""
    if isinstance(error, AttemptFailed):
        return error
    if isinstance(error, StorageFull):
        return AttemptFailed("disk_full", "The disk was full while the result was being written.")
    if isinstance(error, (StorageError, OSError)):
        return AttemptFailed("storage_failed", "A stored file could not be read or written.")
    if isinstance(error, CodecError):
        return AttemptFailed("codec_failed", "The compressor refused the data.")
    if isinstance(error, MemoryError):
        return AttemptFailed("out_of_memory", "The compressor asked for more memory than there was.")
    return AttemptFailed("internal_error", f"The attempt ended with an unexpected {type(error).__name__}.")
