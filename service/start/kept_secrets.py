"""Secrets that are made at the first start and kept in the data folder, readable by their owner only.

What is there is believed only if nobody else can have put it there or read it: a folder may be open to a group.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from service.settings import MIN_TOKEN_LETTERS, Settings
from service.start.cannot_start import CannotStart

MAX_SECRET_BYTES = 64
"""BLAKE2b takes no longer key."""


def admin_token(settings: Settings) -> str:
    """Return the admin token: as set, or made once and kept.

    Raises:
        CannotStart: what is kept is nothing that a request could bring, or could be guessed.
    """
    if given := settings.admin_token.get_secret_value():
        return given
    path = settings.data_dir / "admin-token"
    token = _kept(path)
    if len(token) < MIN_TOKEN_LETTERS or any(not "!" <= letter <= "~" for letter in token):
        raise CannotStart(
            f"{path} holds no token: one word of {MIN_TOKEN_LETTERS} printable letters or more, in ASCII, is wanted."
            " Remove it, and a new one is made"
        )
    return token


def manage_secret(settings: Settings) -> bytes:
    """Return what manage keys are derived from.

    Raises:
        CannotStart: what is kept was not made here.
    """
    path = settings.data_dir / "manage-secret"
    try:
        secret = bytes.fromhex(_kept(path))
    except ValueError:
        secret = b""
    if not 0 < len(secret) <= MAX_SECRET_BYTES:
        raise CannotStart(
            f"{path} is not what was made here, hexadecimal digits. Bring it back from a backup, or remove it: keys"
            " that were given out stay valid, and a new one is made"
        )
    return secret


def _kept(path: Path) -> str:
    """Return what is in the file, made if there is nothing in it: by then nothing was derived from it.

    Raises:
        CannotStart: it is a link, or others may know or have chosen what is in it.
    """
    try:
        if text := _read(path):
            return text
    except FileNotFoundError:
        pass
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(24) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return _kept(path)


def _read(path: Path) -> str:
    try:
        # A pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise CannotStart(f"{path} is a link; put the file itself there, readable by its owner only") from error
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        text = file.read().strip()
        if text:
            _check_is_private(path, os.fstat(file.fileno()))
        return text


def _check_is_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise CannotStart(
            f"{path} belongs to user {status.st_uid}, and this is user {os.geteuid()}: remove it, and a new one is made"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise CannotStart(f"{path} is open to other users of this machine: chmod 600, if none of them may have read it")
