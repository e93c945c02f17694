"""One stored copy, every form out: resumed, in part, decoded by curl or by the service, transcoded, only its head."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.codecs.codec import CODECS
from service.codecs.terms import Format
from tests.acceptance.asking import ask, sha256, succeeded, upload
from tests.acceptance.curl import curl
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import noise, text

CODEC_NAMES = ("zstd", "gzip", "brotli", "xz")


@dataclass(frozen=True)
class Kept:
    """A job that has succeeded, and the bytes it was made of."""

    job: dict[str, Any]
    data: bytes
    url: str


@pytest.fixture(scope="module")
def kept(service: ServiceProcess) -> dict[str, Kept]:
    """A job in each format, and one that was kept as it came."""
    found = {}
    for name in (*CODEC_NAMES, "as it came"):
        data = noise(400_000) if name == "as it came" else text(2_500_000, seed=7)
        job = upload(service.url, data, "big.log", options="" if name == "as it came" else f"format={name}")
        found[name] = Kept(succeeded(service.url, job["id"]), data, f"{service.url}/jobs/{job['id']}")
    return found


def decoded(kept: Kept, body: bytes) -> bytes:
    name = kept.job["result"]["format"]
    return body if kept.job["result"]["stored_as_is"] else b"".join(CODECS[Format(name)].decompress([body]))


@pytest.mark.parametrize("name", [*CODEC_NAMES, "as it came"])
def test_the_result_holds_exactly_the_upload(kept: dict[str, Kept], name: str) -> None:
    answer = ask(f"{kept[name].url}/result")

    assert decoded(kept[name], answer.body) == kept[name].data
    assert answer.sha256 == kept[name].job["result"]["sha256"] == answer.headers["ETag"].strip('"')
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", [*CODEC_NAMES, "as it came"])
@pytest.mark.parametrize("flags", [(), ("--compressed",), ("-H", "Accept-Encoding: zstd, br, gzip;q=0")])
def test_the_original_comes_back_to_every_client(
    kept: dict[str, Kept], tmp_path: Path, name: str, flags: tuple[str, ...]
) -> None:
    done = curl(*flags, "-o", "back", f"{kept[name].url}/original", folder=tmp_path)

    coding = done.header("content-encoding")
    body = (tmp_path / "back").read_bytes()
    assert (done.code, done.status, done.header("vary")) == (0, 200, "Accept-Encoding")
    if "--compressed" not in flags and coding:
        body = decoded(kept[name], body)
    assert body == kept[name].data
    if "--compressed" in flags and name in ("zstd", "brotli"):
        assert coding in ("zstd", "br")


@pytest.mark.parametrize("name", [*CODEC_NAMES, "as it came"])
def test_a_broken_download_goes_on_where_it_ended(kept: dict[str, Kept], tmp_path: Path, name: str) -> None:
    whole = ask(f"{kept[name].url}/result").body
    (tmp_path / "part").write_bytes(whole[: len(whole) // 3])

    done = curl("-C", "-", "-o", "part", f"{kept[name].url}/result", folder=tmp_path)

    assert (done.code, done.status) == (0, 206)
    assert (tmp_path / "part").read_bytes() == whole


@pytest.mark.parametrize("name", [*CODEC_NAMES, "as it came"])
def test_curl_is_told_where_an_original_cannot_go_on(kept: dict[str, Kept], tmp_path: Path, name: str) -> None:
    begun = kept[name].data[:1000]
    (tmp_path / "part").write_bytes(begun)

    done = curl("-C", "-", "-o", "part", f"{kept[name].url}/original", folder=tmp_path)

    if name == "as it came":
        assert (done.code, done.status) == (0, 206)
        assert (tmp_path / "part").read_bytes() == kept[name].data
    else:
        assert (done.code, done.status, done.header("accept-ranges")) == (33, 200, "none")
        assert "resume" in done.complaint
        assert (tmp_path / "part").read_bytes() == begun, "nothing was spoilt"


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("0-9", 206, slice(0, 10)),
        ("-10", 206, slice(-10, None)),
        ("100-", 206, slice(100, None)),
        ("100-999999999", 206, slice(100, None)),
        ("0-0,5-9", 200, slice(None)),
        ("9-5", 200, slice(None)),
        ("999999999-", 416, None),
    ],
)
def test_ranges_of_the_result(
    kept: dict[str, Kept], tmp_path: Path, wanted: str, status: int, part: slice | None
) -> None:
    whole = ask(f"{kept['gzip'].url}/result").body

    done = curl("-H", f"Range: bytes={wanted}", f"{kept['gzip'].url}/result", folder=tmp_path)

    assert done.status == status
    if part is None:
        assert done.header("content-range") == f"bytes */{len(whole)}"
        assert done.json["code"] == "range_not_satisfiable"
    else:
        assert done.body == whole[part]


@pytest.mark.parametrize("name", [*CODEC_NAMES, "as it came"])
def test_any_result_can_be_had_as_gzip(kept: dict[str, Kept], tmp_path: Path, name: str) -> None:
    done = curl("-OJ", f"{kept[name].url}/result?format=gzip", folder=tmp_path)

    assert (done.code, done.status) == (0, 200)
    assert gzip.decompress((tmp_path / "big.log.gz").read_bytes()) == kept[name].data


@pytest.mark.parametrize("name", [*CODEC_NAMES, "as it came"])
@pytest.mark.parametrize("what", ["result", "result?format=gzip", "original"])
def test_the_head_is_that_of_the_download_without_its_body(
    kept: dict[str, Kept], tmp_path: Path, name: str, what: str
) -> None:
    whole = ask(f"{kept[name].url}/{what}")

    done = curl("-I", f"{kept[name].url}/{what}", folder=tmp_path)

    assert (done.code, done.status) == (0, 200)
    for header in ("content-length", "etag", "content-type", "repr-digest", "content-disposition", "accept-ranges"):
        said = whole.headers[header]
        assert done.header(header) == (said and said.encode("latin-1").decode()), header


def test_a_download_the_client_has_already_is_not_sent_again(kept: dict[str, Kept], tmp_path: Path) -> None:
    for what in ("result", "original"):
        etag = ask(f"{kept['zstd'].url}/{what}").headers["ETag"]
        done = curl("-H", f"If-None-Match: {etag}", f"{kept['zstd'].url}/{what}", folder=tmp_path)
        assert (done.status, done.body) == (304, b"")


def test_a_resume_of_another_version_starts_over(kept: dict[str, Kept], tmp_path: Path) -> None:
    done = curl("-r", "5-", "-H", 'If-Range: "another"', f"{kept['gzip'].url}/result", folder=tmp_path)

    assert done.status == 200
    assert sha256(done.body) == kept["gzip"].job["result"]["sha256"]


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "script.js", "data.xml"])
def test_nothing_uploaded_runs_in_a_browser(service: ServiceProcess, name: str) -> None:
    markup = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    job = upload(service.url, markup, name, Content_Type="image/svg+xml")
    succeeded(service.url, job["id"])

    for what in ("result", "original"):
        headers = ask(f"{service.url}/jobs/{job['id']}/{what}", Accept="text/html").headers
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["Content-Disposition"].startswith("attachment;")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("sandbox;")


@pytest.mark.parametrize(("what", "options"), [("result", ()), ("original", ("-H", "Accept-Encoding: br, zstd, gzip"))])
@pytest.mark.parametrize("name", CODEC_NAMES)
def test_a_damaged_result_is_never_whole(
    service: ServiceProcess, tmp_path: Path, name: str, what: str, options: tuple[str, ...]
) -> None:
    before = service.stored()
    job = upload(service.url, noise(1_200_000), options=f"format={name}&level=fast")
    url = f"{service.url}/jobs/{succeeded(service.url, job['id'])['id']}/{what}"
    whole = curl(*options, url, folder=tmp_path)
    assert (whole.code, whole.status) == (0, 200)
    [path] = [service.data_dir / "files" / key for key in service.stored() - before if key.startswith("r-")]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    answer = curl(*options, url, folder=tmp_path)

    assert answer.code != 0, "curl knows that it is not whole"
    assert len(answer.body) < len(whole.body)
