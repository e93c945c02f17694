"""This tree beside an earlier one, named by BENCH_BEFORE: what a request costs now of what it cost then, in CPU time.

Not a part of a full run: an earlier revision is only at hand in a clone that has it.
"""

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import client
from benchmarks.load import Order
from benchmarks.plan import Context, log_text
from benchmarks.report import Row, Table, at_most
from benchmarks.rounds import Results, Sample, interleave, measured
from benchmarks.server import PROJECT, Server, running

REVISION = "BENCH_BEFORE"
BOUND = 1.03
SMALL_BYTES = 4096
UPLOAD_MIB = 200
SETTINGS = {
    "VACPACK_EMBEDDED_WORKER": "false",
    "VACPACK_MAX_QUEUED_JOBS": "1000000",
    "VACPACK_LOG_LEVEL": "warning",
}
NOW, BEFORE = "now", "before"


def earlier_tree(context: Context, revision: str) -> Path:
    """Return a folder with the project as it was at this revision."""
    folder = context.fresh_folder("before")
    folder.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def _requests(context: Context, server: Server, request: str, expected: str) -> Sample:
    with measured(server) as sample:
        tally = client.load(Order(server.port, [request], context.plan.load_seconds, warm_up_seconds=0))
    answered = tally["statuses"].pop(expected, 0)
    if tally["statuses"] or tally["dropped"]:
        raise client.BenchmarkError(f"{server.name}: {tally['statuses']}, {tally['dropped']} dropped")
    sample.figures["cost"] = 1e6 * sample.figures["cpu_seconds"] / answered
    return sample


def _upload(server: Server, source: Path, arguments: list[str], path: str) -> Sample:
    with measured(server) as sample:
        client.curl_seconds([*arguments, f"http://127.0.0.1:{server.port}{path}"])
    sample.figures["cost"] = 1000 * sample.figures["cpu_seconds"]
    return sample


def _cases(context: Context, server: Server) -> dict[str, Callable[[], Sample]]:
    job_id = client.submit(server, b"warm-up")
    source = context.random_file(UPLOAD_MIB << 20)
    small = client.form_request(log_text(SMALL_BYTES))
    name = f"{UPLOAD_MIB} MiB"
    return {
        "4 KiB by form: µs": partial(_requests, context, server, small, "202"),
        "status: µs": partial(_requests, context, server, client.get_request(f"/jobs/{job_id}"), "200"),
        f"{name} by form: ms": partial(_upload, server, source, ["-F", f"file=@{source}"], "/uploads"),
        f"{name} by PUT: ms": partial(_upload, server, source, ["-T", str(source)], "/"),
        f"{name} in chunks: ms": partial(
            _upload, server, source, ["-H", "Transfer-Encoding: chunked", "-T", str(source)], "/"
        ),
    }


def _row(what: str, results: Results) -> Row:
    now, before = (f"{results.median(variant, 'cost'):.0f}" for variant in (NOW, BEFORE))
    return Row(what, now, before, results.ratios("cost", NOW, BEFORE), at_most(BOUND))


def run(context: Context) -> Table:
    revision = os.environ.get(REVISION)
    if not revision:
        raise client.BenchmarkError(f"say which revision to compare with: {REVISION}=REVISION")
    tree = earlier_tree(context, revision)
    with (
        running("vacpack", context.fresh_folder("now"), SETTINGS) as now,
        running("vacpack", context.fresh_folder("then"), SETTINGS, tree=tree) as before,
    ):
        ours, theirs = _cases(context, now), _cases(context, before)
        rounds = context.plan.upload_rounds
        results = {what: interleave({NOW: ours[what], BEFORE: theirs[what]}, rounds) for what in ours}
    rows = [_row(what, found) for what, found in results.items()]
    note = f"CPU time of the service for one request, now and at {revision}; both serve in turn, on one machine."
    foreign = max(found.foreign() for found in results.values())
    return Table("Now and before", note, rows, rounds, foreign, base="before")
