"""Freed memory is kept while it is wanted, and given back afterwards. In a process of its own: the settings last."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import threading
from service.machine.allocator import give_back, keep_freed_memory

def resident_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

assert keep_freed_memory()
began = resident_mib()

def use():
    together.wait()
    blocks = [b"x" * (1 << 20) for _ in range(40)]
    held.append(blocks[0])
    together.wait()

held, together = [], threading.Barrier(4)
threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
freed = resident_mib() - began
assert give_back()
print(freed, resident_mib() - began)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells glibc")
def test_what_threads_freed_is_given_back_wherever_it_lies() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    freed, left = map(int, run.stdout.split())
    assert freed > 20, "kept until then: otherwise this tests nothing"
    assert left <= 20
