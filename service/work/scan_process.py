"""One run of the scanner: bytes go in on its standard input, how it ended comes out. Knows no jobs and no verdicts.

Nothing here waits without an end: whoever feeds it looks at ``check`` ten times a second. The scanner runs under
``scan_guard``, so that it ends with this process, however that ends.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from service.work import scan_guard

LOOK_SECONDS = 0.1
"""Between looks at whether to go on: a cancelled attempt is waited for 0.3 s."""

MAX_OUTPUT_BYTES = 4096
"""Of what a scanner says; all that comes after is read, and forgotten."""

_GUARD = (sys.executable, "-I", "-S", scan_guard.__file__)
"""With the standard library alone, out of reach of the environment. 110 ms at best before a scanner runs, on two
cores with a load of nine; without a guard it would be 1 ms, and a killed worker would leave its scanner."""


class ScanOverdue(Exception):
    """The scanner took longer than it may."""


@dataclass(frozen=True, slots=True)
class ScanEnd:
    """How a scanner ended: its exit code, or in words why it has none; and the beginning of what it said."""

    exit_code: int | None
    how: str
    output: str


def split_command(line: str) -> tuple[str, ...]:
    """Return the words of a command line, as a shell would read them that expands nothing.

    Raises:
        ValueError: a quotation is not closed.
    """
    return tuple(shlex.split(line))


def environment() -> Mapping[str, str]:
    """Return all that a scanner is told: where programs are, and that text is UTF-8; nothing of ours or a client's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def why_not_runnable(command: tuple[str, ...]) -> str | None:
    """Return why a command cannot be run, found out by starting it, with no input, and ending it at once; None: it can.

    Nothing less finds a missing interpreter, or a disk from which nothing may be run.
    """
    if shutil.which(command[0], path=environment()["PATH"]) is None:
        return "there is no such program, or it may not be run"
    try:
        tried = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
    except OSError as error:
        return error.strerror or str(error)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(tried.pid, signal.SIGKILL)
    tried.wait()
    return None


class ScanProcess:
    """A running scanner. A context manager: at its end nothing of the scanner runs any more."""

    def __init__(self, command: tuple[str, ...], timeout_seconds: float, check: Callable[[], object]) -> None:
        """``check`` raises when the scan is to be broken off.

        Raises:
            OSError: there are no processes or descriptors left.
        """
        self._check = check
        self._ends_at = time.monotonic() + timeout_seconds
        self._output = bytearray()
        self._told = bytearray()
        self._guard = subprocess.Popen(
            [*_GUARD, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            bufsize=0,
            process_group=0,
        )
        assert self._guard.stdin
        assert self._guard.stdout
        assert self._guard.stderr
        self._in, self._says, self._out = self._guard.stdin, self._guard.stdout, self._guard.stderr
        for pipe in (self._in, self._says, self._out):
            os.set_blocking(pipe.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._says, select.POLLIN)
        self._poll.register(self._out, select.POLLIN)
        self._is_over = False

    def __enter__(self) -> ScanProcess:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        self._in.close()
        self._says.close()
        # The guard does the same when it sees its reader go; but it may have been killed itself.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        self._out.close()

    def feed(self, chunks: Iterable[bytes], fed: Callable[[int], object]) -> None:
        """Give the scanner these bytes, as far as it takes them, and then their end; ``fed`` is told how many it took.

        Raises:
            ScanOverdue: its time is over; and whatever ``check`` and ``chunks`` raise.
        """
        for chunk in chunks:
            if not self._give(chunk):
                break
            fed(len(chunk))
        self._in.close()

    def end(self) -> ScanEnd:
        """Wait for the scanner's end.

        Raises:
            ScanOverdue: its time is over; and whatever ``check`` raises.
        """
        while not self._is_over:
            self._look()
        self._read_output()
        return self._judged()

    def output(self) -> str:
        """Return the beginning of what it has said so far."""
        return self._output.decode(errors="replace").strip()

    def _give(self, chunk: bytes) -> bool:
        """Return whether the scanner took the chunk; if not, it takes no more."""
        left = memoryview(chunk)
        self._poll.register(self._in, select.POLLOUT)
        try:
            while left and not self._is_over:
                self._look()
                with suppress(BlockingIOError):
                    left = left[os.write(self._in.fileno(), left) :]
        except BrokenPipeError:
            return False
        finally:
            self._poll.unregister(self._in)
        return not left

    def _look(self) -> None:
        """Wait a moment for anything to happen, and take what the scanner and its guard have said."""
        self._check()
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise ScanOverdue
        ready = dict(self._poll.poll(1000 * min(LOOK_SECONDS, seconds)))
        if self._out.fileno() in ready:
            self._read_output()
        if self._says.fileno() in ready:
            self._hear()

    def _read_output(self) -> None:
        said = _read(self._out.fileno())
        if said == b"":
            # Closed by a scanner that goes on all the same.
            with suppress(KeyError):
                self._poll.unregister(self._out)
        self._output += (said or b"")[: MAX_OUTPUT_BYTES - len(self._output)]

    def _hear(self) -> None:
        told = _read(self._says.fileno())
        self._told += told or b""
        self._is_over = told == b""

    def _judged(self) -> ScanEnd:
        last = self._told.decode(errors="replace").splitlines()[-1:] or [""]
        how, _, what = last[0].partition(" ")
        code = int(what) if how == "exit" else None
        words = {
            "exit": f"exit code {what}",
            "signal": f"ended by signal {what}",
            "unable": f"could not be run: {what}",
        }
        return ScanEnd(code, words.get(how, "its guard was ended"), self.output())


def _read(fd: int) -> bytes | None:
    """Return what there is to read; nothing at the end, None where nothing is there yet."""
    try:
        return os.read(fd, 64 << 10)
    except BlockingIOError:
        return None
