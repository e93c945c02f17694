"""A slow poller's p99: alone, and while two jobs of level `small` are compressed behind the same server."""

from benchmarks import client
from benchmarks.cases.status import start_small_jobs
from benchmarks.plan import Context
from benchmarks.report import Row, Table, at_most
from benchmarks.rounds import Sample, measured, repeat
from benchmarks.server import Server, running

INTERVAL_SECONDS = 0.008


def _poll(context: Context, server: Server, target: str) -> Sample:
    with measured(server) as sample:
        count = context.plan.poll_count
        latencies = client.slow_poll(server.port, target, count=count, interval_seconds=INTERVAL_SECONDS)
    sample.figures["p50"] = latencies[len(latencies) // 2]
    sample.figures["p99"] = latencies[int(len(latencies) * 0.99)]
    return sample


def _idle_and_busy(context: Context) -> dict[str, Sample]:
    """Poll one fresh server before and during the work, so that the two are as close in time as can be."""
    with running("vacpack", context.fresh_folder("poller-vacpack")) as server:
        job_id = client.submit(server, b"finished\n" * 100)
        client.await_status(server, job_id, ["succeeded"])
        idle = _poll(context, server, f"/jobs/{job_id}")
        ids = start_small_jobs(server, context.plan.work_bytes)
        busy = _poll(context, server, f"/jobs/{ids[0]}")
        if any(client.job_status(server, started) != "running" for started in ids):
            raise client.BenchmarkError("a small job ended before the last poll: give them more bytes")
    return {"idle": idle, "busy": busy}


def run(context: Context) -> Table:
    results = repeat(lambda _number: _idle_and_busy(context), context.plan.rounds)

    def row(figure: str, bound: float | None) -> Row:
        ours, theirs = (f"{results.median(name, figure):.2f} ms" for name in ("busy", "idle"))
        return Row(
            f"{figure} of a poll", ours, theirs, results.ratios(figure, "busy", "idle"), bound and at_most(bound)
        )

    note = f"vacpack against itself: one client, {context.plan.poll_count} polls, one each 8 ms; the first column is"
    note += " while two `small` jobs run, the second with nothing to do."
    rows = [row("p50", None), row("p99", 3.0)]
    return Table(
        "A slow poller beside the work", note, rows, len(results.rounds), results.foreign(), base="vacpack idle"
    )
