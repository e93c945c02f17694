"""A thread that does one duty again and again, and survives whatever happens to the database meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from service.failures import TROUBLES, trouble_of
from storage.errors import StorageLost

LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Loop:
    """Does ``duty`` at once, then whenever it is woken, and at the latest ``pause_seconds`` after the last time.

    An error of the duty is logged once until it has worked again; meanwhile the pauses grow to
    ``LONGEST_PAUSE_SECONDS`` and wakes are not heeded. Start and stop it once.
    """

    def __init__(self, name: str, duty: Callable[[], object], *, pause_seconds: float) -> None:
        self._name = name
        self._duty = duty
        self._pause_seconds = pause_seconds
        self._failures = 0
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

    def stop(self, *, timeout_seconds: float | None = None) -> None:
        """Do it no more, and wait until a round that has begun is over."""
        self._is_ending = True
        self._woken.set()
        self._ended.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._is_ending:
            self._woken.clear()
            self._do_once()
            if self._failures:
                self._ended.wait(min(self._pause_seconds * 2**self._failures, LONGEST_PAUSE_SECONDS))
            else:
                self._woken.wait(self._pause_seconds)

    def _do_once(self) -> None:
        try:
            self._duty()
        except StorageLost as lost:
            if not self._failures:
                _log.warning("%s waits: %s", self._name, lost)
            self._failures += 1
        except Exception as error:
            if not self._failures:
                self._tell(error)
            self._failures += 1
        else:
            if self._failures:
                _log.info("%s works again", self._name)
            self._failures = 0

    def _tell(self, error: Exception) -> None:
        trouble = trouble_of(error)
        if trouble is None:
            _log.warning("%s does not work just now; trying again", self._name, exc_info=error)
        else:
            _log.warning("%s waits: %s", self._name, TROUBLES[trouble], extra={"cause": str(_cause(error))})


def _cause(error: Exception) -> object:
    """Return what the driver said, which holds no values, and not the statement."""
    return getattr(error, "orig", None) or error
