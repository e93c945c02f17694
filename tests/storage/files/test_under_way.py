"""Files on their way to a row are seen as such by every process, for as long as theirs lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from storage.files.under_way import LOCK_FILE, UnderWay
from storage.ids import new_source_key

HOLDER = """
import sys
from pathlib import Path
from storage.files.under_way import UnderWay
under_way = UnderWay(Path(sys.argv[1]))
for key in sys.argv[2:]:
    under_way.hold(key)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_is_held_until_it_is_released_for_every_opening_of_the_folder(tmp_path: Path) -> None:
    mine, others = UnderWay(tmp_path), UnderWay(tmp_path)
    first, second, third = (new_source_key() for _ in range(3))
    mine.hold(first)
    mine.hold(second)

    for view in (mine, others):
        assert [view.holds(key) for key in (first, second, third)] == [True, True, False]
    others.release([first, second, third])
    assert others.holds(first)
    mine.release([first, third])

    for view in (mine, others):
        assert [view.holds(key) for key in (first, second, third)] == [False, True, False]


def test_opening_and_closing_the_lock_file_elsewhere_drops_nothing(tmp_path: Path) -> None:
    mine, key = UnderWay(tmp_path), new_source_key()
    mine.hold(key)

    os.close(os.open(tmp_path / LOCK_FILE, os.O_RDWR))

    assert UnderWay(tmp_path).holds(key)


def test_the_kernel_lets_go_when_the_process_is_killed(tmp_path: Path) -> None:
    keys = [new_source_key() for _ in range(1000)]
    line = [sys.executable, "-c", HOLDER, str(tmp_path), *keys]
    view = UnderWay(tmp_path)
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert all(view.holds(key) for key in keys)

        holder.kill()

    assert not any(view.holds(key) for key in keys)


def test_a_thousand_files_cost_one_descriptor(tmp_path: Path) -> None:
    under_way = UnderWay(tmp_path)
    under_way.hold(new_source_key())
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(1000):
        under_way.hold(new_source_key())

    assert len(list(Path("/proc/self/fd").iterdir())) == before
