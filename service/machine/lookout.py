"""Notices when what is stored is pulled away under the service, says so once, and saves what can be saved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from sqlalchemy.exc import DBAPIError

from storage.database import Database
from storage.errors import StorageLost

LOOK_SECONDS = 1.0

_log = logging.getLogger("vacpack.storage")


class Lookout:
    """Looks at everything a receipt relies on. Safe from any thread."""

    def __init__(self, database: Database, others: Mapping[str, Callable[[], None]]) -> None:
        """``others`` are further checks by name: each raises StorageLost where what it looks at is not what it was."""
        self._database = database
        self._checks = {"database": database.check, **others}
        self._told: dict[str, str] = {}
        self._is_home = False

    def check(self) -> None:
        """Return if everything is still there.

        Raises:
            StorageLost: what is not, the first of it.
        """
        for check in self._checks.values():
            check()

    def lost(self) -> dict[str, StorageLost]:
        """Return what is not there, by the names of the checks; none: all is well."""
        found = {}
        for name, check in self._checks.items():
            try:
                check()
            except StorageLost as lost:
                found[name] = lost
        return found

    def look(self) -> None:
        """Tell the log what has changed since the last look; a log of the database that was removed is brought home."""
        lost = self.lost()
        told = {name: f"{error.path}: {error}" for name, error in lost.items()}
        for name, text in told.items():
            if self._told.get(name) != text:
                _log.error("what is stored has been pulled away, nothing is taken until it is back: %s", text)
        for name in self._told.keys() - told.keys():
            _log.warning("what was pulled away is back: %s", name)
        self._told = told
        if "database" in lost:
            self._bring_home()
        else:
            self._is_home = False

    def _bring_home(self) -> None:
        if self._is_home:
            return
        try:
            self._is_home = self._database.bring_home()
        except (DBAPIError, StorageLost) as error:
            _log.debug("the log of the database could not be copied into it: %s", error)
        if self._is_home:
            _log.warning(
                "what was committed has been saved from the removed log into the database; restart the service"
            )
