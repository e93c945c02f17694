"""GET /jobs/{id} by 32 keep-alive connections, against a bare FastAPI route of the peer in the same run.

Both servers stay up; while one is asked the other idles, except that in the second half two `small` jobs run
behind vacpack whichever of the two is asked, so that both have the same rest of the machine.
"""

from collections.abc import Sequence
from functools import partial

from benchmarks import client
from benchmarks.full_table import commits
from benchmarks.load import Order
from benchmarks.plan import Context, log_text
from benchmarks.report import Row, Table, at_least
from benchmarks.rounds import Results, Sample, interleave, measured
from benchmarks.server import Server, running

BOUND = 0.5
SMALL = {"format": "zstd", "level": "small"}


def seed(server: Server, count: int) -> list[str]:
    """Upload so many tiny files and wait until all are compressed; return the ids."""
    ids = [client.submit(server, b"%08d " % number * 16) for number in range(count)]
    for job_id in ids:
        client.await_status(server, job_id, ["succeeded"])
    return ids


def start_small_jobs(server: Server, size_bytes: int) -> list[str]:
    """Start two jobs of level `small` that keep the cores busy; return their ids once they run."""
    content = log_text(size_bytes)
    ids = [client.submit(server, content, SMALL) for _ in range(2)]
    for job_id in ids:
        client.await_status(server, job_id, ["running"])
    return ids


def load(context: Context, server: Server, targets: Sequence[str], beside: Server) -> Sample:
    """Ask one server for random targets while the other stands `beside` it."""
    requests = [client.get_request(target) for target in targets]
    with measured(server, beside) as sample:
        tally = client.load(Order(server.port, requests, context.plan.load_seconds))
    answered = tally["statuses"].pop("200", 0)
    if tally["statuses"] or tally["dropped"]:
        raise client.BenchmarkError(f"{server.name}: {tally['statuses']}, {tally['dropped']} dropped, not 200 alone")
    sample.figures["requests_per_second"] = answered / tally["seconds"]
    sample.figures["p50"] = tally["p50_milliseconds"]
    sample.figures["p99"] = tally["p99_milliseconds"]
    return sample


def _load_beside_commits(context: Context, server: Server, targets: Sequence[str], beside: Server) -> Sample:
    with commits(server.folder / "vacpack.db"):
        return load(context, server, targets, beside)


def _text(results: Results, variant: str) -> str:
    rate, p50, p99 = (results.median(variant, name) for name in ("requests_per_second", "p50", "p99"))
    return f"{rate:.0f} (p50 {p50:.1f}, p99 {p99:.1f} ms)"


def _row(results: Results, what: str, variant: str, base: str, bound: float | None) -> Row:
    ratios = results.ratios("requests_per_second", variant, base)
    return Row(f"{what}: requests/s", _text(results, variant), _text(results, base), ratios, bound and at_least(bound))


def _finished(context: Context, vacpack: Server, peer: Server) -> Results:
    ours = [f"/jobs/{job_id}" for job_id in seed(vacpack, context.plan.jobs)]
    theirs = [f"/jobs/{job_id}" for job_id in seed(peer, context.plan.jobs)]
    variants = {
        "bare route": partial(load, context, peer, ["/hello"], vacpack),
        "status": partial(load, context, vacpack, ours, peer),
        "beside commits": partial(_load_beside_commits, context, vacpack, ours, peer),
        "peer's status": partial(load, context, peer, theirs, vacpack),
    }
    return interleave(variants, context.plan.rounds)


def _running(context: Context, vacpack: Server, peer: Server) -> Results:
    ids = start_small_jobs(vacpack, context.plan.work_bytes)
    variants = {
        "bare route": partial(load, context, peer, ["/hello"], vacpack),
        "status": partial(load, context, vacpack, [f"/jobs/{job_id}" for job_id in ids], peer),
    }
    results = interleave(variants, context.plan.rounds)
    if any(client.job_status(vacpack, job_id) != "running" for job_id in ids):
        raise client.BenchmarkError("the two small jobs ended before the last round: give them more bytes")
    return results


def run(context: Context) -> Table:
    with (
        running("vacpack", context.fresh_folder("status-vacpack")) as vacpack,
        running("peer", context.fresh_folder("status-peer")) as peer,
    ):
        finished = _finished(context, vacpack, peer)
        busy = _running(context, vacpack, peer)
    rows = [
        _row(finished, "finished jobs", "status", "bare route", BOUND),
        _row(finished, "the same while something commits every 2 ms", "beside commits", "bare route", None),
        _row(busy, "running jobs, two `small` at work", "status", "bare route", BOUND),
        _row(finished, "the peer's own status (ORM session in the thread pool)", "peer's status", "bare route", None),
    ]
    note = f"Random ids among {context.plan.jobs} finished jobs, then the two that run. The last row's first column is"
    note += " the peer's, for comparison."
    foreign = max(finished.foreign(), busy.foreign())
    title = "Status on 32 connections against a bare FastAPI route"
    return Table(title, note, rows, len(finished.rounds), foreign, base="bare route")
