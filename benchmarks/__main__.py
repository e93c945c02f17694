"""`python -m benchmarks`: run the cases, print their tables, write docs/benchmarks.md after a full run."""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks.cases import CASES, OTHERS
from benchmarks.plan import FULL, QUICK, Context
from benchmarks.report import Table, document
from benchmarks.server import PROJECT

PAGE = PROJECT / "docs" / "benchmarks.md"
RESULTS = PROJECT / "benchmarks" / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything: is all well?")
    parser.add_argument(
        "--only", action="append", choices=[*CASES, *OTHERS], metavar="CASE", help=", ".join([*CASES, *OTHERS])
    )
    parser.add_argument("--dir", type=Path, help="folder on the disk to measure; default: benchmarks/results")
    parser.add_argument("--report", type=Path, help="write the page there; default: docs/benchmarks.md if all ran")
    return parser.parse_args()


def _run(context: Context, names: list[str]) -> tuple[list[Table], list[str]]:
    """Run the cases; return their tables and the names of those that failed."""
    tables, failed = [], []
    for name in names:
        started = time.monotonic()
        try:
            tables.append((CASES | OTHERS)[name](context))
        except Exception:
            # One broken case must not cost the others their minutes; the run fails at its end.
            traceback.print_exc()
            failed.append(name)
        else:
            print(tables[-1].markdown(), flush=True)
        print(f"{name}: {time.monotonic() - started:.0f} s\n", file=sys.stderr, flush=True)
    return tables, failed


def main() -> int:
    """Run as asked; return 1 if a case failed. A target that is missed is a result, not a failure."""
    asked = _arguments()
    names = asked.only or list(CASES)
    base = asked.dir or RESULTS
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        tables, failed = _run(Context(QUICK if asked.quick else FULL, folder.resolve()), names)
    finally:
        shutil.rmtree(folder)
    command = " ".join(
        [
            "python -m benchmarks",
            *(["--quick"] if asked.quick else []),
            *(f"--only {name}" for name in asked.only or []),
        ]
    )
    is_whole = not (asked.quick or asked.only or failed)
    page = asked.report or (PAGE if is_whole else None)
    if page is not None:
        page.write_text(document(tables, command))
    print(f"failed: {', '.join(failed) or 'none'}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
