"""Whether uploads are malicious, as the operator's scanner says: asked by an attempt before it does anything else.

Exit code 0 is clean and 1 is malicious, as of ``clamdscan``; all else means that nothing is known, and is never taken
for clean. What a scanner says is for the log only.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from service.failures import MALICIOUS, AttemptFailed, trouble_of
from service.work.attempt import Attempt
from service.work.scan_process import ScanEnd, ScanOverdue, ScanProcess
from service.work.source_reader import SourceReader
from storage.files.file_store import FileStore
from storage.jobs.job_attempts import ClaimedJob, ClaimedSource
from storage.lifecycle import Phase

CLEAN, FOUND = 0, 1
"""What a scanner exits with."""

_log = logging.getLogger("vacpack.scan")


@dataclass(frozen=True, slots=True)
class Scanner:
    """The operator's scanner: the words of its command, and how long it may take for one file."""

    command: tuple[str, ...]
    timeout_seconds: float


def scan_sources(scanner: Scanner, store: FileStore, job: ClaimedJob, attempt: Attempt) -> None:
    """Return if the scanner finds every source of the job clean; the first that is not ends it.

    Raises:
        AttemptFailed: malicious; scan_failed, nothing is known; or as ``SourceReader``.
        AttemptStopped: as ``Attempt.check``.
        OSError: no process can be started just now.
    """
    attempt.enter(Phase.SCANNING)
    for number, source in enumerate(job.sources, 1):
        # A scanner may think for as long as it likes within its time, with no step to be seen.
        attempt.allow(scanner.timeout_seconds)
        began = time.monotonic()
        end = _scan(scanner, store, source, attempt)
        facts = {"job_id": job.id, "file": number, "seconds": round(time.monotonic() - began, 2)}
        level = logging.DEBUG if end.exit_code == CLEAN else logging.WARNING
        _log.log(level, "scanned", extra=facts | {"how": end.how, "said": end.output})
        _judge(end, f"File {number} of {len(job.sources)}" if len(job.sources) > 1 else "The file")


def _scan(scanner: Scanner, store: FileStore, source: ClaimedSource, attempt: Attempt) -> ScanEnd:
    reader = SourceReader(store, source, on_read=attempt.step)
    try:
        process = ScanProcess(scanner.command, scanner.timeout_seconds, attempt.check)
    except OSError as error:
        if trouble_of(error) is not None:
            raise
        return ScanEnd(None, f"could not be started: {error.strerror}", "")
    with process:
        try:
            process.feed(reader.look(), attempt.advance)
            return process.end()
        except ScanOverdue:
            return ScanEnd(None, f"took longer than {scanner.timeout_seconds:g} s", process.output())


def _judge(end: ScanEnd, file: str) -> None:
    if end.exit_code == FOUND:
        raise AttemptFailed(MALICIOUS, f"{file} was found to be malicious, and was removed.")
    if end.exit_code != CLEAN:
        raise AttemptFailed("scan_failed", f"{file} could not be scanned: the scanner gave no verdict.")
