"""The line that a refused client is told is run as it was printed, with its own file and address."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, job_at
from tests.acceptance.curl import curl
from tests.acceptance.service_process import ServiceProcess
from tests.parts import missing

CONTENT = b"a line\r\n\x00\xff" * 100


def told(service: ServiceProcess, user_agent: str) -> str:
    """Return what a client of this name is told to use."""
    headers = {"Content_Type": "application/x-www-form-urlencoded", "User_Agent": user_agent, "Accept": "text/plain"}
    line = ask(f"{service.url}/uploads", "POST", b"x", **headers).body.decode().strip()
    used = line.rpartition("Use: ")[2]
    return used.replace("URL", service.url).replace("FILE", "big.bin").replace("NAME", "big.bin")


def run(command: list[str], folder: Path) -> str:
    (folder / "big.bin").write_bytes(CONTENT)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def newest(service: ServiceProcess) -> bytes:
    """Return the original of the newest job."""
    [row] = service.rows("SELECT id, name FROM jobs ORDER BY seq DESC LIMIT 1")
    assert row["name"] == "big.bin"
    assert job_at(service.url, row["id"])["source"]["size_bytes"] == len(CONTENT)
    return ask(f"{service.url}/jobs/{row['id']}/original").body


def test_wget_s_line(service: ServiceProcess, tmp_path: Path) -> None:
    if shutil.which("wget") is None:
        missing("no wget is installed (Debian's package: wget)")
    (tmp_path / "big.bin").write_bytes(CONTENT)
    refused = subprocess.run(
        ["wget", "-q", "-S", "-O", "-", "--content-on-error", "--post-file=big.bin", f"{service.url}/uploads"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert b"--body-file=FILE" in refused.stdout

    run(["bash", "-c", told(service, "Wget/1.21.3")], tmp_path)

    assert newest(service) == CONTENT


def test_urllib_s_line(service: ServiceProcess, tmp_path: Path) -> None:
    line = told(service, "Python-urllib/3.11")

    run([sys.executable, "-c", f"import urllib.request; {line}"], tmp_path)

    assert newest(service) == CONTENT


@pytest.mark.parametrize("option", ["-d", "--data-binary"])
def test_curl_s_lines(service: ServiceProcess, tmp_path: Path, option: str) -> None:
    (tmp_path / "big.bin").write_bytes(CONTENT)
    refused = curl(option, "@big.bin", f"{service.url}/uploads", folder=tmp_path)
    assert "curl -T FILE URL" in refused.json["detail"]

    assert curl("-T", "big.bin", f"{service.url}/", folder=tmp_path).status == 202

    assert newest(service) == CONTENT


def test_wget_saves_under_the_last_segment_of_an_address(service: ServiceProcess, tmp_path: Path) -> None:
    if shutil.which("wget") is None:
        missing("no wget is installed (Debian's package: wget)")
    assert curl("-T", "-", f"{service.url}/uploads/big.log", folder=tmp_path, stdin=CONTENT).status == 202
    [row] = service.rows("SELECT id FROM jobs ORDER BY seq DESC LIMIT 1")
    url = f"{service.url}/jobs/{row['id']}"
    assert ask(f"{url}?wait=20").json["status"] == "succeeded"

    run(["wget", "-q", f"{url}/original/my%20own%20name.log", f"{url}/result/big.log.zst"], tmp_path)

    assert (tmp_path / "my own name.log").read_bytes() == CONTENT
    assert (tmp_path / "big.log.zst").read_bytes() == ask(f"{url}/result").body
    assert ask(f"{url}/result/any/name?format=gzip").headers["content-disposition"].startswith("attachment")
