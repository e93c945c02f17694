"""The process between a worker and its scanner: tells how the scanner ended, and kills it when the worker has gone.

Run as a file by ``scan_process``, without this package. On standard output it says how the scanner ended; the scanner
itself writes to standard error. A worker that dies, in whatever way, or lets go, closes the
reading end of that output: then the scanner is killed with all it has started.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def main(command: list[str]) -> None:
    """Run the command to its end or to that of whoever reads, say how it ended, and leave nothing of it running."""
    # The worker holds both back from itself.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        scanner = subprocess.Popen(command, stdout=2)
    except (OSError, ValueError) as error:
        _say(f"unable {getattr(error, 'strerror', None) or error}")
        return
    # From here on the group with this process's number is the scanner's alone: whoever started this can kill it too.
    with suppress(OSError):
        os.setpgid(0, os.getpgid(os.getppid()))
    # Signals to the worker's group are the worker's to heed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # The scanner's alone: it may close it, and whoever feeds it is to see that.
    os.close(0)
    threading.Thread(target=_kill_when_alone, daemon=True).start()
    code = scanner.wait()
    _kill_group()
    _say(f"signal {-code}" if code < 0 else f"exit {code}")


def _kill_when_alone() -> None:
    reader = select.poll()
    # No event is asked for: the end of the reader is told of without.
    reader.register(1, 0)
    reader.poll()
    _kill_group()


def _kill_group() -> None:
    # The number is nobody else's while this process has it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(os.getpid(), signal.SIGKILL)


def _say(line: str) -> None:
    with suppress(OSError):
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
