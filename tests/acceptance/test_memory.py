"""The service's memory does not grow with what goes through it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.asking import ask, upload
from tests.acceptance.conftest import StartService
from tests.acceptance.curl import curl
from tests.acceptance.service_process import ServiceProcess

MIB = 1 << 20
GROWTH_BYTES = 64 * MIB


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@contextmanager
def growth_watched(service: ServiceProcess) -> Iterator[list[int]]:
    """Put the most that its memory grew meanwhile into the list, looking a hundred times a second."""
    before, growth, ended = resident_bytes(service.process.pid), [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            growth[0] = max(growth[0], resident_bytes(service.process.pid) - before)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield growth
    finally:
        ended.set()
        watch.join()


def sparse(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def test_sixteen_uploads_at_once_take_no_more_than_their_buffers(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(embedded_worker="false")
    path = sparse(tmp_path / "f", 32 * MIB)
    upload(service.url, b"first")
    folders = [tmp_path / f"client{number}" for number in range(16)]
    for folder in folders:
        folder.mkdir()

    def send(folder: Path) -> int:
        how = ["-T", path, "-X", "POST"] if int(folder.name[6:]) % 2 else ["-F", f"file=@{path}"]
        return curl(*how, f"{service.url}/uploads", folder=folder).status

    with growth_watched(service) as growth, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(send, folders)) == [202] * 16

    assert growth[0] < GROWTH_BYTES


def test_a_large_file_takes_no_more_memory_than_a_small_one(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(embedded_worker="false")
    sparse(tmp_path / "f", 512 * MIB)
    upload(service.url, b"first")

    with growth_watched(service) as growth:
        job = curl("-T", "f", f"{service.url}/", folder=tmp_path).json
        back = curl("-o", "/dev/null", f"{service.url}{job['links']['original']}", folder=tmp_path)

    assert job["source"]["size_bytes"] == 512 * MIB
    assert back.status == 200
    assert growth[0] < GROWTH_BYTES / 2
    assert ask(f"{service.url}/jobs/{job['id']}?key={job['manage_key']}", "DELETE").status == 204
