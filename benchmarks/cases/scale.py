"""Status and claim with a million finished jobs in the table, against a thousand."""

from functools import partial
from pathlib import Path

from benchmarks.cases.status import load
from benchmarks.full_table import claim_milliseconds, commits, fill, job_id
from benchmarks.plan import Context
from benchmarks.report import Row, Table, at_most
from benchmarks.rounds import Results, Sample, interleave
from benchmarks.server import Server, running

FEW_ROWS = 1000
CLAIMS = 300
BOUND = 1.5
SETTINGS = {"VACPACK_EMBEDDED_WORKER": "false"}


def _filled_folder(context: Context, rows: int) -> Path:
    """Let vacpack make its own database, then fill it behind its back."""
    folder = context.fresh_folder(f"scale-{rows}")
    with running("vacpack", folder, SETTINGS):
        pass
    fill(folder / "vacpack.db", rows)
    return folder


def _status(context: Context, few: Path, many: Path) -> Results:
    with running("vacpack", few, SETTINGS) as small, running("vacpack", many, SETTINGS) as large:

        def measure(server: Server, rows: int, beside: Server) -> Sample:
            # As many ids as the small table has, spread over the whole table, so that its size alone differs.
            targets = [f"/jobs/{job_id(number)}" for number in range(1, rows + 1, rows // FEW_ROWS)]
            with commits(server.folder / "vacpack.db"):
                sample = load(context, server, targets, beside)
            sample.figures["milliseconds"] = 1000 / sample.figures["requests_per_second"]
            return sample

        rows = context.plan.rows
        variants = {"few": partial(measure, small, FEW_ROWS, large), "many": partial(measure, large, rows, small)}
        return interleave(variants, context.plan.rounds)


def _claims(context: Context, few: Path, many: Path) -> Results:
    series = iter(range(100, 1000))

    def measure(folder: Path) -> Sample:
        milliseconds = claim_milliseconds(folder / "vacpack.db", count=CLAIMS, series=next(series))
        return Sample({"milliseconds": milliseconds})

    return interleave({"few": partial(measure, few), "many": partial(measure, many)}, context.plan.rounds)


def run(context: Context) -> Table:
    few, many = _filled_folder(context, FEW_ROWS), _filled_folder(context, context.plan.rows)
    status, claims = _status(context, few, many), _claims(context, few, many)

    def row(what: str, results: Results) -> Row:
        ours, theirs = (f"{results.median(name, 'milliseconds'):.3f} ms" for name in ("many", "few"))
        return Row(what, ours, theirs, results.ratios("milliseconds", "many", "few"), at_most(BOUND))

    rows = [row("status: time of a request at 32 connections", status), row("claim: time of a durable claim", claims)]
    title = f"{context.plan.rows:,} finished jobs in the table against {FEW_ROWS:,}"
    note = (
        f"vacpack against itself. Status is asked for {FEW_ROWS:,} ids spread over the table, while something commits"
    )
    note += " every 2 ms, so that every answer is read from the table."
    return Table(title, note, rows, len(status.rounds), status.foreign(), base=f"with {FEW_ROWS:,}")
