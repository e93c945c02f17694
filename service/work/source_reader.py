"""Reading stored sources in small steps: hashed, and held to what was recorded at the door.

The only way from a source to a result (ADR 0012): whoever wants its digest must have read it to its proven end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from service.codecs.checksum import new_checksum
from service.failures import NO_FILE, AttemptFailed
from storage.errors import FileMissing, StorageFailed
from storage.files.file_store import FileStore
from storage.jobs.job_attempts import ClaimedSource

READ_BYTES = 256 << 10
"""One step. Small, so that the slowest levels (0.5 to 2 MB/s) are asked to stop several times a second, and so that
the bytes are still in the core's cache when the codec takes them after the hash."""


class SourceReader:
    """Reads one source once, from its start, by iterating; afterwards its digests are known. For one thread.

    Reading is not progress: codecs read ahead of what they have done. ``look`` reads it besides.
    """

    def __init__(
        self, store: FileStore, source: ClaimedSource, *, on_read: Callable[[], object] = lambda: None
    ) -> None:
        """``on_read`` is called after each step."""
        self._on_read = on_read
        self._store = store
        self._source = source
        self._digest = hashlib.sha256()
        self._checksum = new_checksum()
        self._is_proven = False

    @property
    def sha256(self) -> str:
        """The SHA-256 of the source, in hex.

        Raises:
            AttemptFailed: it was not read to its end, so that nothing is known of it.
        """
        self._check_proven()
        return self._digest.hexdigest()

    @property
    def checksum(self) -> str:
        """The checksum of the source, in hex; raises as ``sha256``."""
        self._check_proven()
        return self._checksum.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in steps of ``READ_BYTES``.

        Raises:
            AttemptFailed: the file is gone, or is not what arrived: another size, checksum or digest than recorded.
                Its pages are dropped then: the next attempt reads the disk, where only the memory may have been wrong.
                The same where the disk does not give it back; other errors of the machine are raised as they come.
        """
        for chunk in self.look():
            self._digest.update(chunk)
            self._checksum.update(chunk)
            yield chunk
        self._prove()

    def look(self) -> Iterator[bytes]:
        """Yield the same bytes without hashing them, as often as is asked; otherwise as iterating."""
        bytes_read = 0
        with open_source(self._store, self._source) as file:
            while chunk := read_some(file, READ_BYTES):
                bytes_read += len(chunk)
                self._on_read()
                if bytes_read > self._source.size_bytes:
                    raise self._damaged("The stored upload has more bytes than arrived.")
                yield chunk
        if bytes_read != self._source.size_bytes:
            raise self._damaged("The stored upload has fewer bytes than arrived.")

    def _prove(self) -> None:
        if self._source.checksum not in (None, self._checksum.hexdigest()):
            raise self._damaged("The stored upload has another checksum than what arrived.")
        if self._source.sha256 not in (None, self._digest.hexdigest()):
            raise self._damaged("The stored upload has another SHA-256 than what arrived.")
        self._is_proven = True

    def _check_proven(self) -> None:
        if not self._is_proven:
            raise AttemptFailed("verify_failed", "The compressor did not read the whole upload.")

    def _damaged(self, detail: str) -> AttemptFailed:
        self._store.drop_cached(self._source.key)
        return AttemptFailed("source_damaged", detail)


def open_source(store: FileStore, source: ClaimedSource) -> BinaryIO:
    """Return a source's file; the caller closes it, and reads it by ``read_some``.

    Raises:
        AttemptFailed: the file is gone, or cannot be opened though others can.
        StorageFailed: nothing in the folder can be opened, or no file at all.
    """
    try:
        return store.open(source.key)
    except FileMissing as error:
        raise AttemptFailed("source_missing", "The uploaded file is not in the store.") from error
    except StorageFailed as error:
        if _is_of_this_file(error.__cause__) and _can_be_looked_at(store, source):
            raise _unreadable() from error
        raise


def read_some(file: BinaryIO, size_bytes: int) -> bytes:
    """Return the next bytes of a source, at most so many; none at its end.

    Raises:
        AttemptFailed: the disk does not give them back.
        OSError: no file can be read just now.
    """
    try:
        return file.read(size_bytes)
    except OSError as error:
        if _is_of_this_file(error):
            raise _unreadable() from error
        raise


def _is_of_this_file(error: BaseException | None) -> bool:
    return not (isinstance(error, OSError) and error.errno in NO_FILE)


def _can_be_looked_at(store: FileStore, source: ClaimedSource) -> bool:
    """Whether the folder at least may be entered: else all files are the same, and none is to blame."""
    try:
        store.size_bytes(source.key)
    except StorageFailed:
        return False
    return True


def _unreadable() -> AttemptFailed:
    return AttemptFailed("storage_failed", "The stored upload could not be read.")
