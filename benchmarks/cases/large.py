"""One large upload by curl: as a form, by PUT, and by PUT with a digest asked for."""

from functools import partial

from benchmarks import client
from benchmarks.plan import Context
from benchmarks.report import Row, Table, at_least, at_most
from benchmarks.rounds import Results, Sample, interleave, measured
from benchmarks.server import running, truncate_large_files

GIB = 1 << 30
# Receiving alone: neither side compresses in the time that is measured.
SETTINGS = {"VACPACK_EMBEDDED_WORKER": "false", "PEER_GZIP": "0"}

# Variant: server, the curl arguments but for file and address, throughput's and CPU's bound against the peer's form.
VARIANTS = {
    "peer": ("peer", ["-F"], None, None),
    "form": ("vacpack", ["-F"], 1.5, 0.75),
    "PUT": ("vacpack", ["-T"], 1.8, 0.65),
    "PUT with a digest asked for": ("vacpack", ["-H", "Want-Repr-Digest: sha-256=1", "-T"], 1.0, None),
}


def _upload(context: Context, variant: str) -> Sample:
    server_name, arguments, _, _ = VARIANTS[variant]
    source = context.random_file(context.plan.large_bytes)
    folder = context.fresh_folder(f"large-{server_name}")
    with running(server_name, folder, SETTINGS) as server:
        client.submit(server, b"warm-up")
        is_form = arguments[-1] == "-F"
        address = f"http://127.0.0.1:{server.port}/uploads{'' if is_form else '/'}"
        line = [*arguments, f"file=@{source}" if is_form else str(source), address]
        with measured(server) as sample:
            seconds = client.curl_seconds(line)
        gibibytes = source.stat().st_size / GIB
        sample.figures["mb_per_second"] = source.stat().st_size / seconds / 1e6
        sample.figures["cpu_per_gib"] = sample.figures["cpu_seconds"] / gibibytes
    truncate_large_files(folder)
    return sample


def _rows(results: Results, variant: str) -> list[Row]:
    _, _, throughput, cpu = VARIANTS[variant]

    def row(what: str, figure: str, digits: int, target: object) -> Row:
        ours, theirs = results.median(variant, figure), results.median("peer", figure)
        ratios = results.ratios(figure, variant, "peer")
        return Row(f"{variant}: {what}", f"{ours:.{digits}f}", f"{theirs:.{digits}f}", ratios, target)

    return [
        row("MB/s", "mb_per_second", 0, at_least(throughput)),
        row("CPU s/GiB", "cpu_per_gib", 2, cpu and at_most(cpu)),
    ]


def run(context: Context) -> Table:
    variants = {name: partial(_upload, context, name) for name in VARIANTS}
    results = interleave(variants, context.plan.upload_rounds)
    rows = [row for name in VARIANTS if name != "peer" for row in _rows(results, name)]
    size = context.plan.large_bytes >> 20
    note = f"curl, one file of {size} MiB, receiving alone on both sides. The peer's upload is always a form."
    return Table(f"One upload of {size} MiB", note, rows, len(results.rounds), results.foreign())
