"""Every door with the real curl, as people type it; each upload followed to its result and back to its bytes."""

from __future__ import annotations

import html
import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import Answer, ask, job_at, sha256, succeeded, upload
from tests.acceptance.curl import CurlResult, curl, shell
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import noise, text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's: what they upload from."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "big.log").write_bytes(text(3_000_000))
    (folder / "a").write_bytes(text(50_000, seed=2))
    (folder / "b").write_bytes(noise(50_000))
    (folder / "dir").mkdir()
    (folder / "dir" / "one.txt").write_bytes(text(20_000, seed=3))
    (folder / "dir" / "two.bin").write_bytes(noise(20_000))
    (folder / "empty").write_bytes(b"")
    (folder / "byte").write_bytes(b"\0")
    return folder


def original(service: ServiceProcess, job_id: str) -> Answer:
    answer = ask(f"{service.url}/jobs/{job_id}/original")
    assert answer.status == 200, answer.body
    return answer


def came_back(service: ServiceProcess, done: CurlResult, data: bytes) -> dict[str, Any]:
    """Follow an upload to its result: the bytes are the same, and so are the digests said of them."""
    assert (done.code, done.status) == (0, 202), done
    job = succeeded(service.url, done.json["id"])
    assert done.header("location") == f"/jobs/{job['id']}"
    assert len(done.json["manage_key"]) == 26
    assert job["source"]["size_bytes"] == len(data)
    assert job["source"]["sha256"] == sha256(data)
    assert original(service, job["id"]).body == data
    result = ask(f"{service.url}/jobs/{job['id']}/result")
    assert result.sha256 == job["result"]["sha256"]
    return job


ONE_FILE = [
    "curl -F file=@big.log http://H/uploads",
    "curl -T big.log http://H/",
    "curl -T big.log http://H/uploads/",
    "curl -T - http://H/ < big.log",
    "curl -T - http://H/uploads < big.log",
    "curl -H 'Content-Type: application/octet-stream' --data-binary @big.log 'http://H/uploads?filename=big.log'",
    "curl -T big.log -H 'Expect:' http://H/",
    "curl -T big.log -H 'Transfer-Encoding: chunked' http://H/",
    "curl -F 'file=<big.log' http://H/uploads",
    "curl -F 'file=@big.log;encoder=base64' http://H/uploads",
    "curl -F 'file=@big.log;encoder=quoted-printable' http://H/uploads",
    "curl -X POST -T big.log 'http://H/uploads?filename=big.log'",
]


@pytest.mark.parametrize("line", ONE_FILE)
def test_one_file_comes_back_as_it_went_in(service: ServiceProcess, folder: Path, line: str) -> None:
    done = shell(line.replace("http://H", service.url), folder=folder)

    job = came_back(service, done, (folder / "big.log").read_bytes())
    assert job["name"] == ("upload" if "< big.log" in line or "<big.log" in line else "big.log")
    assert (job["format"], job["result"]["format"]) == ("auto", "zstd")
    assert job["result"]["size_bytes"] < 1_500_000


@pytest.mark.parametrize("name", ["empty", "byte"])
@pytest.mark.parametrize("line", [line for line in ONE_FILE if "Transfer-Encoding" not in line])
def test_the_smallest_files_come_back_too(service: ServiceProcess, folder: Path, line: str, name: str) -> None:
    done = shell(line.replace("http://H", service.url).replace("big.log", name), folder=folder)

    job = came_back(service, done, (folder / name).read_bytes())
    assert job["result"]["stored_as_is"] is True


@pytest.mark.parametrize(
    "options", ["-F format=gzip -F level=small -F file=@a", "-F file=@a -F format=gzip -F level=small"]
)
def test_options_stand_before_or_after_the_file(service: ServiceProcess, folder: Path, options: str) -> None:
    done = shell(f"curl {options} {service.url}/uploads", folder=folder)

    job = came_back(service, done, (folder / "a").read_bytes())
    assert (job["format"], job["level"]) == ("gzip", "small")
    assert job["result"]["name"] == "a.gz"


@pytest.mark.parametrize("codec", ["zstd", "gzip", "brotli", "xz"])
def test_options_in_the_query_are_the_same_as_fields(service: ServiceProcess, folder: Path, codec: str) -> None:
    done = shell(f"curl -T a '{service.url}/?format={codec}&level=fast&expires=1h'", folder=folder)

    job = came_back(service, done, (folder / "a").read_bytes())
    assert (job["format"], job["level"], job["result"]["format"]) == (codec, "fast", codec)


