"""Ids of jobs and keys of stored files: random, or made of a job and an attempt; never of a client's file name.

A *key* names a stored file. A source key is random, a result key carries the job and the epoch of the attempt that
wrote it, so that two attempts never share one.
"""

from __future__ import annotations

import re
import secrets
from typing import NewType

Key = NewType("Key", str)
KEY_PATTERN = re.compile(r"s-[a-z2-7]{26}|r-[a-z2-7]{26}\.[0-9]{1,10}")


_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))


def base32(sixteen_bytes: bytes) -> str:
    """Return 128 bits as 26 lower-case characters (RFC 4648, 6, without padding); six times as fast as ``base64``."""
    number = int.from_bytes(sixteen_bytes) << 2
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def random_id() -> str:
    """Return 128 random bits as 26 lower-case base32 characters."""
    return base32(secrets.token_bytes(16))


_ID_PATTERN = re.compile("[a-z2-7]{26}")


def is_job_id(text: str) -> bool:
    """Return whether the text could be what ``random_id`` returned."""
    return _ID_PATTERN.fullmatch(text) is not None


def new_source_key() -> Key:
    """Return a key for a file that is about to come in: ``s-`` and 128 random bits."""
    return Key(f"s-{random_id()}")


def result_key(job_id: str, epoch: int) -> Key:
    """Return the key of what attempt ``epoch`` of a job writes. Nobody else may create it."""
    return Key(f"r-{job_id}.{epoch}")


def attempt_of(key: Key) -> tuple[str, int] | None:
    """Return ``(job_id, epoch)`` of a result key, None for a source key."""
    if not key.startswith("r-"):
        return None
    job_id, epoch = key[2:].split(".")
    return job_id, int(epoch)
