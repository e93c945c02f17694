"""What can be wrong with the machine: trouble that is no job's fault, and for which none is blamed.

Which errors mean it stands in ``service.failures``; what SQLite says is read by ``database_errors``.
"""

from __future__ import annotations

from enum import StrEnum


class Trouble(StrEnum):
    """One kind of trouble; its value is what clients see."""

    ROOM = "room"
    """No room is left on the disk, or none for this user."""
    INODES = "inodes"
    """The disk can hold no more files, however small."""
    DISK = "disk"
    """The disk reports errors."""
    MEMORY = "memory"
    DESCRIPTORS = "descriptors"
    """Too many files are open."""
    THREADS = "threads"
    """No thread can be started."""
    LOCKED = "locked"
    """Another program keeps the database locked."""
    READ_ONLY = "read_only"
    """The disk is mounted read-only."""
    NOT_WRITABLE = "not_writable"
    """The folder may not be written."""
    HANGING = "hanging"
    """The disk does not answer."""
