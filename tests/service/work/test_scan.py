"""Scanning what arrived before anything is made of it, by real scripts: the exit code decides, and nothing stays."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS
from service.job_document import percent
from service.work.attempt import Attempt, Cancelled, Released
from service.work.low_priority import ComputeThreads
from service.work.processor import Processor, RetryPauses
from service.work.result_maker import Tools
from service.work.scan import Scanner
from service.work.scan_process import MAX_OUTPUT_BYTES, split_command, why_not_runnable
from storage.errors import JobConflict
from storage.jobs import job_table
from storage.models import sources
from tests.service.payloads import noise, text
from tests.service.work.bench import Bench, until
from tests.service.work.scanners import CLEAN, LOOKING, MALICIOUS, MARKER, is_alive, pid_in, scanner, script
from tests.storage.job_builder import act


def source_keys(bench: Bench) -> list[Any]:
    with bench.database.read() as connection:
        return list(connection.execute(select(sources.c.key)).scalars())


def test_what_the_scanner_finds_clean_is_compressed(bench: Bench, tmp_path: Path) -> None:
    bench.submit(text(300_000))

    row = bench.run(scanner=scanner(tmp_path, 'cat > "$HERE/seen"'))

    assert row["status"] == "succeeded"
    assert (tmp_path / "seen").read_bytes() == text(300_000), "it is given every byte"


def test_what_the_scanner_finds_malicious_fails_for_good_and_nothing_of_it_is_kept(
    bench: Bench, tmp_path: Path
) -> None:
    job_id = bench.submit(text(50_000), max_attempts=3)

    row = bench.run(scanner=scanner(tmp_path, MALICIOUS))

    assert (row["status"], row["error_code"], row["attempts"]) == ("failed", "malicious", 1)
    assert bench.stored_keys() == set()
    assert source_keys(bench) == [None]
    with pytest.raises(JobConflict):
        act(bench.database, lambda connection: job_table.retry(connection, job_id, attempts_more=3))


@pytest.mark.parametrize("place", [0, 2_000_000, 3_999_900])
def test_a_marker_anywhere_is_found(bench: Bench, tmp_path: Path, place: int) -> None:
    content = bytearray(noise(4_000_000))
    content[place : place + len(MARKER)] = MARKER
    bench.submit(bytes(content))

    assert bench.run(scanner=scanner(tmp_path, LOOKING))["error_code"] == "malicious"


@pytest.mark.parametrize(("bad", "code"), [(None, None), (0, "malicious"), (1, "malicious"), (2, "malicious")])
def test_each_of_several_files_is_scanned_and_one_fails_the_job(
    bench: Bench, tmp_path: Path, bad: int | None, code: str | None
) -> None:
    contents = [b"x" * 1000 + (MARKER if number == bad else b"") for number in range(3)]
    bench.submit(*contents, names=("a", "b", "c"), format="zip")

    row = bench.run(scanner=scanner(tmp_path, LOOKING + "; exit 0"))

    assert row["error_code"] == code
    assert bool(bench.stored_keys()) == (bad is None)
    if bad is not None:
        assert row["error_detail"].startswith(f"File {bad + 1} of 3 ")


NO_VERDICT = {
    "another code": "cat > /dev/null; exit 2",
    "a signal": "kill -9 $$",
    "its guard is killed": "kill -9 $PPID; sleep 600",
    "no such program behind it": "exec /no/such/program",
    "a code above 128": "exit 255",
}


@pytest.mark.parametrize("body", NO_VERDICT.values(), ids=NO_VERDICT)
def test_without_a_verdict_the_attempt_has_failed_and_is_tried_again(bench: Bench, tmp_path: Path, body: str) -> None:
    bench.submit(text(50_000), max_attempts=2)
    kept = bench.stored_keys()

    scan = scanner(tmp_path, f'echo $$ > "$HERE/pid"; {body}')
    first, second = bench.run(scanner=scan), bench.run(scanner=scan)

    assert (first["status"], first["error_code"], first["attempts"]) == ("queued", "scan_failed", 1)
    assert (second["status"], second["error_code"], second["attempts"]) == ("failed", "scan_failed", 2)
    assert bench.stored_keys() == kept, "its owner may try again"
    pid = pid_in(tmp_path / "pid")
    assert pid is not None
    until(lambda: not is_alive(pid))


def unmade(folder: Path) -> Path:
    return folder / "missing"


def plain(folder: Path) -> Path:
    path = script(folder, CLEAN)
    path.chmod(0o644)
    return path


def without_interpreter(folder: Path) -> Path:
    path = script(folder, CLEAN)
    path.write_text("#!/no/such/shell\n")
    return path


def a_folder(folder: Path) -> Path:
    return folder


def of_no_format(folder: Path) -> Path:
    path = script(folder, CLEAN)
    path.write_bytes(b"\x7fELF and nothing else")
    return path


UNRUNNABLE = [unmade, plain, without_interpreter, a_folder, of_no_format]


@pytest.mark.parametrize("make", UNRUNNABLE)
def test_a_command_that_cannot_be_run_is_told_of_and_never_taken_for_clean(
    bench: Bench, tmp_path: Path, make: Any
) -> None:
    command = (str(make(tmp_path)),)
    bench.submit(text(50_000))

    assert why_not_runnable(command)
    assert bench.run(scanner=Scanner(command, 60))["error_code"] == "scan_failed"


def test_a_command_that_can_be_run_is_found_by_its_path_and_by_its_name(tmp_path: Path) -> None:
    assert why_not_runnable((str(script(tmp_path, "sleep 600")),)) is None
    assert why_not_runnable(("cat", "-")) is None


def test_a_command_line_is_split_as_a_shell_would_that_expands_nothing() -> None:
    assert split_command("clamdscan --config-file='/etc/my clamd.conf' $HOME -") == (
        "clamdscan",
        "--config-file=/etc/my clamd.conf",
        "$HOME",
        "-",
    )


@pytest.mark.parametrize("body", ["sleep 600", "exec 0<&-; exec sleep 600", "trap '' TERM; sleep 600"])
def test_a_scanner_that_takes_too_long_is_ended_and_nothing_is_known(bench: Bench, tmp_path: Path, body: str) -> None:
    bench.submit(noise(3_000_000))

    row = bench.run(scanner=scanner(tmp_path, f'echo $$ > "$HERE/pid"; {body}', timeout_seconds=2))

    assert row["error_code"] == "scan_failed"
    pid = pid_in(tmp_path / "pid")
    assert pid is not None
    assert not is_alive(pid)


def test_megabytes_of_output_hold_nothing_up_and_only_their_beginning_is_logged(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.submit(noise(2_000_000))
    body = "head -c 4000000 /dev/zero | tr '\\0' a; cat > /dev/null; head -c 4000000 /dev/zero | tr '\\0' b >&2; exit 1"

    with caplog.at_level(logging.WARNING):
        row = bench.run(scanner=scanner(tmp_path, body))

    assert row["error_code"] == "malicious"
    assert "aaa" not in row["error_detail"]
    said = [record.said for record in caplog.records if record.name == "vacpack.scan"]  # type: ignore[attr-defined]
    assert said == ["a" * MAX_OUTPUT_BYTES]


@pytest.mark.parametrize(("code", "status"), [(0, "succeeded"), (1, "failed")])
def test_a_scanner_need_not_read_what_it_is_given(bench: Bench, tmp_path: Path, code: int, status: str) -> None:
    bench.submit(noise(3_000_000))

    assert bench.run(scanner=scanner(tmp_path, f"exit {code}"))["status"] == status


def test_a_scanner_that_closes_its_input_and_output_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    bench.submit(noise(3_000_000))

    row = bench.run(scanner=scanner(tmp_path, "exec 0<&- 1>&- 2>&-; sleep 0.3; exit 1"))

    assert row["error_code"] == "malicious"


def test_a_child_that_a_scanner_leaves_holds_nothing_up_and_is_ended(bench: Bench, tmp_path: Path) -> None:
    bench.submit(noise(3_000_000))

    row = bench.run(scanner=scanner(tmp_path, 'sleep 600 & echo $! > "$HERE/pid"; cat > /dev/null; exit 0'))

    assert row["status"] == "succeeded"
    pid = pid_in(tmp_path / "pid")
    assert pid is not None
    until(lambda: not is_alive(pid))


def test_a_scanner_is_told_nothing_of_the_service(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VACPACK_ADMIN_TOKEN", "a secret of this test")
    bench.submit(b"x", names=("$(reboot).txt",))

    bench.run(scanner=scanner(tmp_path, 'env > "$HERE/env"; echo "$@" >> "$HERE/env"; ls /proc/self/fd > "$HERE/fds"'))

    told = (tmp_path / "env").read_text()
    assert "VACPACK" not in told
    assert "reboot" not in told
    assert {line.partition("=")[0] for line in told.splitlines()} <= {
        "PATH",
        "LC_ALL",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "",
    }
    assert len((tmp_path / "fds").read_text().split()) <= 4, "its three, and the one of ls"


def process_apart(bench: Bench, job: Any, attempt: Attempt, scan: Scanner) -> threading.Thread:
    tools = Tools(bench.store, CODECS, ARCHIVES, scan)
    processor = Processor(bench.database, tools, RetryPauses(0, 0), compute=ComputeThreads(1))
    thread = threading.Thread(target=processor.process, args=(job, attempt))
    thread.start()
    return thread


@pytest.mark.parametrize(("reason", "status"), [(Cancelled, "cancelled"), (Released, "queued")])
def test_a_scan_that_is_broken_off_leaves_no_process(bench: Bench, tmp_path: Path, reason: Any, status: str) -> None:
    job_id = bench.submit(noise(3_000_000))
    job, attempt = bench.claim()
    body = 'sleep 600 & echo $! > "$HERE/child"; echo $$ > "$HERE/pid"; sleep 600'
    thread = process_apart(bench, job, attempt, scanner(tmp_path, body))
    until(lambda: pid_in(tmp_path / "pid"))

    if reason is Cancelled:
        bench.cancel(job_id)
    attempt.stop(reason)
    thread.join()

    assert bench.status(job_id) == status
    for name in ("pid", "child"):
        pid = pid_in(tmp_path / name)
        assert pid is not None
        until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


def test_a_scan_may_take_its_whole_time_without_a_step_and_is_shown(bench: Bench, tmp_path: Path) -> None:
    bench.submit(text(50_000))
    job, attempt = bench.claim()
    body = 'cat > /dev/null; echo $$ > "$HERE/pid"; while [ ! -e "$HERE/go" ]; do sleep 0.05; done'
    thread = process_apart(bench, job, attempt, scanner(tmp_path, body, timeout_seconds=77))
    until(lambda: pid_in(tmp_path / "pid"))

    doing, progress = attempt.doing(waits_for_database=False), attempt.progress()
    (tmp_path / "go").touch()
    thread.join()

    assert doing is not None
    assert doing.extra_seconds == 77
    assert (progress.phase, progress.bytes_done) == ("scanning", 50_000)
    shown = {"status": "running", "phase": "scanning", "bytes_done": 50_000, "source_size_bytes": 50_000}
    assert percent(shown) == 0, "nothing is compressed yet"
    assert bench.status(job.id) == "succeeded"


def test_a_cancel_that_comes_with_the_verdict_keeps_nothing_either(bench: Bench, tmp_path: Path) -> None:
    job_id = bench.submit(text(50_000))
    job, attempt = bench.claim()
    bench.cancel(job_id)

    bench.processor(scanner=scanner(tmp_path, MALICIOUS)).process(job, attempt)

    row = bench.row(job_id)
    assert (row["status"], row["error_code"]) == ("cancelled", "malicious")
    assert bench.stored_keys() == set()


def test_a_damaged_upload_is_no_matter_of_the_scanner(bench: Bench, tmp_path: Path) -> None:
    bench.submit(b"some bytes", size_bytes=3)

    assert bench.run(scanner=scanner(tmp_path, CLEAN))["error_code"] == "source_damaged"


def test_signals_that_the_worker_holds_back_reach_a_scanner(bench: Bench, tmp_path: Path) -> None:
    bench.submit(b"x")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        row = bench.run(scanner=scanner(tmp_path, "kill -TERM $$; exit 0"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert row["error_code"] == "scan_failed"
