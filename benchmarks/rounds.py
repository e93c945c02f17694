"""Measuring in rounds: every variant once a round, noisy rounds replaced, medians at the end."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import process_tree
from benchmarks.server import Server

# Above this share of foreign work a round is measured again, at most so many times a case; the quietest rounds count.
NOISY_SHARE = 0.10
EXTRA_ROUNDS = 2
# Clean-up after a large answer, such as closing the peer's spool file, is part of its CPU cost.
SETTLE_SECONDS = 0.2


@dataclass
class Sample:
    """One measurement: its figures by name, and the share of the machine that other work took."""

    figures: dict[str, float] = field(default_factory=dict)
    foreign: float = 0.0


@contextmanager
def measured(server: Server, *beside: Server) -> Iterator[Sample]:
    """Measure the body of the `with`: `cpu_seconds` of the server's processes, and `foreign`.

    What servers `beside` it use is not foreign: they are loaded on purpose. The body adds its own figures.
    """
    sample = Sample()
    pids = [entry.pid for entry in (server, *beside)]
    before, started = process_tree.snapshot(*pids), time.perf_counter()
    yield sample
    time.sleep(SETTLE_SECONDS)
    after, seconds = process_tree.snapshot(*pids), time.perf_counter() - started
    sample.figures["cpu_seconds"] = after.server - before.server
    sample.foreign = process_tree.foreign_share(before, after, seconds)


@dataclass(frozen=True)
class Results:
    """The rounds that count; each holds one sample of every variant."""

    rounds: list[Mapping[str, Sample]]

    def median(self, variant: str, figure: str) -> float:
        return statistics.median(entry[variant].figures[figure] for entry in self.rounds)

    def ratios(self, figure: str, variant: str, base: str) -> list[float]:
        """Return, round by round and sorted, how many times the base's figure the variant's is.

        Within a round the machine has drifted least; the median of these is steadier than a ratio of medians.
        """
        pairs = ((entry[variant].figures[figure], entry[base].figures[figure]) for entry in self.rounds)
        return sorted(ours / max(theirs, 1e-9) for ours, theirs in pairs)

    def foreign(self) -> float:
        return max(sample.foreign for entry in self.rounds for sample in entry.values())


def repeat(measure_round: Callable[[int], Mapping[str, Sample]], rounds: int) -> Results:
    """Measure rounds, which are given their number; replace noisy ones as far as allowed; keep the quietest.

    A plan of a single round wants to be quick: it is not repeated.
    """
    done: list[Mapping[str, Sample]] = []
    noisy, allowed = 0, EXTRA_ROUNDS if rounds > 1 else 0
    while len(done) < rounds + min(noisy, allowed):
        done.append(measure_round(len(done)))
        noisy += _noise(done[-1]) > NOISY_SHARE
    return Results(sorted(done, key=_noise)[:rounds])


def interleave(variants: Mapping[str, Callable[[], Sample]], rounds: int) -> Results:
    """Measure every variant in each round, every other round in reverse, so that no variant always comes first."""

    def measure_round(number: int) -> Mapping[str, Sample]:
        names = list(variants) if number % 2 == 0 else list(reversed(variants))
        return {name: variants[name]() for name in names}

    return repeat(measure_round, rounds)


def _noise(entry: Mapping[str, Sample]) -> float:
    return max(sample.foreign for sample in entry.values())
