"""Downloads: one stored copy, every form out, each with a name, a digest and a tag that are true of it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import brotli
import pytest
import zstandard

from service.codecs.codec import CODECS, Format
from service.values.file_names import clean_name
from service.web.http.digests import expected_digests
from service.web.names.filenames import attachment
from tests.service.payloads import noise, text
from tests.service.web.in_process import PRINTABLE, InProcess, key_of
from tests.service.work.faulty import FakeCodec

CONTENT = text(300_000)
NOISE = noise(100_000)


def unzstd(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


UNDO: dict[str, Callable[[bytes], bytes]] = {"zstd": unzstd, "gzip": gzip.decompress, "br": brotli.decompress}


def url_of(receipt: dict[str, Any], what: str) -> str:
    return f"/jobs/{receipt['id']}/{what}"


def digest_in(answer: Any) -> str | None:
    return expected_digests(answer.headers).get("sha256")


def raw(app: InProcess, url: str, **headers: str) -> tuple[Any, bytes]:
    """Return an answer and its body as it was sent, no coding undone."""
    with app.client.stream("GET", url, headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


def archive_of(app: InProcess) -> dict[str, Any]:
    files = [("file", ("a.txt", b"one")), ("file", ("b.txt", b"two"))]
    receipt: dict[str, Any] = app.client.post("/uploads", files=files).json()
    app.bench.run()
    return receipt


# The result.


def test_the_result_comes_as_stored_with_its_name_digest_and_tag(app: InProcess) -> None:
    receipt = app.done(CONTENT, "报告 1.log")

    answer = app.client.get(url_of(receipt, "result"))

    result = app.status(receipt)["result"]
    assert unzstd(answer.content) == CONTENT
    assert len(answer.content) == result["size_bytes"] == int(answer.headers["content-length"])
    assert sha256(answer.content).hexdigest() == result["sha256"] == digest_in(answer)
    assert answer.headers["content-type"] == "application/zstd"
    assert answer.headers["etag"] == f'"{result["sha256"]}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert "content-encoding" not in answer.headers
    # The first name is raw UTF-8 on the wire; see ``in_ascii``.
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"%E6%8A%A5%E5%91%8A 1.log.zst\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A%201.log.zst"
    )


def test_a_result_comes_in_ranges_that_make_the_whole(app: InProcess) -> None:
    receipt = app.done(CONTENT)
    url = url_of(receipt, "result")
    whole = app.client.get(url)
    size = len(whole.content)
    half = size // 2

    first = app.client.get(url, headers={"Range": f"bytes=0-{half - 1}"})
    second = app.client.get(url, headers={"Range": f"bytes={half}-", "If-Range": first.headers["etag"]})

    assert [first.status_code, second.status_code] == [206, 206]
    assert first.headers["content-range"] == f"bytes 0-{half - 1}/{size}"
    assert second.headers["content-range"] == f"bytes {half}-{size - 1}/{size}"
    assert first.content + second.content == whole.content
    assert len(first.content) == int(first.headers["content-length"])
    # The digest is of the whole representation, whichever part is sent (RFC 9530, 3.1).
    assert digest_in(first) == digest_in(whole)


def test_a_range_of_another_version_gives_the_whole(app: InProcess) -> None:
    receipt = app.done(CONTENT)

    answer = app.client.get(url_of(receipt, "result"), headers={"Range": "bytes=5-", "If-Range": '"older"'})

    assert answer.status_code == 200
    assert unzstd(answer.content) == CONTENT


def test_a_range_outside_the_file_is_refused_with_its_size(app: InProcess) -> None:
    receipt = app.done(CONTENT)
    size = app.status(receipt)["result"]["size_bytes"]
    url = url_of(receipt, "result")

    app.refusal("GET", url, 416, "range_not_satisfiable", headers={"Range": f"bytes={size}-"})
    answer = app.client.get(url, headers={"Range": f"bytes={size}-"})
    assert answer.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize("what", ["result", "result?format=gzip", "original"])
def test_what_the_client_has_is_not_sent_again(app: InProcess, what: str) -> None:
    url = url_of(app.done(CONTENT), what)
    first = app.client.get(url)

    again = app.client.get(url, headers={"If-None-Match": first.headers["etag"], "Range": "bytes=0-1"})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers.get("vary") == first.headers.get("vary")


@pytest.mark.parametrize("what", ["result", "result?format=gzip", "original"])
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1-2"}, {"Range": "bytes=9999999-"}])
def test_head_says_what_get_would_send_and_knows_no_ranges(app: InProcess, what: str, headers: dict[str, str]) -> None:
    url = url_of(app.done(CONTENT), what)

    get, head = app.client.get(url), app.client.head(url, headers=headers)

    assert (head.status_code, head.content) == (200, b"")
    ours = set(get.headers) - {"x-request-id"}
    assert {name: head.headers.get(name) for name in ours} == {name: get.headers[name] for name in ours}


@pytest.mark.parametrize(
    ("format_name", "name", "undo"), [("zstd", "a.txt.gz", unzstd), ("brotli", "a.txt.gz", brotli.decompress)]
)
def test_a_result_is_transcoded_to_gzip_while_it_is_sent(
    app: InProcess, format_name: str, name: str, undo: Callable[[bytes], bytes]
) -> None:
    receipt = app.done(CONTENT, format=format_name)
    stored = app.client.get(url_of(receipt, "result"))
    assert undo(stored.content) == CONTENT

    answer = app.client.get(url_of(receipt, "result"), params={"format": "gzip"}, headers={"Range": "bytes=0-1"})

    # Its length is not known before it is made, so there is neither one nor a range.
    assert answer.status_code == 200
    assert gzip.decompress(answer.content) == CONTENT
    assert "content-length" not in answer.headers
    assert answer.headers["accept-ranges"] == "none"
    assert answer.headers["content-type"] == "application/gzip"
    assert f'filename="{name}"' in answer.headers["content-disposition"]
    assert answer.headers["etag"] != stored.headers["etag"]


def test_a_tar_zst_is_transcoded_to_a_tar_gz(app: InProcess) -> None:
    files = [("file", ("a.txt", CONTENT)), ("file", ("b.txt", b"two"))]
    receipt = app.client.post("/uploads", files=files, data={"format": "tar.zst"}).json()
    app.bench.run()

    answer = app.client.get(url_of(receipt, "result"), params={"format": "gzip"})

    assert CONTENT in gzip.decompress(answer.content)
    assert '.tar.gz"' in answer.headers["content-disposition"]


def test_what_was_kept_as_it_came_is_compressed_while_it_is_sent(app: InProcess) -> None:
    receipt = app.done(NOISE, "a.bin")
    assert app.status(receipt)["result"]["stored_as_is"]

    stored = app.client.get(url_of(receipt, "result"))
    answer = app.client.get(url_of(receipt, "result"), params={"format": "gzip"})

    assert stored.content == NOISE
    assert gzip.decompress(answer.content) == NOISE
    assert 'filename="a.bin.gz"' in answer.headers["content-disposition"]


def test_a_gzip_result_asked_for_as_gzip_comes_as_stored(app: InProcess) -> None:
    receipt = app.done(CONTENT, format="gzip")

    answer = app.client.get(url_of(receipt, "result"), params={"format": "gzip"})

    assert digest_in(answer) == app.status(receipt)["result"]["sha256"]


def test_a_zip_is_given_as_stored_only(app: InProcess) -> None:
    receipt = archive_of(app)

    app.refusal("GET", url_of(receipt, "result"), 409, "not_transcodable", params={"format": "gzip"})
    assert app.client.get(url_of(receipt, "result")).content[:2] == b"PK"


@pytest.mark.parametrize("name", ["zstd", "xz", "GZIP", "x" * 5000])
def test_another_format_of_the_result_is_refused(app: InProcess, name: str) -> None:
    document = app.refusal("GET", url_of(app.done(), "result"), 422, "bad_option", params={"format": name})

    assert (document["option"], document["allowed"]) == ("format", ["gzip"])
    assert len(document["detail"]) < 200


def test_there_is_no_result_before_the_job_has_ended(app: InProcess) -> None:
    receipt = app.put()

    document = app.refusal("GET", url_of(receipt, "result"), 409, "not_ready")
    assert document["job_status"] == "queued"
    assert app.client.get(url_of(receipt, "result")).headers["retry-after"] == "1"
    app.bench.claim()
    assert app.refusal("GET", url_of(receipt, "result"), 409, "not_ready")["job_status"] == "running"


def test_there_is_no_result_of_a_cancelled_job(app: InProcess) -> None:
    receipt = app.put()
    app.client.post(url_of(receipt, "cancel"), headers=key_of(receipt))

    assert app.refusal("GET", url_of(receipt, "result"), 409, "no_result")["job_status"] == "cancelled"


# The original.


def test_the_original_comes_in_ranges_as_long_as_it_is_stored(app: InProcess) -> None:
    receipt = app.put(CONTENT)
    url = url_of(receipt, "original")

    whole = app.client.get(url)
    part = app.client.get(url, headers={"Range": "bytes=100-199", "If-Range": whole.headers["etag"]})

    assert whole.content == CONTENT
    assert (part.status_code, part.content) == (206, CONTENT[100:200])
    assert whole.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("format_name", "accepted", "coding"),
    [
        ("zstd", "gzip, deflate, br, zstd", "zstd"),
        ("zstd", "gzip, deflate, br", None),
        ("zstd", "zstd;q=0, *", None),
        ("gzip", "gzip", "gzip"),
        ("gzip", None, None),
        ("brotli", "gzip, br", "br"),
        ("brotli", "identity", None),
        ("zstd", "identity;q=1, zstd;q=0.5", None),
        ("zstd", "zstd;q=0.5", "zstd"),
        ("gzip", "x-gzip", "gzip"),
        ("xz", "gzip, xz, *", None),
    ],
)
def test_the_original_comes_encoded_for_who_can_undo_it_and_decoded_for_others(
    app: InProcess, format_name: str, accepted: str | None, coding: str | None
) -> None:
    receipt = app.done(CONTENT, format=format_name)
    headers = {} if accepted is None else {"Accept-Encoding": accepted}

    answer, body = raw(app, url_of(receipt, "original"), **headers, Range="bytes=0-9")

    # No ranges: the bytes are not stored as they are sent.
    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
    assert answer.headers.get("content-encoding") == coding
    assert (UNDO[coding](body) if coding else body) == CONTENT
    assert len(body) == int(answer.headers["content-length"])
    assert digest_in(answer) == sha256(body).hexdigest()
    assert answer.headers["vary"] == "Accept-Encoding"
    assert 'filename="a.txt"' in answer.headers["content-disposition"]


class SeveralMembers(FakeCodec):
    """Gzip as earlier versions stored it: a member for every chunk, and no content coding."""

    def __init__(self) -> None:
        super().__init__(gzip.compress, of="gzip")
        self.decompress = CODECS[Format.GZIP].decompress  # type: ignore[method-assign]


def test_several_members_of_an_earlier_version_are_never_sent_as_a_coding(app: InProcess) -> None:
    receipt = app.put(CONTENT, format="gzip")
    app.bench.run(codecs={Format.GZIP: SeveralMembers()})

    answer, body = raw(app, url_of(receipt, "original"), **{"Accept-Encoding": "gzip"})
    stored = app.client.get(url_of(receipt, "result"))

    assert (answer.headers.get("content-encoding"), body) == (None, CONTENT)
    assert gzip.decompress(stored.content) == CONTENT
    assert zlib.decompressobj(31).decompress(stored.content) != CONTENT


def test_gzip_kept_as_it_came_is_sent_as_it_came(app: InProcess) -> None:
    packed = gzip.compress(NOISE)
    receipt = app.done(packed, "a.txt.gz")
    assert app.status(receipt)["result"]["stored_as_is"]

    for what in ("original", "result"):
        answer, body = raw(app, url_of(receipt, what), **{"Accept-Encoding": "gzip"})

        assert (answer.headers.get("content-encoding"), body) == (None, packed)


def test_each_coding_of_the_original_has_its_own_tag(app: InProcess) -> None:
    url = url_of(app.done(CONTENT), "original")
    encoded, _ = raw(app, url, **{"Accept-Encoding": "zstd"})
    decoded, _ = raw(app, url)

    assert encoded.headers["etag"] != decoded.headers["etag"]
    crossed = app.client.get(url, headers={"If-None-Match": encoded.headers["etag"]})
    assert (crossed.status_code, crossed.content) == (200, CONTENT)


def test_the_original_kept_as_it_came_still_has_ranges(app: InProcess) -> None:
    receipt = app.done(NOISE)

    part = app.client.get(url_of(receipt, "original"), headers={"Range": "bytes=-100"})

    assert (part.status_code, part.content) == (206, NOISE[-100:])


def test_an_archive_has_no_single_original(app: InProcess) -> None:
    app.refusal("GET", url_of(archive_of(app), "original"), 409, "no_original")


@pytest.mark.parametrize("content", [b"", b"x"])
def test_the_smallest_files_come_back(app: InProcess, content: bytes) -> None:
    receipt = app.done(content, format="gzip")

    assert gzip.decompress(app.client.get(url_of(receipt, "result")).content) == content
    answer, body = raw(app, url_of(receipt, "original"))
    assert (body, answer.headers["content-length"]) == (content, str(len(content)))


# Nothing uploaded runs in a browser.


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.js", "text/javascript"), ("a.xml", "text/xml")],
)
@pytest.mark.parametrize("is_kept", [True, False])
def test_what_could_run_in_a_browser_is_sent_as_a_file_to_save(
    app: InProcess, name: str, media_type: str, is_kept: bool
) -> None:
    content = b"<script>alert(1)</script>" + (NOISE if is_kept else CONTENT)
    answer = app.client.put(f"/uploads/{name}", content=content, headers={"Content-Type": media_type})
    receipt = answer.json()
    before = app.client.get(url_of(receipt, "original"), headers={"Accept": "text/html"})
    app.bench.run()
    assert app.status(receipt)["source"]["media_type"] == media_type

    urls = [url_of(receipt, what) for what in ("result", "result?format=gzip", "original")]
    after = [app.client.get(url, headers={"Accept": "text/html"}) for url in urls]

    for download in [before, *after]:
        assert download.headers["content-disposition"].startswith("attachment; ")
        assert download.headers["content-type"].split(";")[0] in (
            "application/octet-stream",
            "application/zstd",
            "application/gzip",
        )
        assert download.headers["x-content-type-options"] == "nosniff"
        assert download.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert download.headers["cross-origin-resource-policy"] == "same-origin"
        # What a cache or proxy changed on the way would not fit its digest.
        assert download.headers["cache-control"] == "private, no-cache, no-transform"


@pytest.mark.parametrize(
    "name",
    [
        "报告.pdf",
        "🎉.txt",
        "two words.txt",
        "it's.txt",
        "50%.txt",
        "semi;colon.txt",
        "a=b&c.txt",
        "x" * 4000 + ".txt",
        "~",
    ],
)
def test_a_download_has_the_clean_name_of_its_upload(app: InProcess, name: str) -> None:
    answer = app.client.put("/uploads", params={"filename": name}, content=b"hello " * 100)
    receipt = answer.json()
    assert receipt["name"] == clean_name(name)
    app.bench.run()

    download = app.client.get(url_of(receipt, "original"))

    header = download.headers["content-disposition"]
    assert header == quote(attachment(clean_name(name)), safe=PRINTABLE)
