"""Names are data: whatever a client calls its file, by any door, the shown name is clean and curl saves it so."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.asking import ask, job_at, succeeded
from tests.acceptance.curl import curl
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import text

DATA = text(5_000)

NAMES = {
    "报告.pdf": "报告.pdf",
    "😀 party.txt": "😀 party.txt",
    "with  two spaces.txt": "with  two spaces.txt",
    'say "hello".txt': "say hello.txt",
    "it's; rm -rf $HOME.txt": "it's; rm -rf $HOME.txt",
    "100%25 sure?#.txt": "100%25 sure?#.txt",
    "n" * 4000 + ".log": "n" * 236 + ".log",
    "报" * 1300 + ".log": "报" * 78 + ".log",
    "../../etc/passwd": "passwd",
    "C:\\Users\\me\\notes.txt": "notes.txt",
    "a\r\nX-Evil: 1": "aX-Evil: 1",
    "a\0b.txt": "ab.txt",
    "\u202egpj.exe\u200f": "gpj.exe",
    "caf\u0065\u0301.txt": "caf\u00e9.txt",
    "..": "upload",
    ".hidden": ".hidden",
    "-rf": "-rf",
    "CON.txt": "_CON.txt",
    " trailing dot. ": "trailing dot",
    "\x1b[31mred.txt": "[31mred.txt",
}


def by_query(name: str) -> tuple[str, list[str]]:
    return f"/uploads?filename={quote(name, safe='')}", ["-X", "POST", "-T", "data"]


def by_path(name: str) -> tuple[str, list[str]]:
    return f"/uploads/{quote(name, safe='')}", ["-T", "data"]


def by_short_path(name: str) -> tuple[str, list[str]]:
    return f"/{quote(name, safe='')}", ["-T", "data"]


def by_extended_disposition(name: str) -> tuple[str, list[str]]:
    header = f"Content-Disposition: attachment; filename*=UTF-8''{quote(name, safe='')}"
    return "/uploads", ["-X", "POST", "-H", header, "-T", "data"]


def by_disposition(name: str) -> tuple[str, list[str]]:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return "/uploads", ["-X", "POST", "-H", f'Content-Disposition: attachment; filename="{escaped}"', "-T", "data"]


def by_form(name: str) -> tuple[str, list[str]]:
    return "/uploads", ["-F", "file=@data;filename=" + '"{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))]


DOORS = [by_query, by_path, by_short_path, by_extended_disposition, by_disposition, by_form]


def takes(door: object, name: str) -> bool:
    """Whether curl can carry the name through this door at all.

    Its arguments hold no NUL, headers no controls; it takes dot segments out of paths, and the short door has only one.
    """
    if door in (by_disposition, by_form):
        return not any(mark in name for mark in "\0\r\n\x1b")
    return not (door in (by_path, by_short_path) and name == "..") and not (door is by_short_path and "/" in name)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_shown_name_is_clean_whatever_the_door(service: ServiceProcess, tmp_path: Path, door: object) -> None:
    (tmp_path / "data").write_bytes(DATA)
    shown = {}
    for name in NAMES:
        if takes(door, name):
            target, arguments = door(name)  # type: ignore[operator]
            done = curl("--path-as-is", *arguments, f"{service.url}{target}", folder=tmp_path)
            assert done.status == 202, (name[:80], done)
            assert "x-evil:" not in done.head.lower()
            shown[name] = job_at(service.url, done.json["id"])["name"]

    assert shown == {name: NAMES[name] for name in shown}


@pytest.mark.parametrize("name", NAMES)
def test_curl_saves_original_and_result_under_the_shown_name(
    service: ServiceProcess, tmp_path: Path, name: str
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    target, arguments = by_query(name)
    job_id = curl(*arguments, f"{service.url}{target}&format=gzip", folder=tmp_path).json["id"]
    job = succeeded(service.url, job_id)
    saved = tmp_path / "saved"
    saved.mkdir()

    for what in ("original", "result"):
        done = curl("-OJ", f"{service.url}/jobs/{job_id}/{what}", folder=saved)
        assert done.code == 0, done

    assert {path.name for path in saved.iterdir()} - {".home"} == {NAMES[name], job["result"]["name"]}
    assert job["result"]["name"] == f"{NAMES[name]}.gz"
    assert (saved / NAMES[name]).read_bytes() == DATA


def test_a_name_never_becomes_a_path_in_the_store(service: ServiceProcess, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    target, arguments = by_query("../../../outside.txt")
    job_id = curl(*arguments, f"{service.url}{target}", folder=tmp_path).json["id"]
    succeeded(service.url, job_id)

    assert list(service.folder.rglob("outside*")) == []
    assert all(name.startswith(("s-", "r-")) for name in service.stored())


def test_every_download_names_the_file_twice_for_browsers_and_for_curl(service: ServiceProcess) -> None:
    answer = ask(f"{service.url}/uploads/{quote('报告 1.pdf')}", "PUT", DATA)
    succeeded(service.url, answer.json["id"])

    headers = ask(f"{service.url}/jobs/{answer.json['id']}/original").headers

    encoded = quote("报告 1.pdf", safe="")
    raw = "报告 1.pdf".encode().decode("latin-1")
    assert headers["Content-Disposition"] == f"attachment; filename=\"{raw}\"; filename*=UTF-8''{encoded}"
