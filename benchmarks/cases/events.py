"""Open event streams: what they cost while nothing happens, and how soon a change has reached all who listen."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

from benchmarks import client
from benchmarks.full_table import changes, commits
from benchmarks.listen import Order, Tally, listening
from benchmarks.plan import Context
from benchmarks.report import Row, Table, at_most
from benchmarks.rounds import Results, Sample, interleave, measured, repeat
from benchmarks.server import Server, running

# Without a worker all jobs wait, so that their streams stay open.
SETTINGS = {"VACPACK_EMBEDDED_WORKER": "false"}
PERCENT_BOUND = 5.0
MILLISECONDS_BOUND = 500.0
CHANGE_SECONDS = 0.5


def _share(context: Context, server: Server, targets: Sequence[str], *, beside_commits: bool = False) -> Sample:
    """Hold a stream open for each target; measure the server's share of a core meanwhile."""
    seconds = context.plan.listen_seconds
    busy = commits(server.folder / "vacpack.db") if beside_commits else nullcontext()
    with listening(Order(server.port, list(targets))) as listeners, busy:
        # The first look after so many have come is not what lasts.
        time.sleep(1)
        with measured(server, Server("listeners", 0, listeners.pid, server.folder)) as sample:
            time.sleep(seconds)
    sample.figures["percent"] = 100 * sample.figures["cpu_seconds"] / seconds
    return sample


def _reach(context: Context, server: Server) -> Sample:
    """Have all listen to one running job; measure the time from a change's commit until each of them has it."""
    job_id, change = changes(server.folder / "vacpack.db")
    order = Order(server.port, [f"/jobs/{job_id}/events"] * context.plan.listeners)
    committed: dict[str, float] = {}
    with (
        listening(order) as listeners,
        measured(server, Server("listeners", 0, listeners.pid, server.folder)) as sample,
    ):
        deadline = time.perf_counter() + context.plan.listen_seconds
        while time.perf_counter() < deadline:
            identifier = change()
            committed[identifier] = time.perf_counter()
            time.sleep(CHANGE_SECONDS)
    taken = _milliseconds(listeners.tally, committed, context.plan.listeners)
    sample.figures |= {"p50": taken[len(taken) // 2], "p99": taken[int(len(taken) * 0.99)]}
    return sample


def _milliseconds(tally: Tally, committed: dict[str, float], listeners: int) -> list[float]:
    """Return, sorted, how long each change took to each listener.

    Raises:
        BenchmarkError: a change did not reach all.
    """
    for identifier in committed:
        if len(tally.arrivals.get(identifier, ())) != listeners:
            raise client.BenchmarkError(f"change {identifier} reached {len(tally.arrivals.get(identifier, ()))} only")
    return sorted(1000 * (came - at) for identifier, at in committed.items() for came in tally.arrivals[identifier])


def _shares(context: Context, server: Server) -> Results:
    ids = [client.submit(server, b"waiting %08d" % number) for number in range(context.plan.listeners)]
    targets = [f"/jobs/{job_id}/events" for job_id in ids]
    variants = {
        "nobody": partial(_share, context, server, []),
        "all": partial(_share, context, server, targets),
        "beside commits": partial(_share, context, server, targets, beside_commits=True),
    }
    return interleave(variants, context.plan.rounds)


def run(context: Context) -> Table:
    with running("vacpack", context.fresh_folder("events-vacpack"), SETTINGS) as server:
        shares = _shares(context, server)
        reach = repeat(lambda _number: {"reach": _reach(context, server)}, context.plan.rounds)
    count = f"{context.plan.listeners:,}"
    nobody, everybody, busy = (
        f"{shares.median(name, 'percent'):.2f} %" for name in ("nobody", "all", "beside commits")
    )
    percents = [entry["all"].figures["percent"] for entry in shares.rounds]
    p99s = [entry["reach"].figures["p99"] for entry in reach.rounds]
    reached = f"p50 {reach.median('reach', 'p50'):.0f}, p99 {reach.median('reach', 'p99'):.0f} ms"
    rows = [
        Row(
            f"{count} streams, one waiting job each: share of a core",
            everybody,
            nobody,
            percents,
            at_most(PERCENT_BOUND, "%"),
        ),
        Row("the same while something commits every 2 ms", busy, ""),
        Row(
            f"{count} streams of one job: from a commit to each of them",
            reached,
            "",
            p99s,
            at_most(MILLISECONDS_BOUND, "ms"),
        ),
    ]
    note = (
        f"Streams are held open for {context.plan.listen_seconds:g} s. CPU is the server's alone; the second column is"
    )
    note += " the same server with no stream. The job of the last row changes every half second."
    foreign = max(shares.foreign(), reach.foreign())
    title = f"{count} open event streams"
    return Table(title, note, rows, len(shares.rounds), foreign, base="with none")
