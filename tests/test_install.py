"""``requirements/install.py``: a machine's own pip configuration neither chooses packages nor warns."""

from __future__ import annotations

import hashlib
import os
import runpy
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "requirements/install.py"
WHEEL = "packed-1.0-py3-none-any.whl"


def make_wheel(folder: Path, requirement: str) -> str:
    """Write the wheel of a package that needs another one; return its digest."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("packed.py", "")
        about = f"Metadata-Version: 2.1\nName: packed\nVersion: 1.0\nRequires-Dist: {requirement}\n"
        wheel.writestr("packed-1.0.dist-info/METADATA", about)
        wheel.writestr("packed-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("packed-1.0.dist-info/RECORD", "")
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """The address of an index over ``tmp_path/index``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "index")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def python(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    return tmp_path / "venv/bin/python"


def install(python: Path, lock: Path, configuration: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    env |= {"PIP_CONFIG_FILE": str(configuration)} | environment
    return subprocess.run([python, SCRIPT, lock], env=env, text=True, capture_output=True, check=False)


def configuration(tmp_path: Path, index: str) -> Path:
    """Write a configuration that reaches the index, and would choose other packages and warn."""
    (tmp_path / "constraints.txt").write_text("packed==2.0\n")
    path = tmp_path / "pip.conf"
    path.write_text(
        f"[global]\nindex-url = {index}\nconstraint = {tmp_path}/constraints.txt\nfind-links = {tmp_path}/nowhere\n"
        "require-virtualenv = true\n[install]\nno-binary = :all:\nuser = true\ntarget = elsewhere\n"
    )
    return path


@pytest.mark.parametrize("requirement", ["pip>=20", "wanting[extra]>=3"])
def test_a_lock_is_installed_as_it_is_and_what_it_lacks_is_told(
    tmp_path: Path, index: str, python: Path, requirement: str
) -> None:
    digest = make_wheel(tmp_path / "index/packed", requirement)
    lock = tmp_path / "some.lock"
    lock.write_text(f"packed==1.0 \\\n    --hash=sha256:{digest}\n")

    done = install(python, lock, configuration(tmp_path, index), PIP_FIND_LINKS="/nowhere", PIP_PRE="1")

    assert subprocess.run([python, "-c", "import packed"], check=False).returncode == 0
    if requirement == "pip>=20":
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Installing 1 packages into ")
    else:
        assert done.returncode != 0
        assert "wanting" in done.stderr


def test_other_bytes_under_a_locked_name_are_refused(tmp_path: Path, index: str, python: Path) -> None:
    make_wheel(tmp_path / "index/packed", "pip")
    lock = tmp_path / "some.lock"
    lock.write_text(f"packed==1.0 \\\n    --hash=sha256:{'0' * 64}\n")

    done = install(python, lock, configuration(tmp_path, index))

    assert done.returncode != 0
    assert "HASHES" in done.stderr
    assert subprocess.run([python, "-c", "import packed"], capture_output=True, check=False).returncode != 0


def test_only_what_reaches_an_index_is_taken_from_the_machine() -> None:
    environment = runpy.run_path(str(SCRIPT))["environment"]
    listed = (
        ":env:.index-url='https://c'\nglobal.cert='/ca.pem'\nglobal.index-url='https://a'\n"
        "global.constraint='/c.txt'\ninstall.index-url='https://b'\ndownload.index-url='https://d'\n"
        "global.trusted-host='one\\ntwo'\ninstall.no-deps='false'\nwarning: what nobody expects\n"
    )
    assert environment(listed, {"PIP_CONSTRAINT": "/c.txt", "HTTPS_PROXY": "https://p"}) == {
        "HTTPS_PROXY": "https://p",
        "PIP_CERT": "/ca.pem",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_INDEX_URL": "https://c",
        "PIP_NO_INPUT": "1",
        "PIP_TRUSTED_HOST": "one\ntwo",
    }


def test_a_failed_environment_is_not_taken_for_one_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    half = tmp_path / "half-a-python"
    half.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\nmkdir -p .venv/bin; touch .venv/bin/python; exit 1\n'
    )
    half.chmod(0o755)

    made = subprocess.run(
        ["make", ".venv/bin/python", f"PYTHON={half}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert made.returncode != 0
    assert not (tmp_path / ".venv").exists()
