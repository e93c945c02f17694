"""Several uploads of 64 MiB at once: throughput, and how much the server's memory grows."""

from functools import partial

from benchmarks import client, process_tree
from benchmarks.cases.large import SETTINGS
from benchmarks.plan import MIB, Context
from benchmarks.report import Row, Table, at_least, at_most
from benchmarks.rounds import Results, Sample, interleave, measured
from benchmarks.server import running, truncate_large_files

GROWTH_BOUND_MIB = 64


def _uploads(context: Context, server_name: str, is_put: bool) -> Sample:
    plan = context.plan
    source = context.random_file(plan.parallel_bytes)
    folder = context.fresh_folder(f"parallel-{server_name}")
    with running(server_name, folder, SETTINGS) as server:
        client.submit(server, b"warm-up")
        before = process_tree.start_peak(server.pid)
        with measured(server) as sample:
            seconds = client.parallel_seconds(server.port, source, plan.parallel_count, is_put=is_put)
        sample.figures["growth_mib"] = (process_tree.peak_bytes(server.pid) - before) / MIB
        sample.figures["mb_per_second"] = plan.parallel_count * plan.parallel_bytes / seconds / 1e6
    truncate_large_files(folder)
    return sample


def _rows(results: Results, variant: str) -> list[Row]:
    def both(figure: str, digits: int) -> tuple[str, str]:
        return f"{results.median(variant, figure):.{digits}f}", f"{results.median('peer', figure):.{digits}f}"

    growth = [entry[variant].figures["growth_mib"] for entry in results.rounds]
    is_form = variant == "form"
    throughput = results.ratios("mb_per_second", variant, "peer")
    return [
        Row(f"{variant}: MB/s together", *both("mb_per_second", 0), throughput, at_least(1.4) if is_form else None),
        Row(f"{variant}: CPU s", *both("cpu_seconds", 2), results.ratios("cpu_seconds", variant, "peer")),
        Row(f"{variant}: memory growth, MiB", *both("growth_mib", 1), growth, at_most(GROWTH_BOUND_MIB, "MiB")),
    ]


def run(context: Context) -> Table:
    variants = {
        "peer": partial(_uploads, context, "peer", False),
        "form": partial(_uploads, context, "vacpack", False),
        "PUT": partial(_uploads, context, "vacpack", True),
    }
    results = interleave(variants, context.plan.upload_rounds)
    size = context.plan.parallel_bytes >> 20
    title = f"{context.plan.parallel_count} uploads of {size} MiB at once"
    note = "One client process sends them with sendfile; receiving alone on both sides. Memory is the server process's"
    note += " peak above what it held before, as the kernel keeps it."
    return Table(title, note, [*_rows(results, "form"), *_rows(results, "PUT")], len(results.rounds), results.foreign())
