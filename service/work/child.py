"""The worker process from its start to its end: ``wiring.worker`` runs it, ``embedded_worker`` starts and watches it.

Its settings come as one line of JSON on standard input; after that any byte means "there may be work", and end-of-file
means that the parent is gone: then it ends at once, and whoever starts next takes up what it held. SIGTERM lets it
drain and exit 0. On standard output it says its id when it is in the table, sends its pulses (``pulse``), and nothing
else. It exits with 70 when its duties keep failing.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

from sqlalchemy.exc import DBAPIError

from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS, Codec, Format
from service.machine import logs
from service.machine.allocator import keep_freed_memory
from service.machine.database_retry import end_of_writing
from service.machine.soundness import trouble_of_machine
from service.start.terminal import prepare_streams
from service.telling.outbox_loop import OutboxLoop
from service.work.attempt import Attempt
from service.work.life_lock import LifeLocks
from service.work.low_priority import ComputeThreads, lower_process
from service.work.messengers import messengers
from service.work.pause import Pause
from service.work.processor import Processor, RetryPauses
from service.work.pulse_sender import PulseSender
from service.work.result_maker import Tools
from service.work.scan import Scanner
from service.work.scan_process import split_command
from service.work.sweep import Sweeper
from service.work.sweep_loops import SweepLoops
from service.work.work_settings import WorkSettings
from service.work.worker import Worker
from storage.database import Database
from storage.errors import StorageError
from storage.files.file_store import FileStore
from storage.jobs.job_attempts import ClaimedJob

RELEASE_SECONDS = 2.0
"""The part of the grace that is kept for giving jobs back: a step of the slowest codec, and the transactions."""

LAST_DELIVERIES_SECONDS = 1.0
"""Of that, the part for deliveries under way: what is broken off here is sent again after the next start."""

GAVE_UP = os.EX_SOFTWARE
"""The exit code of a worker whose duties keep failing: 70, for the supervisor's log."""

OpenFiles = Callable[[WorkSettings, Database], FileStore]
"""Opens the file store that the settings name."""

_log = logging.getLogger(__name__)


def main(open_files: OpenFiles, codecs: Mapping[Format, Codec] = CODECS) -> NoReturn:
    """Run the process to its end; ``codecs`` is for tests, which make some that misbehave."""
    prepare_streams()
    # Blocked before any thread starts, so that SIGTERM waits for sigwait. Ctrl-C is for the parent to deal with.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker_id = sys.argv[1]
    orders = sys.stdin.buffer.readline()
    if not orders:
        _exit(0)
    settings = WorkSettings.from_json(orders)
    logs.configure(log_format=settings.log_format, level=settings.log_level, context=lambda: {"worker_id": worker_id})
    # Chunks of 256 KiB to 1 MiB come and go: keeping their memory saves a fifth of the CPU of the quick formats.
    keep_freed_memory()
    lower_process(settings.worker_niceness)
    _work(worker_id, settings, open_files, codecs)
    _exit(0)


def _work(worker_id: str, settings: WorkSettings, open_files: OpenFiles, codecs: Mapping[Format, Codec]) -> None:
    pulse = _pulse(settings)
    database = Database(settings.database_url)
    store = _opened(open_files, settings, database)
    pause = Pause(partial(trouble_of_machine, Path(settings.files_dir), database), lambda: store.space().free_bytes)
    processor = _processor(settings, database, Tools(store, codecs, ARCHIVES, _scanner(settings)), pause)
    limit = settings.max_messages_per_target_per_hour
    outbox = OutboxLoop(
        worker_id, database, messengers(settings), poll_seconds=settings.poll_seconds, max_per_target=limit
    )

    def process(job: ClaimedJob, attempt: Attempt) -> None:
        processor.process(job, attempt)
        outbox.wake()

    worker = Worker(worker_id, database, settings, process, pause=pause, end_by=processor.end_by, check=store.check)

    def wake() -> None:
        worker.wake()
        outbox.wake()

    sweeper = Sweeper(database, store, LifeLocks(Path(settings.locks_dir)), settings)
    sweeps = SweepLoops(sweeper, settings, wake)
    # Before the first claim: a job whose source lies in the quarantine would fail for good.
    sweeper.put_back()
    worker.start()
    threading.Thread(target=_listen, args=(wake,), name="parent", daemon=True).start()
    sweeps.start()
    outbox.start()
    pulse.watch(worker, [*sweeps.loops, outbox.loop])
    pulse.say(worker_id)
    signal.sigwait({signal.SIGTERM})
    grace = settings.shutdown_grace_seconds
    database.end_by(end_of_writing(grace))
    sweeps.stop()
    worker.drain(max(grace / 2, grace - RELEASE_SECONDS))
    outbox.stop(LAST_DELIVERIES_SECONDS)
    pulse.stop()


def _processor(settings: WorkSettings, database: Database, tools: Tools, pause: Pause) -> Processor:
    pauses = RetryPauses(settings.retry_pause_seconds, settings.retry_pause_max_seconds)
    return Processor(database, tools, pauses, pause=pause, compute=ComputeThreads(settings.worker_jobs))


def _scanner(settings: WorkSettings) -> Scanner | None:
    command = split_command(settings.scan_command)
    return Scanner(command, settings.scan_timeout_seconds) if command else None


def _pulse(settings: WorkSettings) -> PulseSender:
    """Return the sender of pulses, which has begun: the start of the process is watched too."""
    # Without the log, whose lock a stuck thread may hold.
    give_up = partial(os._exit, GAVE_UP)
    pulse = PulseSender(sys.stdout.fileno(), patience_seconds=settings.hang_seconds, give_up=give_up)
    pulse.start()
    return pulse


def _opened(open_files: OpenFiles, settings: WorkSettings, database: Database) -> FileStore:
    """Return the file store, or end: what the parent took hold of may have been pulled away since."""
    try:
        return open_files(settings, database)
    except (StorageError, DBAPIError) as error:
        _log.warning("this worker cannot begin: %s", getattr(error, "orig", error))
        _exit(1)


def _listen(wake: Callable[[], object]) -> None:
    """Pass wakes on until the parent is gone, and end then: without the log, whose lock a stuck thread may hold."""
    while os.read(sys.stdin.fileno(), 4096):
        wake()
    os._exit(0)


def _exit(code: int) -> NoReturn:
    """End now, whatever other threads are doing: nothing of theirs is needed, and a codec may take seconds."""
    logging.shutdown()
    os._exit(code)
