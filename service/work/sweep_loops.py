"""When the duties of ``sweep`` are done while a worker lives."""

from __future__ import annotations

from collections.abc import Callable

from service.machine.loop import Loop
from service.work.sweep import Sweeper
from service.work.work_settings import WorkSettings

RESCUE_SECONDS = 1.0
"""Looking for dead workers is one listing of a folder with a handful of names."""

FILES_SECONDS = 600.0
"""Looking for files that nobody names means looking at every file: seconds of work where there are a million."""


class SweepLoops:
    """Three rhythms: dead workers every second, expiry every few, stored files now and every ten minutes."""

    def __init__(self, sweeper: Sweeper, settings: WorkSettings, on_rescue: Callable[[], None]) -> None:
        """``on_rescue`` is called when jobs were queued again."""
        grace = settings.orphan_grace_seconds

        def rescue() -> None:
            if sweeper.rescue_dead():
                on_rescue()

        def sweep() -> None:
            # Leases are the supervisor's to judge (``lease_upkeep``): this process may be the one that hung.
            if sweeper.rows(with_lapsed=False).rescued:
                on_rescue()
            sweeper.make_room()

        self.loops = (
            Loop("rescuing", rescue, pause_seconds=RESCUE_SECONDS),
            Loop("sweeping", sweep, pause_seconds=settings.sweep_seconds),
            Loop("sweeping files", lambda: sweeper.files(source_grace_seconds=grace), pause_seconds=FILES_SECONDS),
        )

    def start(self) -> None:
        """Begin, each at once."""
        for loop in self.loops:
            loop.start()

    def stop(self) -> None:
        """Begin nothing more. What has begun is left to end with the process: each duty may be cut off anywhere."""
        for loop in self.loops:
            loop.stop(timeout_seconds=0)
