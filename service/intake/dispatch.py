"""The contract of a wake: a hint that there may be work. The row is the truth; a lost or doubled wake does no harm."""

from __future__ import annotations

from typing import Protocol


class Dispatcher(Protocol):
    """Tells whoever works that something is waiting."""

    def wake(self) -> None:
        """Hint that there may be work. Never blocks, never raises; may be lost."""
        ...


class NoDispatcher:
    """For a service without a worker of its own: workers elsewhere find the work by looking."""

    def wake(self) -> None:
        """Do nothing."""
