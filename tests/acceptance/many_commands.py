"""Many runs of the ``vacpack`` command for the price of one start: a process that has loaded it forks for each.

Each run has its own folder, settings and user. Waiting is forbidden in them, and so is going on to serve or to work:
both are what a start with a mistake must not do, and are told as a traceback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.acceptance.service_process import environment

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the command."""

    arguments: list[str]
    folder: str
    settings: dict[str, str] = field(default_factory=dict)
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    code: int
    out: str
    err: str


def run_all(runs: list[Run], *, under: tuple[str, ...] = ()) -> list[Outcome]:
    """Return the outcomes in order; ``under`` is a command that runs them all in its own place."""
    done = subprocess.run(
        [*under, sys.executable, "-m", "tests.acceptance.many_commands"],
        input=json.dumps([asdict(run) for run in runs]),
        env=environment({"NO_COLOR": "1", "COLUMNS": "200"}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=150,
    )
    return [Outcome(**outcome) for outcome in json.loads(done.stdout)]


def main() -> None:
    """Read runs from standard input, write outcomes to standard output."""
    import service.serve
    import service.start.mistakes
    import service.wiring.tasks

    def served(*_: object, **__: object) -> NoReturn:
        raise AssertionError("it went on to serve or to work")

    def waited(_: float) -> NoReturn:
        raise AssertionError("it waited")

    service.serve.Server.run = served  # type: ignore[method-assign]
    service.wiring.tasks.run_standalone = served
    time.sleep = waited
    runs = json.load(sys.stdin)
    sys.stdout.write(json.dumps([_outcome(number, run) for number, run in enumerate(runs)]))


def _outcome(number: int, run: dict[str, Any]) -> dict[str, Any]:
    files = [os.memfd_create(f"{name}{number}") for name in ("out", "err")]
    pid = os.fork()
    if pid == 0:
        _become(run, *files)
    _, status = os.waitpid(pid, 0)
    out, err = (os.pread(file, 1_000_000, 0).decode("utf-8", "replace") for file in files)
    for file in files:
        os.close(file)
    return {"code": os.waitstatus_to_exitcode(status), "out": out, "err": err}


def _become(run: dict[str, Any], out: int, err: int) -> NoReturn:
    from service import cli

    os.dup2(out, 1)
    os.dup2(err, 2)
    code = 70
    try:
        if run["user"] is not None:
            os.setgroups([])
            os.setgid(run["user"])
            os.setuid(run["user"])
        os.chdir(Path(run["folder"]))
        os.environ.update({f"VACPACK_{name}": value for name, value in run["settings"].items()})
        sys.argv = ["vacpack", *run["arguments"]]
        cli.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