def test_several_files_become_one_archive_job(service: ServiceProcess, folder: Path) -> None:
    line = f"curl -F file=@a -F file=@b -F 'file=@dir/one.txt;filename=dir/one.txt' {service.url}/uploads"
    done = shell(line, folder=folder)

    assert done.status == 202, done
    job = succeeded(service.url, done.json["id"])
    assert (job["name"], job["source"]["files"], job["result"]["format"]) == ("3 files", 3, "zip")
    result = ask(f"{service.url}/jobs/{job['id']}/result")
    with zipfile.ZipFile(io.BytesIO(result.body)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert members == {name: (folder / name).read_bytes() for name in ("a", "b", "dir/one.txt")}
    assert ask(f"{service.url}/jobs/{job['id']}/original").status == 409


def test_a_tar_goes_in_through_a_pipe(service: ServiceProcess, folder: Path) -> None:
    done = shell(f"tar c dir | curl -T - {service.url}/uploads/dir.tar", folder=folder)

    assert done.status == 202, done
    job = succeeded(service.url, done.json["id"])
    assert job["name"] == "dir.tar"
    with tarfile.open(fileobj=io.BytesIO(original(service, job["id"]).body)) as archive:
        one = archive.extractfile("dir/one.txt")
        assert one is not None
        assert one.read() == (folder / "dir" / "one.txt").read_bytes()


def test_a_shell_keeps_the_url_in_a_variable(service: ServiceProcess, folder: Path) -> None:
    line = f'url=$(curl -H \'Accept: text/plain\' -T a {service.url}/) && echo "$url" && curl "$url?wait=20"'
    done = shell(line, folder=folder)

    url, _, document = done.body.decode().partition("\n")
    assert re.fullmatch(rf"{service.url}/jobs/[a-z2-7]{{26}}", url)
    assert '"status": "succeeded"' in document


@pytest.mark.parametrize("flags", ["-d @a", "--data-binary @a", "--data-urlencode a@a", "-X PUT -d @a"])
def test_what_damages_files_is_refused_with_the_line_to_use(service: ServiceProcess, folder: Path, flags: str) -> None:
    before = service.statuses()

    done = shell(f"curl {flags} {service.url}/uploads", folder=folder)

    assert (done.code, done.status, done.json["code"]) == (0, 415, "urlencoded")
    assert "curl -T FILE URL" in done.json["detail"]
    assert service.statuses() == before


BROWSER = ("-H", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


def test_a_form_without_javascript_is_answered_with_the_job_page(service: ServiceProcess, folder: Path) -> None:
    front = curl(*BROWSER, f"{service.url}/", folder=folder)
    hidden = re.search(rb'name="idempotency_key" value="([^"]+)"', front.body)
    assert hidden is not None
    key = html.unescape(hidden[1].decode())
    fields = (
        "-F",
        f"idempotency_key={key}",
        "-F",
        "file=@a",
        "-F",
        "format=auto",
        "-F",
        "level=fast",
        "-F",
        "expires=",
    )

    done = curl(*BROWSER, *fields, f"{service.url}/uploads", folder=folder)

    location = done.header("location")
    assert (done.status, done.header("content-type")) == (202, "text/html; charset=utf-8")
    assert f'<meta http-equiv="refresh" content="0;url={location}">'.encode() in done.body
    job = succeeded(service.url, str(location).removeprefix("/jobs/"))
    assert original(service, job["id"]).body == (folder / "a").read_bytes()
    page = curl(*BROWSER, f"{service.url}{location}", folder=folder)
    assert b"<bdi>a</bdi>" in page.body
    again = curl(*BROWSER, *fields, f"{service.url}/uploads", folder=folder)
    assert (again.status, again.header("location")) == (202, location)


def test_a_form_with_an_empty_file_input_is_refused(service: ServiceProcess, folder: Path) -> None:
    done = curl("-F", "file=@empty;filename=", f"{service.url}/uploads", folder=folder)

    assert (done.status, done.json["code"]) == (422, "file_missing")


def test_names_that_are_routes_are_not_taken_as_files(service: ServiceProcess, folder: Path) -> None:
    done = shell(f"curl -T a {service.url}/limits", folder=folder)

    assert (done.status, done.json["code"]) == (405, "method_not_allowed")
    job = upload(service.url, b"x", "limits")
    assert job_at(service.url, job["id"])["name"] == "limits"
