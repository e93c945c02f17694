"""A 202 is a receipt: when it leaves, the bytes, their name and their row have been synced, seen from the kernel."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage.database import WAL_BYTES
from tests.acceptance.asking import ask
from tests.acceptance.conftest import StartService
from tests.acceptance.curl import curl
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import connected, head, read_answer
from tests.acceptance.service_process import ServiceProcess
from tests.parts import missing
from tests.service.payloads import noise

CALLS = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2"
_FILE = r"/files/s-[a-z2-7]{26}"
KINDS = {
    "data": rf"p?writev?2?\(\d+<[^>]*{_FILE}\.part>",
    "sync-file": rf"f(data)?sync\(\d+<[^>]*{_FILE}\.part>\) += 0",
    "rename": rf'rename(at2?)?\(.*{_FILE}\.part", .*{_FILE}".*\) += 0',
    "sync-folder": r"fsync\(\d+<[^>]*/files>\) += 0",
    "row": r"pwrite64\(\d+<[^>]*/vacpack\.db-wal>",
    "sync-row": r"f(data)?sync\(\d+<[^>]*/vacpack\.db-wal>\) += 0",
    "answer": r'.*"HTTP/1\.1 202',
}
RECEIPT = re.compile(r"(?:(?:data )+sync-file rename sync-folder )+(?:(?:row )+sync-row )+answer ")


def _why_not() -> str | None:
    """Return why system calls cannot be traced here."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace: {tried.stderr.decode()}"


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service whose writes, syncs and renames are written to a file."""
    if reason := _why_not():
        missing(reason)
    folder = tmp_path_factory.mktemp("traced")
    tracer = ("strace", "-D", "-f", "-y", "-qq", "-s", "32", "-e", f"trace={CALLS}", "-o", str(folder / "trace"))
    process = ServiceProcess(folder, tracer, embedded_worker="false")
    try:
        yield process.start()
    finally:
        process.kill()


def finished_calls(trace: str) -> Iterator[str]:
    """Yield system calls in the order they returned; an answer, in the order it was begun."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        thread, call = line.split(None, 1)
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>")
            if '"HTTP/1.1 202' in call:
                yield begun.pop(thread)
        elif call.startswith("<... "):
            yield begun.pop(thread, "") + call.partition("resumed>")[2]
        else:
            yield call


def kinds_of(trace: str) -> str:
    """Return what happened, one word a call."""
    found = (
        next((kind for kind, pattern in KINDS.items() if re.match(pattern, call)), "") for call in finished_calls(trace)
    )
    return "".join(f"{kind} " for kind in found if kind)


@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        (0, ["-T", "f", "{url}/"]),
        (1, ["-T", "f", "{url}/"]),
        (3_000_000, ["-T", "f", "{url}/"]),
        (3_000_000, ["-T", "f", "-H", "Transfer-Encoding: chunked", "{url}/"]),
        (3_000_000, ["-T", "f", "-H", "Want-Repr-Digest: sha-256=1", "{url}/"]),
        (3_000_000, ["-F", "file=@f", "{url}/uploads"]),
        (1_500_000, ["-F", "file=@f", "-F", "file=@f", "-F", "file=@f", "{url}/uploads"]),
    ],
)
def test_the_answer_leaves_after_everything_is_synced(
    traced: ServiceProcess, tmp_path: Path, size: int, arguments: list[str]
) -> None:
    (tmp_path / "f").write_bytes(noise(size))
    trace = traced.folder / "trace"
    began_at = trace.stat().st_size

    done = curl(*(argument.format(url=traced.url) for argument in arguments), folder=tmp_path)

    def happened() -> str:
        with trace.open("rb") as file:
            file.seek(began_at)
            kinds = kinds_of(file.read().decode(errors="replace"))
        return kinds if "answer" in kinds else ""

    assert done.status == 202
    kinds = until(happened, what="the trace of the answer")
    if not size:
        # There is no byte to write.
        kinds = f"data {kinds}"
    assert RECEIPT.fullmatch(kinds), kinds
    assert kinds.count("sync-file") == max(1, arguments.count("file=@f"))


def test_the_database_promises_what_it_says(traced: ServiceProcess) -> None:
    [[mode]] = traced.rows("PRAGMA journal_mode")

    assert mode == "wal"


def test_a_form_whose_first_file_was_taken_away_gets_no_receipt(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'
    body = start % b"a" + noise(200_000) + b"\r\n" + start % b"b" + noise(200_000) + b"\r\n--x--\r\n"
    lines = ("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}")
    with connected(service) as connection:
        connection.sendall(head("POST /uploads?format=zip", *lines) + body[:-100])
        whole = until(lambda: [name for name in service.stored() if "." not in name], what="the first file")
        (service.data_dir / "files" / whole[0]).unlink()
        connection.sendall(body[-100:])
        answer = read_answer(connection)

    assert (answer.status, answer.json["code"]) == (500, "storage_failed")
    assert service.holds_nothing()


def test_the_write_ahead_log_shrinks_when_a_reader_has_gone(start_service: StartService) -> None:
    service = start_service(embedded_worker="false")
    log = service.data_dir / "vacpack.db-wal"
    with closing(sqlite3.connect(service.data_dir / "vacpack.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchall()
        while log.stat().st_size <= 2 * WAL_BYTES:
            for _ in range(20):
                assert ask(f"{service.url}/uploads/small", "PUT", b"x" * 1000).status == 202
        reader.execute("COMMIT")

    until(lambda: log.stat().st_size <= WAL_BYTES, what="a small log")

    metrics = ask(f"{service.url}/metrics", Authorization=f"Bearer {service.admin_token()}").body.decode().splitlines()
    shown = next(line.split()[1] for line in metrics if line.startswith("vacpack_database_wal_bytes "))
    assert 0 < float(shown) <= WAL_BYTES
