"""Open pages: 20 tabs of 50 rows each, following their jobs as the page's script does, and what that costs the server.

Each tab holds one request for all its rows, and after an answer asks again when `Retry-After` says so.
"""

import http.client
import threading
import time
from collections.abc import Callable
from functools import partial

from benchmarks import client, process_tree
from benchmarks.cases.status import start_small_jobs
from benchmarks.plan import Context
from benchmarks.report import Row, Table
from benchmarks.rounds import Results, Sample, interleave, measured
from benchmarks.server import HOST, Server, running

TABS = 20
ROWS = 50
HELD_SECONDS = 25
WATCHED_SECONDS = 10.0


class _Tab(threading.Thread):
    """One page: `static/follow.js` in Python."""

    def __init__(self, port: int, ids: list[str], is_over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._target = f"/jobs?ids={','.join(ids)}"
        self._connection = http.client.HTTPConnection(HOST, port, timeout=client.TIMEOUT_SECONDS)
        self._is_over = is_over
        self.answers = 0

    def run(self) -> None:
        tag = None
        while not self._is_over.is_set():
            headers = {"Accept": "application/json"} | ({"If-None-Match": tag} if tag else {})
            held = f"&wait={HELD_SECONDS}" if tag else ""
            try:
                self._connection.request("GET", self._target + held, headers=headers)
                answer = self._connection.getresponse()
                answer.read()
            except OSError:
                return
            self.answers += 1
            tag = answer.getheader("ETag")
            self._is_over.wait(max(1.0, float(answer.getheader("Retry-After") or 0)))

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.close()


def _watch(server: Server, ids: list[str], tabs: int) -> Sample:
    """Let so many tabs follow the jobs; return the percent of a core that the API's own process took."""
    is_over = threading.Event()
    pages = [_Tab(server.port, ids, is_over) for _ in range(tabs)]
    for page in pages:
        page.start()
    time.sleep(1.0)
    with measured(server) as sample:
        before, started = process_tree.own_cpu_seconds(server.pid), time.perf_counter()
        answered = sum(page.answers for page in pages)
        time.sleep(WATCHED_SECONDS)
        seconds = time.perf_counter() - started
        sample.figures["percent"] = 100 * (process_tree.own_cpu_seconds(server.pid) - before) / seconds
        sample.figures["answers"] = (sum(page.answers for page in pages) - answered) / seconds
    is_over.set()
    for page in pages:
        page.close()
    return sample


def _rounds(context: Context, work: Callable[[Server], list[str]], settings: dict[str, str]) -> Results:
    with running("vacpack", context.fresh_folder("tabs-vacpack"), settings) as server:
        ids = work(server)
        ids += [client.submit(server, b"%08d " % number * 16) for number in range(ROWS - len(ids))]
        variants = {"tabs": partial(_watch, server, ids, TABS), "none": partial(_watch, server, ids, 0)}
        return interleave(variants, context.plan.rounds)


def _row(results: Results, what: str) -> Row:
    ours = f"{results.median('tabs', 'percent'):.1f} % of a core ({results.median('tabs', 'answers'):.0f} answers/s)"
    return Row(what, ours, f"{results.median('none', 'percent'):.1f} %")


def run(context: Context) -> Table:
    busy = _rounds(context, lambda server: start_small_jobs(server, 2 * context.plan.work_bytes), {})
    idle = _rounds(context, lambda _: [], {"VACPACK_EMBEDDED_WORKER": "false"})
    rows = [
        _row(busy, "two of the rows at work, telling of it twice a second"),
        _row(idle, "all rows waiting in line, nothing moves"),
    ]
    note = f"vacpack against itself: the API's process with {TABS} tabs of {ROWS} rows each, and with none open."
    note += " Each tab holds one request for all its rows."
    foreign = max(busy.foreign(), idle.foreign())
    return Table("Pages left open", note, rows, len(busy.rounds), foreign, base="vacpack, no tab")
