"""How many files and connections this process may hold open at a time."""

from __future__ import annotations

import resource

WANTED_FILES = 65_536
"""Far more than the settings let in by default; no more, since some programs walk through all that are allowed."""


def raise_open_file_limit() -> None:
    """Raise the limit as far as wanted and as the system lets us, for the children too.

    Shells and units often set 1,024, for the sake of programs that use select(2), and allow far more (setrlimit(2)).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_file_limit() -> int:
    """Return the limit in force."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED_FILES if soft == resource.RLIM_INFINITY else soft
