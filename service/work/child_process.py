"""Starting a worker process, and the ends of its pipes."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import service
from service.work.wake_pipe import WakePipe
from service.work.work_settings import WorkSettings

COMMAND = (sys.executable, "-P", "-m", "service.wiring.worker")
"""``-P``: a folder named ``service`` where the command was started must not be taken for this package."""


@dataclass(frozen=True, slots=True)
class Child:
    """A worker process and the pipe that wakes it."""

    process: Process
    pipe: WakePipe

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield what it says, line by line, until it ends; lines that are too long are cut away."""
        assert self.process.stdout is not None
        while True:
            try:
                line = await self.process.stdout.readline()
            except ValueError:
                continue
            if not line:
                return
            yield line

    def close(self) -> None:
        """Close the pipe: a process that still lives ends."""
        self.pipe.close()


async def spawn(command: Sequence[str], settings: WorkSettings, life_lock_fd: int) -> Child:
    """Start a worker process that inherits the life lock and standard error, and nothing else.

    Raises:
        OSError: there are no processes or descriptors left.
    """
    pipe = WakePipe(settings.to_json())
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe.read_fd, stdout=PIPE, pass_fds=(life_lock_fd,), env=environment()
        )
    except BaseException:
        pipe.close()
        raise
    finally:
        pipe.close_reading()
    return Child(process, pipe)


def environment() -> dict[str, str]:
    """Return the child's environment: this one, and where this package lies, unless any interpreter finds it anyway.

    ``PYTHONPATH`` goes before the standard library, which a folder of installed packages should not.
    """
    root = str(Path(service.__file__).parent.parent)
    if root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(os.environ)
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, inherited] if inherited else [root])}
