"""Why an attempt can fail: a stable code, a sentence for people, whether trying again may help. And what is no failure.

``work`` raises ``AttemptFailed`` where it knows that the reason is this file; ``trouble_of`` tells the errors that are
the machine's, for which no job is blamed; ``failure_of`` finds a reason for every other error.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.codecs.codec import CodecError
from storage.database_errors import trouble_of_database
from storage.errors import StorageError, StorageFull
from storage.jobs.job_rescue import WORKER_LOST, WORKER_STALLED
from storage.trouble import Trouble


@dataclass(frozen=True, slots=True)
class FailureKind:
    """One reason: the title, the same each time, and whether another attempt is pointless."""

    title: str
    is_fatal: bool = False


SOURCE_MISSING = "source_missing"
MALICIOUS = "malicious"

FAILURES: Mapping[str, FailureKind] = {
    SOURCE_MISSING: FailureKind("The uploaded file is not in the store any more.", is_fatal=True),
    # Not fatal: a bit may have flipped in memory only, and the next attempt reads the disk.
    "source_damaged": FailureKind("The stored upload is not what arrived."),
    "codec_failed": FailureKind("The file could not be compressed."),
    "verify_failed": FailureKind("The compressed file did not give the original back."),
    # These two stand in rows of earlier versions: they are the machine's, and a pause now.
    "disk_full": FailureKind("There was no room left to store the result."),
    "out_of_memory": FailureKind("There was not enough memory to compress the file."),
    "storage_failed": FailureKind("The storage could not be read or written."),
    "cpu_limit": FailureKind("Compressing it took more processor time than one job may.", is_fatal=True),
    "memory_limit": FailureKind("Compressing it took more memory than one job may.", is_fatal=True),
    MALICIOUS: FailureKind("The upload was found to be malicious, and was removed.", is_fatal=True),
    "scan_failed": FailureKind("The upload could not be scanned."),
    "internal_error": FailureKind("Something went wrong in the service."),
    WORKER_LOST: FailureKind("Working on this file ended the worker each time.", is_fatal=True),
    WORKER_STALLED: FailureKind("The worker stopped answering while it worked on this file."),
}
"""Every ``error_code`` a job can have. Titles are shown in the status as ``error.title``."""


MACHINE: Mapping[int, Trouble] = {
    errno.ENOSPC: Trouble.ROOM,
    errno.EDQUOT: Trouble.ROOM,
    errno.EIO: Trouble.DISK,
    errno.EREMOTEIO: Trouble.DISK,
    errno.EUCLEAN: Trouble.DISK,
    errno.ESTALE: Trouble.DISK,
    errno.ENODEV: Trouble.DISK,
    errno.ENXIO: Trouble.DISK,
    errno.ENOTCONN: Trouble.DISK,
    errno.ENOMEM: Trouble.MEMORY,
    errno.EMFILE: Trouble.DESCRIPTORS,
    errno.ENFILE: Trouble.DESCRIPTORS,
    errno.EROFS: Trouble.READ_ONLY,
    errno.EACCES: Trouble.NOT_WRITABLE,
    errno.EPERM: Trouble.NOT_WRITABLE,
}
"""The errors of the system that are the machine's and not a file's, wherever an attempt meets them, but for one place:
what cannot be read of the upload itself (``work.source_reader``) may be that file alone."""

TROUBLES: Mapping[Trouble, str] = {
    Trouble.ROOM: "no room is left on the disk",
    Trouble.INODES: "the disk can hold no more files (out of inodes)",
    Trouble.DISK: "the disk reports errors",
    Trouble.MEMORY: "there is not enough memory",
    Trouble.DESCRIPTORS: "too many files are open",
    Trouble.THREADS: "no thread can be started",
    Trouble.LOCKED: "another program keeps the database locked",
    Trouble.READ_ONLY: "the disk is mounted read-only",
    Trouble.NOT_WRITABLE: "the folder may not be written",
    Trouble.HANGING: "the disk does not answer",
}
"""Each trouble as operators read it, in the log and in ``/readyz``."""

NO_FILE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Those of them that say nothing of the file that was asked for."""

_NO_THREAD = "can't start new thread"
"""What Python says; there is no code for it."""


def trouble_of(error: BaseException) -> Trouble | None:
    """Return which trouble of the machine an error means; None: it concerns what was being done."""
    match error:
        case AttemptFailed():
            return None
        case MemoryError():
            return Trouble.MEMORY
        case StorageError():
            cause = error.__cause__
            found = MACHINE.get(cause.errno or 0) if isinstance(cause, OSError) else None
            return found or (Trouble.ROOM if isinstance(error, StorageFull) else None)
        case OSError():
            return MACHINE.get(error.errno or 0)
        case RuntimeError() if _NO_THREAD in str(error):
            return Trouble.THREADS
    return trouble_of_database(error)


class WorkerEnd(StrEnum):
    """Why a worker was replaced."""

    DIED = "died"
    GAVE_UP = "gave_up"
    """It kept failing, and ended itself."""
    HUNG = "hung"
    """It was killed."""


class AttemptFailed(Exception):
    """The attempt cannot go on; ``code`` stands in ``FAILURES``, ``detail`` is a sentence for this occasion."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def failure_of(error: Exception) -> AttemptFailed:
    """Return the failure that an error means where it is no trouble of the machine.

    Its detail holds no path and nothing of the error's own text.
    """
    if isinstance(error, AttemptFailed):
        return error
    if isinstance(error, (StorageError, OSError)):
        return AttemptFailed("storage_failed", "A stored file could not be read or written.")
    if isinstance(error, CodecError):
        return AttemptFailed("codec_failed", "The compressor refused the data.")
    return AttemptFailed("internal_error", f"The attempt ended with an unexpected {type(error).__name__}.")
