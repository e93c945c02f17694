"""Standard streams that take whatever is said: escapes where a terminal has no UTF-8, silence where nobody listens."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from service.start.cannot_start import CannotStart

_STANDARD = (0, 1, 2)


def prepare_streams() -> None:
    r"""Make the standard streams safe to write any text to; call it first in a process.

    Letters that the encoding lacks become escapes (``\u4f60``) instead of a UnicodeEncodeError. Descriptors that were
    closed (``>&-``) are opened on nothing: else the next file or socket would be given their number.
    """
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _safe(sys.stdout, 1)
    sys.stderr = _safe(sys.stderr, 2)


def _safe(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(number, "w", encoding="utf-8", closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def say(line: str) -> None:
    """Print a line of an answer; end the process quietly if its reader has gone, as ``| head -1`` does.

    Raises:
        CannotStart: it cannot be written, on a full disk for one.
    """
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer would fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        raise CannotStart(f"standard output cannot be written: {error.strerror}") from error


def complain(line: str) -> None:
    """Print a line of what is wrong, if anybody listens."""
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
