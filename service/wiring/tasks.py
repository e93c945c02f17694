"""What the other commands run, each to its end: a worker alone, a sweep, a scrub, the audit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Any

from migrations import is_newest
from service.machine import logs
from service.machine.timekeeping import keep_time
from service.settings import Settings
from service.start.cannot_start import CannotStart
from service.start.holdings import own_files, prepare
from service.start.places import check_database_is_there, files_folder
from service.wiring.stores import check_scanner, make_sweeper, open_database, open_store
from service.work.pace import Pace
from service.work.scrub import CannotScrub, Scrubber, Tally
from service.work.standalone import run_standalone
from service.work.work_settings import work_settings
from storage.audit_table import EventFilter, list_events
from storage.database import Database
from storage.files.file_owner import is_owner


def sweep(settings: Settings, *, trusts_clock: bool = False) -> dict[str, int]:
    """Do the sweep's duties once; return how much of each there was. ``trusts_clock``: the wall clock is right."""
    prepare(settings)
    database = open_database(settings)
    try:
        keep_time(database, is_trusted=trusts_clock)
        with closing(own_files(settings, database)) as owner:
            sweeper = make_sweeper(settings, database, open_store(settings, owner))
            rows, files = sweeper.rows(), sweeper.files(source_grace_seconds=settings.orphan_grace_seconds)
            database.reserve.keep()
    finally:
        database.close()
    return {name: count + getattr(files, name) for name, count in asdict(rows).items()}


def scrub(
    settings: Settings, tell: Callable[[str, str], object], *, bytes_per_second: float, with_sources: bool
) -> Tally:
    """Read what is stored and compare it with the rows; ``tell`` is given each job's id and what was found.

    Makes and migrates nothing. Ctrl-C ends it early, with what was seen until then.

    Raises:
        CannotStart: there is no database of this version, its files are not there, or they cannot be read.
    """
    database, folder = _existing_database(settings), files_folder(settings)
    pace = Pace(bytes_per_second)
    try:
        if not is_owner(database, folder):
            raise CannotStart(f"the files of this database are not in {folder}; is their disk mounted?")
        are_there = partial(is_owner, database, folder)
        scrubber = Scrubber(database, open_store(settings), pace, tell, are_files_there=are_there)
        try:
            scrubber.results()
            if with_sources:
                scrubber.sources()
        except KeyboardInterrupt:
            scrubber.tally.is_interrupted = True
        finally:
            scrubber.close()
        return scrubber.tally
    except CannotScrub as error:
        raise CannotStart(str(error)) from error
    finally:
        database.close()


def audit_events(settings: Settings, wanted: EventFilter) -> list[dict[str, Any]]:
    """Return audit events, newest first. Makes and migrates nothing: whoever reads may be another user, or early.

    Raises:
        CannotStart: there is no database, or not of this version.
    """
    database = _existing_database(settings)
    try:
        with database.read() as connection:
            return list_events(connection, wanted)
    finally:
        database.close()


def _existing_database(settings: Settings) -> Database:
    check_database_is_there(settings)
    if not is_newest(settings.database_url):
        raise CannotStart(f"there is no database of this version at {settings.database_url}; see vacpack migrate")
    return Database(settings.database_url)


def work(settings: Settings) -> None:
    """Run a worker without HTTP until told to stop.

    Raises:
        CannotStart: as ``own_files``.
    """
    logs.configure(log_format=settings.log_format, level=settings.log_level, context=dict)
    check_scanner(settings)
    prepare(settings)
    with closing(open_database(settings)) as database, closing(own_files(settings, database)) as owner:
        sweeper = make_sweeper(settings, database, open_store(settings, owner))
        run_standalone(work_settings(settings), database, sweeper)
