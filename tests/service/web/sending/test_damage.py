"""Stored files that are not what they were: never wrong bytes as a whole, and said where they would be looked for."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS, Format
from service.web.sending import stored_files, streams
from service.work.result_maker import AS_IT_CAME
from storage.audit_table import Action, EventFilter, list_events
from storage.jobs.result_damage import note_damaged, note_whole
from tests.service.payloads import noise, text
from tests.service.web.in_process import PAGE, TEXT, InProcess, key_of
from tests.service.web.test_results import archive_of, raw, url_of
from tests.storage.job_builder import act

CONTENT = text(2_000_000)
SMALL = text(5_000)
FORMS = ("result", "result?format=gzip", "original")
BY_SIZE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
}


def stored_file(app: InProcess) -> Path:
    """Return the path of the only stored file."""
    [key] = app.bench.stored_keys()
    return app.bench.files_dir / key


def flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def mark(app: InProcess, receipt: dict[str, Any]) -> None:
    """Do as a scrub that found the result damaged."""
    key = app.bench.row(receipt["id"])["result_key"]
    assert act(app.parts.database, lambda connection: note_damaged(connection, receipt["id"], key, found="test"))


@pytest.mark.parametrize("damage", BY_SIZE)
@pytest.mark.parametrize("what", FORMS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_result_of_another_size_is_refused_and_noted(app: InProcess, damage: str, what: str, method: str) -> None:
    receipt = app.done(CONTENT)
    before = app.status(receipt)
    BY_SIZE[damage](stored_file(app))

    answer = app.client.request(method, url_of(receipt, what))

    assert answer.status_code == 410
    after = app.status(receipt)
    assert after["result"]["damaged_at"] is not None
    assert after["version"] == before["version"] + 1
    assert (after["status"], after["links"]["result"], after["links"]["original"]) == ("succeeded", None, None)
    with app.parts.database.read() as connection:
        [event] = list_events(connection, EventFilter(action=Action.RESULT_DAMAGED))
    assert (event["actor"], event["job_id"]) == ("system", receipt["id"])


@pytest.mark.parametrize("damage", BY_SIZE)
@pytest.mark.parametrize("what", ["result", "original"])
def test_so_is_a_source_that_was_kept_as_it_came(app: InProcess, damage: str, what: str) -> None:
    receipt = app.done(noise(50_000))
    BY_SIZE[damage](stored_file(app))

    app.refusal("GET", url_of(receipt, what), 410, "result_damaged")

    assert app.status(receipt)["result"]["damaged_at"] is not None


@pytest.mark.parametrize("what", FORMS)
@pytest.mark.parametrize(
    "headers", [{}, {"Range": "bytes=0-9"}, {"Accept-Encoding": "zstd"}, {"If-None-Match": "*"}], ids=str
)
def test_nothing_is_given_of_a_result_that_is_known_to_be_damaged(
    app: InProcess, what: str, headers: dict[str, str]
) -> None:
    receipt = app.done(CONTENT)
    mark(app, receipt)

    app.refusal("GET", url_of(receipt, what), 410, "result_damaged", headers=headers)


@pytest.mark.parametrize("target", ARCHIVES)
def test_nor_of_an_archive(app: InProcess, target: str) -> None:
    receipt = archive_of(app)
    mark(app, receipt)

    app.refusal("GET", url_of(receipt, "result"), 410, "result_damaged")


def test_page_line_and_links_offer_nothing_that_cannot_work(app: InProcess) -> None:
    receipt = app.done(CONTENT)
    page = app.client.get(f"/jobs/{receipt['id']}", headers=PAGE).text
    assert f'href="/jobs/{receipt["id"]}/result"' in page
    mark(app, receipt)

    page = app.client.get(f"/jobs/{receipt['id']}", headers=PAGE | key_of(receipt)).text
    line = app.client.get(f"/jobs/{receipt['id']}", headers=TEXT).text

    assert "/result" not in page
    assert "/original" not in page
    assert "The stored result is damaged or lost" in page
    assert "<code>result_damaged</code>" in page
    assert 'data-status="failed"' in page
    assert f"/jobs/{receipt['id']}/delete" in page
    assert line == "succeeded: a.txt, but the stored result is damaged or lost since\n"


def test_who_has_the_tag_of_before_is_told(app: InProcess) -> None:
    receipt = app.done(CONTENT)
    url = f"/jobs/{receipt['id']}"
    tags = [app.client.get(url).headers["etag"]]
    for change in (mark, unmark):
        assert app.client.get(url, headers={"If-None-Match": tags[-1]}).status_code == 304
        change(app, receipt)
        answer = app.client.get(f"{url}?wait=20", headers={"If-None-Match": tags[-1]})
        assert answer.status_code == 200
        tags.append(answer.headers["etag"])
        events = app.client.get(f"{url}/events", headers={"Last-Event-ID": tags[0].strip('"')}).text
        assert ('"damaged_at": null' in events) == (change is unmark)
    assert len(set(tags)) == 3
    assert app.client.get(url_of(receipt, "original")).content == CONTENT


def unmark(app: InProcess, receipt: dict[str, Any]) -> None:
    key = app.bench.row(receipt["id"])["result_key"]
    assert act(app.parts.database, lambda connection: note_whole(connection, receipt["id"], key))


def made(app: InProcess, kind: str) -> dict[str, Any]:
    """Return the receipt of a job with a result of this kind."""
    if kind == AS_IT_CAME:
        return app.done(noise(5_000))
    return app.done(SMALL, format=kind)


ASKED = [
    *[(str(kind), "result", "identity") for kind in (*CODECS, *ARCHIVES, AS_IT_CAME)],
    *[(str(kind), "original", "identity") for kind in (*CODECS, AS_IT_CAME)],
    *[(str(codec.format), "original", codec.coding) for codec in CODECS.values() if codec.coding],
    *[(str(kind), "result?format=gzip", "identity") for kind in (*CODECS, Format.TAR_ZST, AS_IT_CAME)],
]
PIECES: dict[str, Callable[[int], int]] = {
    "one piece": lambda size: size,
    "three pieces": lambda size: -(-size // 3),
    "an end of its own": lambda size: size - 2,
}
"""How many bytes are read at a time of a stored file of this size. Some formats end in bytes that no byte of the body
waits for: a check of what is read would come too late where these are a piece of their own."""


@pytest.mark.parametrize(("kind", "what", "coding"), ASKED)
@pytest.mark.parametrize("pieces", PIECES)
def test_a_flipped_bit_is_never_in_a_whole_answer(
    app: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    what: str,
    coding: str,
    pieces: str,
) -> None:
    receipt = made(app, kind)
    path = stored_file(app)
    content = path.read_bytes()
    monkeypatch.setattr(streams, "READ_BYTES", PIECES[pieces](len(content)))

    def asked() -> tuple[int, bytes]:
        answer, body = raw(app, url_of(receipt, what), **{"Accept-Encoding": coding})
        return answer.status_code, body

    status, whole = asked()
    assert status == 200
    for place in (0.0, 0.5, 1.0):
        path.write_bytes(content)
        flip(path, place)
        status, body = asked()
        if pieces == "one piece":
            assert (status, json.loads(body)["code"]) == (410, "result_damaged"), place
        else:
            assert status == 200
            assert len(body) < len(whole), place
    path.write_bytes(content)

    assert asked() == (200, whole)
    assert caplog.text.count("a stored file is damaged") == 3
    assert "Traceback" not in caplog.text
    assert app.status(receipt)["result"]["damaged_at"] is None, "memory may be wrong: a scrub decides"


def test_a_result_of_an_earlier_version_is_held_to_its_sha256(app: InProcess) -> None:
    receipt = app.done(CONTENT, format="zstd")
    act(app.parts.database, lambda connection: connection.exec_driver_sql("UPDATE jobs SET result_checksum = NULL"))
    content = stored_file(app).read_bytes()
    assert app.client.get(url_of(receipt, "result")).content == content
    assert app.client.get(url_of(receipt, "original")).content == CONTENT
    flip(stored_file(app))

    app.refusal("GET", url_of(receipt, "result"), 410, "result_damaged")


@pytest.mark.parametrize("kind", ["zstd", "zip", "identity"])
def test_head_and_parts_are_not_checked(app: InProcess, kind: str) -> None:
    receipt = made(app, kind)
    flip(stored_file(app), 0.0)
    content = stored_file(app).read_bytes()
    url = url_of(receipt, "result")

    head = app.client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(content)))
    part = app.client.get(url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, content[:10])
    rest = app.client.get(url, headers={"Range": "bytes=1-"})
    assert (rest.status_code, rest.content) == (206, content[1:])


def test_a_part_that_is_the_whole_is_checked(app: InProcess) -> None:
    receipt = app.done(SMALL)
    flip(stored_file(app))

    app.refusal("GET", url_of(receipt, "result"), 410, "result_damaged", headers={"Range": "bytes=0-"})


def test_a_small_file_that_cannot_be_read_is_refused_at_once(app: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = app.done(SMALL)

    def broken(_: BinaryIO) -> Iterator[bytes]:
        raise OSError(errno.EIO, "the disk does not answer")

    monkeypatch.setattr(stored_files, "chunks_of", broken)

    app.refusal("GET", url_of(receipt, "result"), 500, "storage_failed")


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_waiting_upload_with_a_flipped_bit_is_never_given_whole(app: InProcess, place: float) -> None:
    receipt = app.put(CONTENT)
    assert app.client.get(url_of(receipt, "original")).content == CONTENT
    flip(stored_file(app), place)

    assert len(app.client.get(url_of(receipt, "original")).content) < len(CONTENT)


@pytest.mark.parametrize("content", [SMALL, b"x"], ids=["small", "tiny"])
def test_a_small_one_is_refused_at_once(app: InProcess, content: bytes) -> None:
    receipt = app.put(content)
    assert app.client.get(url_of(receipt, "original")).content == content
    flip(stored_file(app))

    app.refusal("GET", url_of(receipt, "original"), 410, "original_damaged")


def test_a_part_of_a_waiting_upload_is_given_as_it_is_stored(app: InProcess) -> None:
    receipt = app.put(CONTENT)
    flip(stored_file(app), 1.0)

    answer = app.client.get(url_of(receipt, "original"), headers={"Range": "bytes=0-9"})

    assert (answer.status_code, answer.content) == (206, CONTENT[:10])


def test_a_waiting_upload_of_an_earlier_version_is_given_without_a_check(app: InProcess) -> None:
    receipt = app.put(CONTENT)
    act(app.parts.database, lambda connection: connection.exec_driver_sql("UPDATE sources SET checksum = NULL"))

    assert app.client.get(url_of(receipt, "original")).content == CONTENT


@pytest.mark.parametrize("damage", BY_SIZE)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_waiting_upload_of_another_size_is_refused(app: InProcess, damage: str, method: str) -> None:
    receipt = app.put(CONTENT)
    BY_SIZE[damage](stored_file(app))

    answer = app.client.request(method, url_of(receipt, "original"))

    assert answer.status_code == 410
    if method == "GET":
        assert answer.json()["code"] == "original_damaged"


@pytest.mark.parametrize("what", ["result", "original"])
@pytest.mark.parametrize(
    ("change", "status", "code"), [("delete", 404, "job_not_found"), ("expire", 410, "job_expired")]
)
def test_a_file_that_went_with_its_job_this_moment_is_not_damaged(
    app: InProcess, monkeypatch: pytest.MonkeyPatch, what: str, change: str, status: int, code: str
) -> None:
    receipt = app.done(CONTENT)
    end = (
        "DELETE FROM jobs"
        if change == "delete"
        else "UPDATE jobs SET status = 'expired', result_key = NULL, version = version + 1"
    )
    really = app.parts.store.open

    def late(key: Any) -> Any:
        act(app.parts.database, lambda connection: connection.exec_driver_sql(end))
        stored_file(app).unlink(missing_ok=True)
        return really(key)

    monkeypatch.setattr(app.parts.store, "open", late)

    app.refusal("GET", url_of(receipt, what), status, code)


def test_metrics_count_what_is_damaged_now(app: InProcess) -> None:
    receipts = [app.done(CONTENT) for _ in range(3)]
    for receipt in receipts[:2]:
        mark(app, receipt)
    unmark(app, receipts[0])

    metrics = app.client.get("/metrics", headers={"Authorization": "Bearer the-admin-token-of-tests"}).text

    assert "vacpack_results_damaged 1.0" in metrics
