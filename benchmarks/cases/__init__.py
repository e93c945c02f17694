"""The cases, one module each: a function from a context to one table. `CASES` is the order of a run."""

from collections.abc import Callable

from benchmarks.cases import audit, before, events, large, parallel, pipeline, poller, scale, small, status, tabs
from benchmarks.plan import Context
from benchmarks.report import Table

CASES: dict[str, Callable[[Context], Table]] = {
    "large": large.run,
    "parallel": parallel.run,
    "small": small.run,
    "pipeline": pipeline.run,
    "status": status.run,
    "poller": poller.run,
    "events": events.run,
    "audit": audit.run,
    "scale": scale.run,
    "tabs": tabs.run,
}
"""Those of a full run."""
OTHERS: dict[str, Callable[[Context], Table]] = {"before": before.run}
"""Those that run only when they are named."""
