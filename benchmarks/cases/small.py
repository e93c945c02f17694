"""Uploads of 4 KiB on 32 keep-alive connections, with and without the work behind them."""

from functools import partial

from benchmarks import client
from benchmarks.load import Order
from benchmarks.plan import Context, log_text
from benchmarks.report import Row, Table, at_least
from benchmarks.rounds import Results, Sample, interleave, measured
from benchmarks.server import Server, running

SIZE_BYTES = 4096
WORKING = {"VACPACK_EMBEDDED_WORKER": "true", "PEER_GZIP": "1"}
RECEIVING = {"VACPACK_EMBEDDED_WORKER": "false", "PEER_GZIP": "0"}
# A backlog is what this case makes; it must not be refused for its length. Neither side logs its requests.
QUEUE = {"VACPACK_MAX_QUEUED_JOBS": "1000000", "VACPACK_LOG_LEVEL": "warning"}


def _load(context: Context, server_name: str, settings: dict[str, str]) -> Sample:
    requests = [client.form_request(log_text(SIZE_BYTES))]
    with running(server_name, context.fresh_folder(f"small-{server_name}"), settings | QUEUE) as server:
        if server_name != "sink":
            _warm_up(server, settings)
        with measured(server) as sample:
            tally = client.load(Order(server.port, requests, context.plan.load_seconds))
    accepted = tally["statuses"].pop("202", 0)
    if tally["statuses"] or tally["dropped"]:
        raise client.BenchmarkError(f"{server_name}: {tally['statuses']}, {tally['dropped']} dropped, not 202 alone")
    sample.figures["requests_per_second"] = accepted / tally["seconds"]
    sample.figures["p50"] = tally["p50_milliseconds"]
    sample.figures["p99"] = tally["p99_milliseconds"]
    return sample


def _warm_up(server: Server, settings: dict[str, str]) -> None:
    job_id = client.submit(server, b"warm-up\n" * 100)
    if settings is WORKING:
        client.await_status(server, job_id)


def _row(results: Results, what: str, ours: str, theirs: str, bound: float | None) -> Row:
    def text(variant: str) -> str:
        figures = [results.median(variant, name) for name in ("requests_per_second", "p50", "p99")]
        return f"{figures[0]:.0f} (p50 {figures[1]:.1f}, p99 {figures[2]:.1f} ms)"

    ratios = results.ratios("requests_per_second", ours, theirs)
    return Row(f"{what}: requests/s", text(ours), text(theirs), ratios, bound and at_least(bound))


def run(context: Context) -> Table:
    variants = {
        "lean peer working": partial(_load, context, "lean peer", WORKING),
        "peer working": partial(_load, context, "peer", WORKING),
        "working": partial(_load, context, "vacpack", WORKING),
        "lean peer receiving": partial(_load, context, "lean peer", RECEIVING),
        "peer receiving": partial(_load, context, "peer", RECEIVING),
        "receiving": partial(_load, context, "vacpack", RECEIVING),
    }
    results = interleave(variants, context.plan.rounds)
    limit = _load(context, "sink", RECEIVING).figures["requests_per_second"]
    rows = [
        _row(results, "with background work on both sides", "working", "peer working", 1.5),
        _row(results, "the same against the lean peer", "working", "lean peer working", None),
        _row(results, "receiving alone", "receiving", "peer receiving", None),
        _row(results, "the same against the lean peer", "receiving", "lean peer receiving", None),
    ]
    note = f"Forms of one file of 4 KiB for {context.plan.load_seconds:g} s; every answer was 202. The load generator"
    note += f" itself reaches {limit:.0f} requests/s against a server that does nothing. The lean peer is the same"
    note += " without an ORM session for each request, which a tutorial would not do without; it syncs nothing."
    title = "Uploads of 4 KiB on 32 connections"
    return Table(title, note, rows, len(results.rounds), results.foreign())
