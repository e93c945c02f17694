"""What auditing costs who asks: one service that audits queries, and one that was told not to."""

from collections.abc import Sequence
from functools import partial

from benchmarks import client
from benchmarks.cases.status import load, seed
from benchmarks.plan import Context
from benchmarks.report import Row, Table
from benchmarks.rounds import Results, Sample, interleave, measured
from benchmarks.server import Server, running

TOKEN = "benchmark-benchmark"
SETTINGS = {"VACPACK_ADMIN_TOKEN": TOKEN}
JOBS = 100
PACE_SECONDS = 0.01
LIST = f"/jobs?limit=5&key={TOKEN}"
SEARCH = f"/jobs?q=sample&limit=5&key={TOKEN}"


def _paced(context: Context, server: Server, target: str, beside: Server) -> Sample:
    with measured(server, beside) as sample:
        taken = client.slow_poll(server.port, target, count=context.plan.poll_count, interval_seconds=PACE_SECONDS)
    sample.figures |= {"p50": taken[len(taken) // 2], "p99": taken[int(len(taken) * 0.99)]}
    return sample


def _row(results: Results, what: str, figure: str, text: str) -> Row:
    """Return a row whose text is filled with the medians of the figures it names."""

    def told(variant: str) -> str:
        names = ("requests_per_second", "p50", "p99") if figure == "requests_per_second" else ("p50", "p99")
        return text.format(**{name: results.median(variant, name) for name in names})

    return Row(what, told("audited"), told("unaudited"), results.ratios(figure, "audited", "unaudited"), None)


def _hurried(context: Context, what: str, servers: Sequence[Server], targets: Sequence[Sequence[str]]) -> Row:
    audited, unaudited = servers
    variants = {
        "unaudited": partial(load, context, unaudited, targets[1], audited),
        "audited": partial(load, context, audited, targets[0], unaudited),
    }
    text = "{requests_per_second:.0f} (p50 {p50:.1f}, p99 {p99:.1f} ms)"
    return _row(interleave(variants, context.plan.rounds), f"{what}: requests/s", "requests_per_second", text)


def _calm(context: Context, what: str, servers: Sequence[Server], target: str) -> Row:
    audited, unaudited = servers
    variants = {
        "unaudited": partial(_paced, context, unaudited, target, audited),
        "audited": partial(_paced, context, audited, target, unaudited),
    }
    return _row(interleave(variants, context.plan.rounds), f"{what}: ms", "p50", "{p50:.2f} (p99 {p99:.2f})")


def run(context: Context) -> Table:
    with (
        running("vacpack", context.fresh_folder("audited"), SETTINGS) as audited,
        running("vacpack", context.fresh_folder("unaudited"), SETTINGS | {"VACPACK_AUDIT_QUERIES": "false"}) as other,
    ):
        servers = audited, other
        results = [[f"/jobs/{job_id}/result" for job_id in seed(server, JOBS)] for server in servers]
        rows = [
            _calm(context, "searches, one every 10 ms", servers, SEARCH),
            _hurried(context, "searches", servers, [[SEARCH], [SEARCH]]),
            _hurried(context, "lists of 5 jobs", servers, [[LIST], [LIST]]),
            _hurried(context, "downloads of some bytes", servers, results),
        ]
    note = (
        "The same service with and without `VACPACK_AUDIT_QUERIES`; where nothing else is said, 32 connections that ask"
    )
    note += " again as soon as they are answered, so that whatever an event costs is seen."
    return Table("What the audit costs who asks", note, rows, context.plan.rounds, base="unaudited")
