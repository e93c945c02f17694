"""A thread that does one duty again and again, and survives whatever happens to the database meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.failures import TROUBLES, trouble_of
from storage.errors import StorageLost

LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failing:
    """A duty that fails: its last error, how often in a row, and for how many seconds."""

    name: str
    error: Exception
    times: int
    seconds: float


class Loop:
    """Does ``duty`` at once, then whenever it is woken, and at the latest ``pause_seconds`` after the last time.

    An error of the duty is logged once until it has worked again; meanwhile the pauses grow to
    ``LONGEST_PAUSE_SECONDS`` and wakes are not heeded. Start and stop it once.
    """

    def __init__(self, name: str, duty: Callable[[], object], *, pause_seconds: float) -> None:
        self.name = name
        self._duty = duty
        self._pause_seconds = pause_seconds
        self._failures = 0
        self._error: Exception | None = None
        self._failing_since = 0.0
        self._rounds = 0
        self._is_in_round = False
        self._is_ending = False
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Do it now, or again if it is being done. Never blocks."""
        self._woken.set()

    def rounds(self) -> int | None:
        """Return how many rounds have begun, if one is under way; None while it waits for the next."""
        return self._rounds if self._is_in_round else None

    def failing(self) -> Failing | None:
        """Return how it fails, unless its last round was well."""
        error, failures = self._error, self._failures
        if error is None:
            return None
        return Failing(self.name, error, failures, time.monotonic() - self._failing_since)

    def is_dead(self) -> bool:
        """Whether its thread has ended though nobody stopped it: not even the log could be written any more."""
        return self._thread.ident is not None and not self._thread.is_alive() and not self._is_ending

    def stop(self, *, timeout_seconds: float | None = None) -> None:
        """Do it no more, and wait until a round that has begun is over."""
        self._is_ending = True
        self._woken.set()
        self._ended.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._is_ending:
            self._woken.clear()
            self._rounds += 1
            self._is_in_round = True
            self._do_once()
            self._is_in_round = False
            if self._failures:
                self._ended.wait(min(self._pause_seconds * 2**self._failures, LONGEST_PAUSE_SECONDS))
            else:
                self._woken.wait(self._pause_seconds)

    def _do_once(self) -> None:
        try:
            self._duty()
        except Exception as error:
            is_first = self._error is None
            if is_first:
                self._failing_since = time.monotonic()
            self._error = error
            self._failures += 1
            if is_first:
                self._tell(error)
        else:
            if self._failures:
                _log.info("%s works again", self.name)
            self._failures, self._error = 0, None

    def _tell(self, error: Exception) -> None:
        trouble = trouble_of(error)
        if isinstance(error, StorageLost):
            _log.warning("%s waits: %s", self.name, error)
        elif trouble is None:
            _log.warning("%s does not work just now; trying again", self.name, exc_info=error)
        else:
            _log.warning("%s waits: %s", self.name, TROUBLES[trouble], extra={"cause": str(_cause(error))})


def _cause(error: Exception) -> object:
    """Return what the driver said, which holds no values, and not the statement."""
    return getattr(error, "orig", None) or error
