"""Stored files opened for a download: what their rows say, or refused or broken off; the wrong size is noted."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import BinaryIO, NoReturn

from sqlalchemy.exc import DBAPIError

from service.codecs.terms import CodecError
from service.errors import MALICIOUS, ORIGINAL_DAMAGED, RESULT_DAMAGED, SOURCE_MISSING, ServiceError
from service.job_document import Row, is_damaged, is_malicious
from service.web import answers
from service.web.parts import Parts
from service.web.sending.streams import DamagedWhile, Proof, chunks_of
from storage.errors import FileMissing, StorageLost
from storage.files.file_store import FileStore
from storage.files.file_system import storage_errors
from storage.ids import Key
from storage.jobs.job_table import note_source_lost
from storage.jobs.job_views import job_sources
from storage.jobs.result_damage import note_damaged
from storage.lifecycle import RETRYABLE

_log = logging.getLogger("vacpack.downloads")


class OtherSize(Exception):
    """The stored file has more or fewer bytes than its row says."""


def check_undamaged(row: Row) -> None:
    """Refuse a download of what is known to be damaged.

    Raises:
        ServiceError: result_damaged.
    """
    if is_damaged(row):
        raise damaged_result()


def check_not_malicious(row: Row) -> None:
    """Refuse what needs an upload that was removed because it is malicious.

    Raises:
        ServiceError: malicious.
    """
    if is_malicious(row):
        raise ServiceError(MALICIOUS, "Nothing of it is kept, and the job cannot be run again.")


def damaged_result() -> ServiceError:
    """Return the refusal."""
    return ServiceError(RESULT_DAMAGED, "What is stored is not what was made; only a backup has it.")


def damaged_original() -> ServiceError:
    """Return the refusal of a source that no result has replaced yet."""
    return ServiceError(ORIGINAL_DAMAGED, "What is stored is not what arrived. Send the file again.")


async def check_sources(parts: Parts, job_id: str) -> None:
    """Find out whether a job that is to be run again has its sources; one that is in another status is let pass.

    Raises:
        ServiceError: source_missing, which is then noted; malicious.
        StorageLost: nobody can say.
    """
    row = answers.snapshot_of(parts, job_id).row
    check_not_malicious(row)
    if row["status"] not in RETRYABLE:
        return
    keys = [source["key"] for source in await parts.read(partial(job_sources, job_id=job_id))]
    if not await parts.call(_are_there, parts.store, keys):
        await note_lost(parts, job_id)
        raise ServiceError(SOURCE_MISSING, "It could only fail again. Send the file again.")


async def note_lost(parts: Parts, job_id: str) -> None:
    """Note that sources of a job were looked for in vain, so that its status offers nothing that needs them.

    Raises:
        StorageLost: a folder that was pulled away lacks every file, and none of them is lost.
    """
    parts.lookout.check()
    # What cannot be noted now is noted by the next who looks.
    with suppress(DBAPIError):
        await parts.writer.run(partial(note_source_lost, job_id=job_id, code=SOURCE_MISSING.code))


def _are_there(store: FileStore, keys: list[Key]) -> bool:
    try:
        for key in keys:
            store.size_bytes(key)
    except FileMissing:
        return False
    return True


async def opened(parts: Parts, job_id: str, key: Key, size_bytes: int) -> BinaryIO:
    """Return the stored file of this size.

    Raises:
        ServiceError: result_damaged, which is then noted; original_damaged; job_not_found and job_expired where the
            job has gone this moment.
        FileMissing: a source that is gone: its job may have finished this moment.
        StorageLost: the folder of the files is not the one the file was stored in.
        StorageFailed: as ``FileStore.open``.
    """
    try:
        return await parts.call(_open, parts.store, key, size_bytes)
    except (FileMissing, OtherSize) as error:
        # A folder that was pulled away lacks every file, and none of them is damaged.
        parts.lookout.check()
        # Gone with its job, perhaps.
        row = answers.snapshot_of(parts, job_id).row
        if row["result_key"] == key:
            await _refuse_result(parts, row, found="missing" if isinstance(error, FileMissing) else "size")
        if isinstance(error, FileMissing):
            raise
        raise damaged_original() from error


def _open(store: FileStore, key: Key, size_bytes: int) -> BinaryIO:
    file = store.open(key)
    if os.fstat(file.fileno()).st_size != size_bytes:
        file.close()
        raise OtherSize
    return file


async def read_whole(parts: Parts, job_id: str, key: Key, file: BinaryIO, proof: Proof) -> bytes:
    """Return all that is in a small stored file, which is closed then; what is damaged is treated as by ``watched``.

    Raises:
        ServiceError: result_damaged, original_damaged; job_not_found and job_expired where it has gone this moment.
        StorageFailed: it cannot be read.
    """
    try:
        return await asyncio.to_thread(_read, file, proof)
    except DamagedWhile as error:
        await _suspect(parts, job_id, key)
        is_result = answers.snapshot_of(parts, job_id).row["result_key"] == key
        raise damaged_result() if is_result else damaged_original() from error


def _read(file: BinaryIO, proof: Proof) -> bytes:
    with file, storage_errors("reading a stored file"):
        return b"".join(proof.held_to(chunks_of(file)))


async def watched(parts: Parts, job_id: str, key: Key, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass on what is made of a stored file while it is read; break off where the file turns out damaged.

    Nothing is noted: it may be memory that is wrong. The file's pages are dropped, so that the next answer reads the
    disk, and a scrub decides.

    Raises:
        DamagedWhile: it is.
    """
    try:
        async for chunk in body:
            yield chunk
    except (DamagedWhile, CodecError) as error:
        await _suspect(parts, job_id, key)
        raise DamagedWhile from error


async def _suspect(parts: Parts, job_id: str, key: Key) -> None:
    _log.error("a stored file is damaged, its download was refused or broken off", extra={"job_id": job_id})
    await parts.call(parts.store.drop_cached, key)


async def _refuse_result(parts: Parts, row: Row, *, found: str) -> NoReturn:
    _log.error("a stored result is damaged or lost", extra={"job_id": row["id"], "found": found})
    # What cannot be noted now is found by the next scrub.
    with suppress(DBAPIError, StorageLost):
        await parts.writer.run(partial(note_damaged, job_id=row["id"], key=row["result_key"], found=found))
    raise damaged_result()
