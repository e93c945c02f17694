"""Installed from a wheel into an empty environment, it serves from any folder: all it needs travels with it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.asking import ask, succeeded, upload
from tests.acceptance.service_process import ServiceProcess

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built by the locked tools; nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    how = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *how, "--wheel-dir", folder, ROOT], check=True, timeout=120)
    [built] = folder.glob("vacpack-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service from the wheel in an environment of its own; what it depends on is lent by this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=60)
    python = environment / "bin" / "python"
    how = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", f"--python={python}", "install", *how, wheel], check=True, timeout=60)
    process = ServiceProcess(folder)
    process.command = str(environment / "bin" / "vacpack")
    # On PYTHONPATH its .pth files are not read: the project that is developed here stays out of sight.
    process.settings["PYTHONPATH"] = sysconfig.get_path("purelib")
    try:
        yield process.start()
    finally:
        process.kill()


def test_the_wheel_holds_templates_static_files_and_migrations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    travels = [
        path.relative_to(ROOT).as_posix()
        for folder in ("service", "storage", "migrations")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert len(travels) > 50
    assert set(travels) - names == set()
    assert not any(name.startswith(("tests/", "benchmarks/", "data/")) for name in names)


def test_it_is_the_installed_code_that_runs(installed: ServiceProcess) -> None:
    maps = Path(f"/proc/{installed.process.pid}/cmdline").read_bytes().decode()

    assert str(installed.folder / "environment") in maps
    assert ask(f"{installed.url}/livez").json == {"status": "ok"}


def test_it_compresses_and_shows_its_pages(installed: ServiceProcess) -> None:
    data = b"from a wheel " * 10_000
    job = succeeded(installed.url, upload(installed.url, data)["id"])

    assert ask(f"{installed.url}/jobs/{job['id']}/original").body == data
    for path in ("/", f"/jobs/{job['id']}", "/docs"):
        page = ask(f"{installed.url}{path}", Accept="text/html")
        assert (page.status, page.body[:15].lower()) == (200, b"<!doctype html>")
    assert ask(f"{installed.url}/static/vacpack.css").headers["Content-Type"].startswith("text/css")
    assert ask(f"{installed.url}/openapi.json").status == 200
