"""Names are data: whatever a client calls its file, by any door, the shown name is clean and curl saves it so."""

from __future__ import annotations

import os
import zipfile
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.asking import ask, job_at, succeeded
from tests.acceptance.curl import curl
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import text
from tests.service.web.names.real_names import HINTED, LEGACY

DATA = text(5_000)

NAMES = {
    "报告.pdf": "报告.pdf",
    "😀 party.txt": "😀 party.txt",
    "with  two spaces.txt": "with  two spaces.txt",
    'say "hello".txt': "say _hello_.txt",
    "it's; rm -rf $HOME.txt": "it's; rm -rf $HOME.txt",
    "100%25 sure?#.txt": "100%25 sure_#.txt",
    "n" * 4000 + ".log": "n" * 236 + ".log",
    "报" * 800 + ".log": "报" * 78 + ".log",
    "../../etc/passwd": "passwd",
    "C:\\Users\\me\\notes.txt": "notes.txt",
    "a\r\nX-Evil: 1": "aX-Evil_ 1",
    "a\0b.txt": "ab.txt",
    "\u202egpj.exe\u200f": "gpj.exe",
    "caf\u0065\u0301.txt": "caf\u00e9.txt",
    "..": "upload",
    ".hidden": ".hidden",
    "-rf": "-rf",
    "CON.txt": "_CON.txt",
    " trailing dot. ": "trailing dot",
    "\x1b[31mred.txt": "[31mred.txt",
    "\x01.txt": "_.txt",
    "👩\u200d👧 👍🏽.png": "👩\u200d👧 👍🏽.png",
    "می\u200cخواهم.txt": "می\u200cخواهم.txt",
    "a<b>c|d*e.txt": "a_b_c_d_e.txt",
}


def by_query(name: str) -> tuple[str, list[str]]:
    return f"/uploads?filename={quote(os.fsencode(name), safe='')}", ["-X", "POST", "-T", "data"]


def by_path(name: str) -> tuple[str, list[str]]:
    return f"/uploads/{quote(os.fsencode(name), safe='')}", ["-T", "data"]


def by_short_path(name: str) -> tuple[str, list[str]]:
    return f"/{quote(os.fsencode(name), safe='')}", ["-T", "data"]


def by_extended_disposition(name: str) -> tuple[str, list[str]]:
    header = f"Content-Disposition: attachment; filename*=UTF-8''{quote(os.fsencode(name), safe='')}"
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
        return not any(mark in name for mark in "\0\r\n\x1b\x01")
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


RAW_NAMES = {name.encode(codec): name for name, codec in LEGACY[::3]} | {
    b"\xcf\xcb\xc0\xcd.txt": "%CF%CB%C0%CD.txt",
    b"\x95\\.txt": "%95%5C.txt",
    b"\xff\x81.tar.gz": "%FF%81.tar.gz",
    "报告".encode()[:5] + b"\xe5\x91\x8a.txt": "报%E5%91告.txt",
}
"""What comes as bytes that are no UTF-8, and what is shown."""


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_names_that_are_no_utf8_keep_their_letters_or_show_their_bytes_whatever_the_door(
    service: ServiceProcess, tmp_path: Path, door: object
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    shown = {}
    for raw in RAW_NAMES:
        target, arguments = door(os.fsdecode(raw))  # type: ignore[operator]
        if door is by_extended_disposition:
            arguments = [argument.replace("UTF-8''", "''") for argument in arguments]
        done = curl("--path-as-is", *arguments, f"{service.url}{target}", folder=tmp_path)
        assert done.status == 202, (raw, done)
        shown[raw] = job_at(service.url, done.json["id"])["name"]

    assert shown == RAW_NAMES


@pytest.mark.parametrize("raw", list(RAW_NAMES)[::4])
def test_curl_saves_under_the_shown_name_what_came_under_a_legacy_one(
    service: ServiceProcess, tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    target, arguments = by_form(os.fsdecode(raw))
    job_id = curl(*arguments, f"{service.url}{target}", folder=tmp_path).json["id"]
    succeeded(service.url, job_id)
    saved = tmp_path / "saved"
    saved.mkdir()

    assert curl("-OJ", f"{service.url}/jobs/{job_id}/original", folder=saved).code == 0

    assert (saved / RAW_NAMES[raw]).read_bytes() == DATA


def test_what_the_client_speaks_decides_a_name_that_is_not_clear(service: ServiceProcess, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    shown = []
    for name, codec, languages in HINTED:
        target, arguments = by_form(os.fsdecode(name.encode(codec)))
        done = curl(*arguments, "-H", f"Accept-Language: {languages}", f"{service.url}{target}", folder=tmp_path)
        shown.append(job_at(service.url, done.json["id"])["name"])

    assert shown == [name for name, _, _ in HINTED]


@pytest.mark.parametrize(
    "charset", [["-F", "_charset_=big5"], ["-H", "Content-Type: multipart/form-data; charset=big5"]]
)
def test_the_charset_of_a_form_decides_a_name_that_is_not_clear(
    service: ServiceProcess, tmp_path: Path, charset: list[str]
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    target, arguments = by_form(os.fsdecode("紙.txt".encode("big5")))

    done = curl(*charset, *arguments, f"{service.url}{target}", folder=tmp_path)

    assert job_at(service.url, done.json["id"])["name"] == "紙.txt"


def test_an_archive_holds_its_files_under_the_names_that_are_shown(service: ServiceProcess, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    forms = [argument for raw in RAW_NAMES for argument in by_form(os.fsdecode(raw))[1]]
    job_id = curl(*forms, f"{service.url}/uploads?format=zip", folder=tmp_path).json["id"]
    job = succeeded(service.url, job_id)

    with zipfile.ZipFile(BytesIO(ask(f"{service.url}/jobs/{job_id}/result").body)) as archive:
        assert archive.namelist() == list(RAW_NAMES.values())
        assert all(info.flag_bits & 0x800 or info.filename.isascii() for info in archive.infolist())
    assert job["result"]["name"].endswith(".zip")


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
