"""The doors: what comes in by each, what is refused, and that nothing is left of what is refused."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import chain, repeat
from typing import Any

import pytest

from service.intake.dispatch import NoDispatcher
from service.intake.receipt import shown_name
from service.intake.sink import SMALL_BYTES
from service.web.documented.schemas import AcceptedJob
from storage.errors import StorageFailed, StorageFull
from tests.service.payloads import noise
from tests.service.web.in_process import ADMIN, PAGE, TEXT, InProcess, key_of
from tests.storage.job_builder import everything

CONTENT = b"hello " * 1000


def digest_of(content: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(content).digest()).decode()}:"


def original(app: InProcess, answer: Any) -> bytes:
    content: bytes = app.client.get(f"{answer.headers['location']}/original").content
    return content


def sources(app: InProcess) -> list[tuple[str, int]]:
    return [(row["name"], row["size_bytes"]) for row in everything(app.parts.database)["sources"]]


def assert_nothing_is_left(app: InProcess) -> None:
    assert everything(app.parts.database)["jobs"] == []
    assert app.bench.stored_keys() == set()
    assert app.bench.parts() == []
    assert app.parts.admission._reserved_bytes == 0


# Doors.


@pytest.mark.parametrize(
    ("method", "url", "name"),
    [
        ("PUT", "/a%20b.txt", "a b.txt"),
        ("PUT", "/uploads/a.txt", "a.txt"),
        ("PUT", "/uploads/some/folder/a.txt", "a.txt"),
        ("PUT", "/uploads/a%2Fb.txt", "b.txt"),
        ("PUT", "/uploads/jobs", "jobs"),
        ("PUT", "/", "upload"),
        ("PUT", "/uploads", "upload"),
        ("PUT", "/uploads/", "upload"),
        ("PUT", "/?filename=q.txt", "q.txt"),
        ("POST", "/uploads?filename=%E4%B8%AD.txt", "中.txt"),
        ("POST", "/uploads", "upload"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES + 1])
def test_a_raw_body_comes_in_by_every_door(app: InProcess, method: str, url: str, name: str, size: int) -> None:
    content = noise(size)

    answer = app.client.request(method, url, content=content)

    assert answer.status_code == 202, answer.text
    receipt = AcceptedJob.model_validate(answer.json())
    assert (receipt.name, receipt.source.size_bytes) == (name, size)
    assert answer.headers["location"] == f"/jobs/{receipt.id}"
    assert answer.headers["cache-control"] == "no-store"
    assert original(app, answer) == content


def test_a_body_without_a_length_comes_in(app: InProcess) -> None:
    def chunks() -> Iterator[bytes]:
        yield from (CONTENT, b"", CONTENT)

    answer = app.client.put("/a.txt", content=chunks())

    assert original(app, answer) == CONTENT * 2


def test_the_name_may_come_in_a_header(app: InProcess) -> None:
    headers = {"Content-Disposition": "attachment; filename*=UTF-8''caf%C3%A9.txt"}

    assert app.client.post("/uploads", content=b"x", headers=headers).json()["name"] == "café.txt"
    assert app.client.put("/p.txt", content=b"x", headers=headers).json()["name"] == "p.txt"
    assert app.client.put("/p.txt?filename=q.txt", content=b"x", headers=headers).json()["name"] == "q.txt"


def test_a_receipt_has_three_forms(app: InProcess) -> None:
    json_, text, page = (app.client.put("/a.txt", content=b"x", headers=headers) for headers in ({}, TEXT, PAGE))

    assert json_.json()["manage_key"]
    assert text.text == f"http://testserver{text.headers['location']}\n"
    assert page.headers["content-type"].startswith("text/html")
    assert [answer.status_code for answer in (json_, text, page)] == [202] * 3


@pytest.mark.parametrize("wanted", [{}, TEXT, PAGE], ids=["json", "text", "page"])
@pytest.mark.parametrize("door", ["form", "raw"])
def test_every_form_of_a_receipt_brings_the_key_in_a_header(app: InProcess, wanted: dict[str, str], door: str) -> None:
    def sent() -> Any:
        headers = wanted | {"Idempotency-Key": "key-1"}
        if door == "form":
            return app.client.post("/uploads", files={"file": ("a.txt", b"x")}, headers=headers)
        return app.client.put("/a.txt", content=b"x", headers=headers)

    first, repeated = sent(), sent()

    job_id, key = first.headers["vacpack-job-id"], first.headers["vacpack-manage-key"]
    assert first.headers["location"] == f"/jobs/{job_id}"
    assert first.headers["cache-control"] == "no-store"
    assert (repeated.status_code, repeated.headers["vacpack-manage-key"]) == (202, key)
    assert repeated.headers["vacpack-job-id"] == job_id
    status = app.client.get(f"/jobs/{job_id}")
    assert not {"vacpack-job-id", "vacpack-manage-key"} & set(status.headers)
    cancelled = app.client.post(f"/jobs/{job_id}/cancel", headers={"Authorization": f"Bearer {key}"})
    assert cancelled.status_code == 200
    assert "vacpack-manage-key" not in cancelled.headers


def test_the_header_and_the_document_give_the_same_key(app: InProcess) -> None:
    answer = app.client.put("/a.txt", content=b"x")

    assert answer.headers["vacpack-manage-key"] == answer.json()["manage_key"]
    assert answer.headers["vacpack-job-id"] == answer.json()["id"]


def test_a_refused_upload_brings_no_key(app: InProcess) -> None:
    refused = app.client.put("/a.txt?format=none", content=b"x")

    assert refused.status_code == 422
    assert not {"vacpack-job-id", "vacpack-manage-key"} & set(refused.headers)


def test_addresses_are_those_that_people_use(start: Callable[..., InProcess]) -> None:
    app = start(public_url="https://up.example/")

    text = app.client.put("/a.txt", content=b"x", headers=TEXT)

    assert text.text == f"https://up.example{text.headers['location']}\n"
    assert app.put()["links"]["self"].startswith("https://up.example/jobs/")
    assert "Secure" in app.client.put("/a.txt", content=b"x", headers=PAGE).headers["set-cookie"]


@pytest.mark.parametrize("name", ["jobs", "docs", "limits", "livez", "readyz", "metrics", "openapi.json", "static"])
def test_a_name_that_is_an_address_of_the_service_is_no_file(app: InProcess, name: str) -> None:
    app.refusal("PUT", f"/{name}", 405, "method_not_allowed", content=b"x")
    assert "PUT" not in app.client.put(f"/{name}", content=b"x").headers["allow"]
    assert_nothing_is_left(app)


def test_the_upload_wakes_whoever_works(start: Callable[..., InProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    app = start()
    wakes: list[int] = []
    monkeypatch.setattr(NoDispatcher, "wake", lambda _: wakes.append(len(sources(app))))

    receipt = app.put()
    assert wakes == [1]  # The row was there.
    app.client.post(f"/jobs/{receipt['id']}/cancel", headers=key_of(receipt))
    app.client.post(f"/jobs/{receipt['id']}/retry", headers=key_of(receipt))
    assert len(wakes) == 3


# Forms.


def test_a_form_with_one_file_keeps_its_name_type_and_options(app: InProcess) -> None:
    answer = app.client.post(
        "/uploads?format=zstd&level=fast",
        files={"file": ("报告.log", CONTENT, "text/plain; charset=utf-8")},
        data={"format": "gzip", "level": "", "expires": "2h"},
    )

    receipt = answer.json()
    # A field wins over the query; an empty one says nothing.
    assert (receipt["name"], receipt["format"], receipt["level"]) == ("报告.log", "gzip", "fast")
    assert receipt["source"]["media_type"] == "text/plain"
    assert original(app, answer) == CONTENT
    assert everything(app.parts.database)["jobs"][0]["ttl_milliseconds"] == 7_200_000


@pytest.mark.parametrize("sizes", [[1, 2], [0, SMALL_BYTES + 1, 3], [SMALL_BYTES + 1] * 2])
def test_a_form_with_several_files_is_one_job(app: InProcess, sizes: list[int]) -> None:
    files = [("file", (f"d/{number}.bin", noise(size, number))) for number, size in enumerate(sizes)]

    receipt = app.client.post("/uploads", files=files).json()

    assert (receipt["name"], receipt["source"]["files"]) == ("d", len(sizes))
    assert sources(app) == [(f"d/{number}.bin", size) for number, size in enumerate(sizes)]
    assert len(app.bench.stored_keys()) == len(sizes)
    assert app.bench.run()["status"] == "succeeded"


def test_a_file_input_left_empty_is_no_file(app: InProcess) -> None:
    # As browsers send it.
    empty = b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n'
    full = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    taken = app.client.post("/uploads", content=empty + full + b"--b--\r\n", headers=headers)
    assert taken.json()["source"]["files"] == 1
    app.refusal("POST", "/uploads", 422, "file_missing", content=empty + b"--b--\r\n", headers=headers)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["a.txt"], "a.txt"),
        (["folder/a.txt"], "a.txt"),
        (["folder/a", "folder/b/c"], "folder"),
        (["folder/a", "b"], "2 files"),
        (["a", "b", "c"], "3 files"),
        (["x/a", "y/a"], "2 files"),
    ],
)
def test_a_job_is_named_for_its_file_its_folder_or_their_number(names: list[str], shown: str) -> None:
    assert shown_name(names) == shown


# Digests.


@pytest.mark.parametrize("content", [CONTENT, noise(SMALL_BYTES + 1)])
@pytest.mark.parametrize("header", ["Repr-Digest", "Content-Digest"])
def test_a_digest_that_fits_is_kept_and_one_that_does_not_keeps_nothing(
    app: InProcess, content: bytes, header: str
) -> None:
    document = app.refusal(
        "PUT", "/a.txt", 400, "digest_mismatch", content=content, headers={header: digest_of(b"other")}
    )
    assert document["received_sha256"] == sha256(content).hexdigest()
    assert_nothing_is_left(app)

    answer = app.client.put("/a.txt", content=content, headers={header: digest_of(content)})
    assert answer.json()["source"]["sha256"] == sha256(content).hexdigest()


def test_a_digest_asked_for_is_in_the_receipt_and_otherwise_not_yet(app: InProcess) -> None:
    asked = app.client.put("/a.txt", content=CONTENT, headers={"Want-Repr-Digest": "sha-256=1"}).json()

    assert asked["source"]["sha256"] == sha256(CONTENT).hexdigest()
    assert app.put(CONTENT)["source"]["sha256"] is None


def test_a_digest_of_a_part_is_of_its_file(app: InProcess) -> None:
    def form(second: bytes) -> dict[str, Any]:
        parts = [
            ("file", ("a", b"one", "text/plain", {"Repr-Digest": digest_of(b"one")})),
            ("file", ("b", b"two", "text/plain", {"Repr-Digest": digest_of(second)})),
        ]
        return {"files": parts}

    app.refusal("POST", "/uploads", 400, "digest_mismatch", **form(b"other"))
    assert_nothing_is_left(app)
    assert app.client.post("/uploads", **form(b"two")).status_code == 202


def test_a_digest_of_a_whole_form_is_refused_with_where_it_belongs(app: InProcess) -> None:
    document = app.refusal(
        "POST", "/uploads", 400, "bad_digest", files={"file": b"x"}, headers={"Repr-Digest": digest_of(b"x")}
    )

    assert "header of its part" in document["detail"]


# Idempotency.


@pytest.mark.parametrize("key", ['"key-1"', "key-1", "key with spaces"])
def test_the_same_key_and_request_give_the_same_job_and_key(app: InProcess, key: str) -> None:
    first, second = (app.client.put("/a.txt", content=CONTENT, headers={"Idempotency-Key": key}) for _ in range(2))

    assert [first.status_code, second.status_code] == [202, 202]
    assert (first.json()["id"], first.json()["manage_key"]) == (second.json()["id"], second.json()["manage_key"])
    assert len(app.bench.stored_keys()) == 1


def test_a_quoted_key_is_the_same_as_a_bare_one(app: InProcess) -> None:
    ids = {
        app.client.put("/a.txt", content=b"x", headers={"Idempotency-Key": key}).json()["id"] for key in ('"k"', "k")
    }

    assert len(ids) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"content": b"another length"},
        {"url": "/b.txt"},
        {"params": {"level": "small"}},
        {"headers": {"Repr-Digest": digest_of(b"x")}},
    ],
)
def test_another_request_with_the_key_is_refused(app: InProcess, change: dict[str, Any]) -> None:
    request: dict[str, Any] = {"url": "/a.txt", "content": b"x"}
    key = {"Idempotency-Key": "k"}
    app.client.put(**request, headers=key)
    changed = request | change

    app.refusal(
        "PUT", changed.pop("url"), 422, "idempotency_mismatch", **changed | {"headers": key | change.get("headers", {})}
    )
    assert len(everything(app.parts.database)["jobs"]) == 1


@pytest.mark.parametrize("key", ['"unended', '""', "x" * 256, '"a" b', "caf\u00e9\x85"])
def test_a_key_that_cannot_be_one_is_refused(app: InProcess, key: str) -> None:
    app.refusal(
        "PUT", "/a.txt", 400, "bad_idempotency_key", content=b"x", headers={"Idempotency-Key": key.encode("latin-1")}
    )


def test_a_key_in_the_form_works_after_its_file_too(app: InProcess) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n'
        b'--b\r\nContent-Disposition: form-data; name="idempotency_key"\r\n\r\nk1\r\n--b--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    ids = {app.client.post("/uploads", content=body, headers=headers).json()["id"] for _ in range(2)}

    assert len(ids) == 1
    assert len(app.bench.stored_keys()) == 1


# Refusals.


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415, "urlencoded"),
        ({"headers": {"Content-Encoding": "gzip"}}, 415, "content_encoding"),
        ({"headers": {"Content-Type": "multipart/form-data"}}, 400, "bad_multipart"),
        ({"headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, "bad_multipart"),
        ({"headers": {"Repr-Digest": "sha-256=abc"}}, 400, "bad_digest"),
        ({"params": {"format": "rar"}}, 422, "bad_option"),
        ({"params": {"format": ""}}, 422, "bad_option"),
        ({"params": {"expires": "99999d"}}, 422, "bad_option"),
        ({"params": {"lvel": "fast"}}, 422, "unknown_option"),
    ],
)
def test_what_the_headers_tell_is_refused_and_nothing_is_left(
    app: InProcess, request_: dict[str, Any], status: int, code: str
) -> None:
    app.refusal("POST", "/uploads", status, code, content=b"x" * 100, **request_)

    assert_nothing_is_left(app)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"data": {"format": "rar"}, "files": {"file": b"x"}}, 422, "bad_option"),
        ({"data": {"lvel": "fast"}, "files": {"file": b"x"}}, 422, "unknown_option"),
        ({"data": {"level": "x" * 70_000}, "files": {"file": b"x"}}, 422, "bad_option"),
        ({"data": {"format": "xz"}, "files": [("file", b"x"), ("file", b"y")]}, 422, "one_file_only"),
        ({"params": {"format": "xz"}, "files": [("file", b"x"), ("file", b"y")]}, 422, "one_file_only"),
        ({"files": [("file", b"x")] * 4}, 413, "too_many_files"),
        ({"files": [("file", bytes(150_000)), ("file", bytes(150_000))]}, 413, "upload_too_large"),
        ({"content": bytes(300_000)}, 413, "upload_too_large"),
        ({"content": iter([bytes(150_000)] * 2)}, 413, "upload_too_large"),
    ],
)
def test_what_the_body_tells_is_refused_and_nothing_is_left(
    start: Callable[..., InProcess], request_: dict[str, Any], status: int, code: str
) -> None:
    app = start(max_upload_bytes=250_000, max_files_per_upload=3)

    app.refusal("POST", "/uploads", status, code, **request_)

    assert_nothing_is_left(app)


EMPTY_PART = b'--b\r\nContent-Disposition: form-data; name="level"\r\n\r\n\r\n'
LONG_HEAD = b'--b\r\nContent-Disposition: form-data; name="level"\r\nX: ' + b"x" * 8000 + b"\r\n\r\n\r\n"
EMPTY_FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(1000) + b"\r\n"
WIDE: dict[str, tuple[Iterator[bytes], int, str]] = {
    "preamble": (repeat(b"x" * 1000), 400, "bad_multipart"),
    "epilogue": (chain([FILE, b"--b--\r\n"], repeat(b"x" * 1000)), 400, "bad_multipart"),
    "headers of parts": (chain([FILE], repeat(LONG_HEAD)), 413, "upload_too_large"),
    "one part's headers": (chain([FILE, EMPTY_PART[:-4]], repeat(b"X: x\r\n")), 400, "bad_multipart"),
    "one part's header": (chain([FILE, EMPTY_PART[:-4], b"X: "], repeat(b"x" * 1000)), 400, "bad_multipart"),
    "empty fields": (chain([FILE], repeat(EMPTY_PART)), 413, "too_many_parts"),
    "empty fields at once": (chain([FILE], repeat(EMPTY_PART * 100)), 413, "too_many_parts"),
    "empty files": (chain([FILE], repeat(EMPTY_FILE)), 413, "too_many_parts"),
    "files": (repeat(FILE), 413, "too_many_files"),
}


@pytest.mark.parametrize("kind", WIDE)
def test_a_form_without_end_is_refused_whatever_it_is_made_of(start: Callable[..., InProcess], kind: str) -> None:
    app = start(max_upload_bytes=250_000, max_files_per_upload=3)
    pieces, status, code = WIDE[kind]
    # More than the largest upload and what frames it is not even looked at.
    size_bytes = 700_000 if code == "upload_too_large" else 400_000
    content = b"".join(up_to(pieces, size_bytes))

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    app.refusal("POST", "/uploads", status, code, content=iter([content]), headers=headers)

    assert_nothing_is_left(app)


def up_to(pieces: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    """Yield pieces up to so many bytes."""
    taken = 0
    while taken < size_bytes:
        piece = next(pieces)
        taken += len(piece)
        yield piece


def test_a_form_of_many_empty_fields_is_taken(start: Callable[..., InProcess]) -> None:
    app = start(max_files_per_upload=3)
    content = FILE * 3 + EMPTY_PART * 100 + b"--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = app.client.post("/uploads", content=content, headers=headers)

    assert answer.status_code == 202
    assert app.client.get("/limits").json()["max_parts_per_form"] == 103


def test_options_after_the_files_are_checked_too(app: InProcess) -> None:
    files = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(100_000) + b"\r\n"
        for _ in range(2)
    )
    late = b'--b\r\nContent-Disposition: form-data; name="format"\r\n\r\nxz\r\n--b--\r\n'

    app.refusal(
        "POST",
        "/uploads",
        422,
        "one_file_only",
        content=files + late,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )

    assert_nothing_is_left(app)


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_form_that_ends_too_soon_leaves_nothing(app: InProcess, size: int) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

    for body in (head + bytes(size), head + bytes(size) + b"\r\n--b\r\n" + head[5:] + b"x\r\n--b\r\n"):
        app.refusal(
            "POST",
            "/uploads",
            400,
            "body_truncated",
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert_nothing_is_left(app)


def test_a_full_queue_refuses_with_when_to_come_back(start: Callable[..., InProcess]) -> None:
    app = start(max_queued_jobs=1)
    app.put()

    app.refusal("PUT", "/a.txt", 503, "queue_full", content=b"x")
    assert app.client.put("/a.txt", content=b"x").headers["retry-after"] == "30"


def test_a_disk_without_room_refuses_before_the_body(start: Callable[..., InProcess]) -> None:
    app = start(min_free_bytes=2**60)

    document = app.refusal("PUT", "/a.txt", 507, "storage_full", content=b"x")

    assert document["needed_bytes"] == 2
    # How much there is, is nobody's business.
    assert "available_bytes" not in document
    assert_nothing_is_left(app)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StorageFull("ENOSPC /srv/secret"), 507, "storage_full"),
        (StorageFailed("EIO /srv/secret"), 500, "storage_failed"),
    ],
)
@pytest.mark.parametrize("size", [10, SMALL_BYTES + 1])
def test_a_store_that_fails_is_told_without_its_words(
    app: InProcess, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str, size: int
) -> None:
    def failing(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(app.parts.store, "create", failing)
    monkeypatch.setattr(app.parts.store, "put_many", failing)

    document = app.refusal("PUT", "/a.txt", status, code, content=bytes(size))

    assert "secret" not in str(document)
    assert_nothing_is_left(app)


def test_a_service_about_to_stop_takes_nothing_in(app: InProcess) -> None:
    app.parts.watch.drain()

    app.refusal("PUT", "/a.txt", 503, "shutting_down", content=b"x")


def test_refusals_have_three_forms(app: InProcess) -> None:
    request: dict[str, Any] = {"content": b"x", "params": {"format": "rar"}}

    text = app.client.put("/a.txt", headers=TEXT, **request)
    page = app.client.put("/a.txt", headers=PAGE, **request)

    assert text.text.startswith("422 bad_option: format must be one of auto, zstd")
    assert text.text.count("\n") == 1
    assert "bad_option" in page.text
    assert page.headers["content-type"].startswith("text/html")


def test_uploads_are_counted_by_what_became_of_them(app: InProcess) -> None:
    app.put(CONTENT)
    app.client.put("/a.txt", content=b"x", params={"format": "rar"})

    counted = app.client.get("/metrics", headers=ADMIN).text
    assert 'vacpack_uploads_total{outcome="accepted"} 1.0' in counted
    assert 'vacpack_uploads_total{outcome="bad_option"} 1.0' in counted
    assert f"vacpack_received_bytes_total {float(len(CONTENT))}" in counted
    assert "vacpack_uploads_in_progress 0.0" in counted
    assert "vacpack_receive_seconds_count 1.0" in counted
