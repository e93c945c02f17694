"""Watching one worker process to its end: it ends by itself, or it hangs and is killed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from service.failures import WorkerEnd
from service.work.child_process import Child
from service.work.hang_judge import Hang, HangJudge
from service.work.pulse import Pulse

JUDGE_SECONDS = 1.0
KILL_SECONDS = 2.0
"""SIGKILL ends a stopped process at once, and never one that waits for a disk in the kernel. That one is left alone:
its jobs are fenced by their epochs, and it ends when the disk answers."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """How a worker process came to its end."""

    code: int
    """Its exit code; minus the number of the signal that ended it."""
    hang: Hang | None = None

    @property
    def cause(self) -> str:
        """In words for the log."""
        return signal.Signals(-self.code).name if self.code < 0 else f"exit {self.code}"

    @property
    def reason(self) -> WorkerEnd:
        """In one word for the metrics."""
        if self.hang:
            return WorkerEnd.HUNG
        return WorkerEnd.GAVE_UP if self.code == os.EX_SOFTWARE else WorkerEnd.DIED


async def watch(
    child: Child, judge: HangJudge, *, on_ready: Callable[[], object], is_stopping: Callable[[], bool]
) -> End:
    """Wait for the child's end, and kill it if it hangs; not while it is being stopped, which has its own time."""
    listening = asyncio.create_task(_listen(child, judge, on_ready))
    ended = asyncio.ensure_future(child.process.wait())
    try:
        while not (await asyncio.wait({ended}, timeout=JUDGE_SECONDS))[0]:
            hang = judge.judge()
            if hang and not is_stopping():
                return await _end_hung(child, ended, hang)
        return End(ended.result())
    finally:
        listening.cancel()


async def _listen(child: Child, judge: HangJudge, on_ready: Callable[[], object]) -> None:
    async for line in child.lines():
        pulse = Pulse.from_line(line)
        if pulse:
            judge.heard(pulse)
        else:
            on_ready()


async def _end_hung(child: Child, ended: asyncio.Future[int], hang: Hang) -> End:
    facts = {"pid": child.process.pid, "hung": hang.what, "for_seconds": round(hang.seconds, 1)}
    _log.warning("a worker hangs and is replaced", extra=facts)
    # It may have ended in this moment.
    if child.process.returncode is None:
        child.process.kill()
    if not (await asyncio.wait({ended}, timeout=KILL_SECONDS))[0]:
        _log.error("a worker that hangs cannot be ended, perhaps its disk does not answer", extra=facts)
        return End(-signal.SIGKILL, hang)
    return End(ended.result(), hang)
