"""Every error the storage room raises. Callers translate them; clients never see their text."""

from __future__ import annotations


class StorageError(Exception):
    """Base of all errors of this room."""


class JobNotFound(StorageError):
    """No row has this job id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id}")
        self.job_id = job_id


class JobConflict(StorageError):
    """The job is in a status that does not allow the change."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} is {status}")
        self.job_id = job_id
        self.status = status


class StaleAttempt(StorageError):
    """Another attempt, a cancel or a delete won: stop, and remove your own output."""

    def __init__(self, job_id: str, epoch: int) -> None:
        super().__init__(f"attempt {epoch} of job {job_id} is over")
        self.job_id = job_id
        self.epoch = epoch


class FileMissing(StorageError):
    """The file store holds no file under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no stored file {key}")
        self.key = key


class StorageFull(StorageError):
    """The file store has no room left (ENOSPC, EDQUOT)."""


class StorageFailed(StorageError):
    """The file store could not do what was asked (EIO, EROFS, a failed fsync); the file must be given up."""


class StorageLost(StorageError):
    """What is stored has been pulled away under the process: nothing may be promised, written or deleted.

    Its text says what happened in words for operators, without a path; ``path`` is for the log.
    """

    def __init__(self, what: str, path: str) -> None:
        super().__init__(what)
        self.path = path


class FilesRefused(StorageError):
    """The stored files may not be used by this database; the text says why and what to do, for operators only."""


class FilesServed(FilesRefused):
    """Another service receives uploads into these files."""


class MessageNotFound(StorageError):
    """The job has no message with this id."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"no message {message_id}")
        self.message_id = message_id


class MessageUnderWay(StorageError):
    """A delivery of the message is under way."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"message {message_id} is under way")
        self.message_id = message_id


class TooManyRetries(StorageError):
    """Clients have had the job run again as often as they may."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} was retried too often")
        self.job_id = job_id


class TooManyReplays(StorageError):
    """The message has been asked for again as often as it may be."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"message {message_id} was replayed too often")
        self.message_id = message_id
