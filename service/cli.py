"""The ``vacpack`` command: serve, work, migrate, sweep, scrub, audit, settings."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import SecretStr, ValidationError

from service.settings import PREFIX, Settings, load_settings
from service.start.env_file import BadEnvFile, check_env_file
from service.start.terminal import complain, prepare_streams, say
from service.start.unknown_settings import unknown_names
from storage.audit_table import Action, EventFilter
from storage.ids import is_job_id

app = typer.Typer(
    name="vacpack",
    help="Takes files in, answers 202 with a job id, compresses them in the background, and hands them back, proven.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXIT_DAMAGED = 3
"""Something stored is damaged: told from 1 and 2, mistakes of whoever called."""
EXIT_INTERRUPTED = 130

DataDir = Annotated[Path | None, typer.Option(help=f"Folder for everything that is kept. [{PREFIX}DATA_DIR]")]


def main() -> None:
    """Run the command line. What it makes, database and files, is for its user alone."""
    prepare_streams()
    os.umask(0o077)
    app()


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        say(f"vacpack {version('vacpack')}")
        raise typer.Exit


@app.callback()
def _options(
    is_version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what stands before the command."""


def _settings(**overrides: Any) -> Settings:
    try:
        check_env_file()
        settings = load_settings(**overrides)
    except ValidationError as error:
        _refuse(*_problems(error))
    except BadEnvFile as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"the folder this was called in cannot be used: {error.strerror}")
    for name, nearest in unknown_names():
        hint = f"; did you mean {nearest}?" if nearest else ""
        complain(f"warning: {name} is not a setting{hint}")
    return settings


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        name = PREFIX + str(problem["loc"][0]).upper() if problem["loc"] else PREFIX
        yield f"{name}: {problem['msg']}"


def _refuse(*problems: str) -> NoReturn:
    for problem in problems:
        complain(f"error: {problem}")
    sys.exit(2)


@contextmanager
def _told_plainly(settings: Settings) -> Iterator[None]:
    """Turn what the operator can mend into one line and exit code 1."""
    try:
        yield
    except Exception as error:
        from service.start.mistakes import as_line

        if (line := as_line(error, settings)) is None:
            raise
        complain(f"error: {line}")
        sys.exit(1)


@app.command()
def serve(
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help=f"Address to listen on. [{PREFIX}HOST]")] = None,
    port: Annotated[int | None, typer.Option(help=f"Port to listen on, 0 for a free one. [{PREFIX}PORT]")] = None,
) -> None:
    """Serve HTTP, with a worker beside it unless VACPACK_EMBEDDED_WORKER=false.

    Brings the database to the newest schema first. SIGTERM or Ctrl-C drains and exits with 0.
    """
    # Read before the rest is loaded, here and below: a bad value is told at once.
    settings = _settings(data_dir=data_dir, host=host, port=port)
    from service.serve import serve as run

    with _told_plainly(settings):
        run(settings)


@app.command()
def work(data_dir: DataDir = None) -> None:
    """Run a worker without HTTP: more hands for a service on this machine, or its only ones.

    SIGTERM or Ctrl-C finishes what fits the grace, gives the rest back, and exits with 0.
    """
    settings = _settings(data_dir=data_dir)
    from service.wiring.tasks import work as run

    with _told_plainly(settings):
        run(settings)


@app.command()
def migrate(
    data_dir: DataDir = None,
    revision: Annotated[str, typer.Option(help="Target: head, or an older revision to go back to.")] = "head",
) -> None:
    """Bring the database to the newest schema. `serve` and `work` do it by themselves."""
    settings = _settings(data_dir=data_dir)
    from service.start.holdings import prepare

    with _told_plainly(settings):
        prepare(settings, revision)


@app.command()
def sweep(
    data_dir: DataDir = None,
    trust_clock: Annotated[
        bool, typer.Option("--trust-clock", help="The wall clock is right: believe a step of it now, not in an hour.")
    ] = False,
) -> None:
    """Do once what workers do every few seconds: rescue, expire, prune, remove what no job owns. Prints what it did."""
    settings = _settings(data_dir=data_dir)
    from service.wiring.tasks import sweep as run

    with _told_plainly(settings):
        for name, count in run(settings, trusts_clock=trust_clock).items():
            say(f"{name}: {count}")


@app.command()
def scrub(
    data_dir: DataDir = None,
    max_mib_per_second: Annotated[int, typer.Option(min=1, help="Read no faster than this.")] = 100,
    sources: Annotated[bool, typer.Option("--sources", help="Read the uploads that wait, too.")] = False,
) -> None:
    """Read every stored result from the disk, compare its SHA-256, and note what is damaged, missing or whole again.

    Runs beside a service, at the lowest priority. Prints a line for each job with something damaged or repaired, and a
    summary. Exits with 0 if all is whole, 3 if not, 1 if it could not be done.
    """
    settings = _settings(data_dir=data_dir)
    from service.wiring.tasks import scrub as run

    def tell(job_id: str, found: str) -> None:
        say(f"{job_id}  {found}")

    with _told_plainly(settings):
        tally = run(settings, tell, bytes_per_second=max_mib_per_second * 2**20, with_sources=sources)
    say(f"{'interrupted: ' if tally.is_interrupted else ''}{tally}")
    if tally.is_interrupted:
        sys.exit(EXIT_INTERRUPTED)
    if tally.damaged:
        sys.exit(EXIT_DAMAGED)


@app.command()
def audit(
    data_dir: DataDir = None,
    action: Annotated[Action | None, typer.Option(help="Only events of this action.")] = None,
    job: Annotated[str | None, typer.Option(help="Only events of this job, gone or not.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    cursor: Annotated[int | None, typer.Option(help="Only events older than the one with this id.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line each.")] = False,
) -> None:
    """Print who did what, newest first. Reads the database itself: whoever may do that is not audited."""
    if job is not None and not is_job_id(job):
        raise typer.BadParameter("is no job's id", param_hint="--job")
    settings = _settings(data_dir=data_dir)
    from service.audit import event_json, event_text
    from service.wiring.tasks import audit_events as read

    render = event_json if as_json else event_text
    with _told_plainly(settings):
        for event in read(settings, EventFilter(action, job, cursor, limit)):
            say(render(event))


@app.command()
def settings(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every setting's effective value, secrets hidden, and what it is for."""
    effective = _settings(data_dir=data_dir)
    shown = {name: _shown(getattr(effective, name)) for name in Settings.model_fields}
    with _told_plainly(effective):
        if as_json:
            say(json.dumps(shown, indent=2))
            return
        for name, field in Settings.model_fields.items():
            say(f"# {field.description}\n{PREFIX}{name.upper()}={_line(shown[name])}")


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    return str(value) if isinstance(value, Path) else value


def _line(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
