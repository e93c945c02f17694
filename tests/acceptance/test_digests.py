"""Digests of RFC 9530: what a client announces is checked before the 202; what it asks for stands in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5, sha256, sha512
from zlib import adler32, crc32

import pytest

from tests.acceptance.asking import Answer, ask
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import END, FORM, connected, head, part, read_answer
from tests.acceptance.service_process import ServiceProcess
from tests.service.payloads import text

DATA = text(2_000_000)
HEX = sha256(DATA).hexdigest()


def field(data: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(data).digest()).decode()}:"


RIGHT, WRONG = field(DATA), field(b"something else")
SHA_512 = f"sha-512=:{b64encode(sha512(DATA).digest()).decode()}:"
WRONG_512 = f"sha-512=:{b64encode(sha512(b'something else').digest()).decode()}:"


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service without a worker, which would find out digests by itself."""
    process = ServiceProcess(tmp_path_factory.mktemp("idle"), embedded_worker="false")
    try:
        yield process.start()
    finally:
        process.kill()


def put(idle: ServiceProcess, **headers: str) -> Answer:
    return ask(f"{idle.url}/uploads/f.log", "PUT", DATA, **headers)


def post_form(idle: ServiceProcess, *parts: bytes, headers: tuple[str, ...] = ()) -> Answer:
    body = b"".join(parts) + END
    with connected(idle) as connection:
        connection.sendall(head("POST /uploads", FORM, f"Content-Length: {len(body)}", *headers) + body)
        return read_answer(connection)


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr_Digest": RIGHT},
        {"Content_Digest": RIGHT},
        {"Repr_Digest": RIGHT, "Content_Digest": RIGHT},
        {"Repr_Digest": f"{SHA_512}, {RIGHT}"},
        {"Want_Repr_Digest": "sha-256=1"},
        {"Want_Repr_Digest": "sha-512=3, sha-256=10"},
    ],
)
def test_the_digest_stands_in_the_202(idle: ServiceProcess, headers: dict[str, str]) -> None:
    answer = put(idle, **headers)

    assert (answer.status, answer.json["source"]["sha256"]) == (202, HEX)


@pytest.mark.parametrize("headers", [{}, {"Want_Repr_Digest": "sha-256=0"}, {"Want_Repr_Digest": "?"}])
def test_a_digest_nobody_asked_for_is_found_out_later(idle: ServiceProcess, headers: dict[str, str]) -> None:
    answer = put(idle, **headers)

    assert (answer.status, answer.json["source"]["sha256"]) == (202, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr_Digest": SHA_512},
        {"Digest": f"SHA-256={b64encode(sha256(DATA).digest()).decode()}"},
        {"Content_MD5": b64encode(md5(DATA).digest()).decode()},
        {"X_Amz_Checksum_CRC32": b64encode(crc32(DATA).to_bytes(4, "big")).decode()},
        {"OC_Checksum": f"ADLER32:{adler32(DATA):x}"},
    ],
)
def test_other_digests_that_are_known_are_checked(idle: ServiceProcess, headers: dict[str, str]) -> None:
    assert put(idle, **headers).status == 202
    answer = ask(f"{idle.url}/uploads/f.log", "PUT", DATA + b"!", **headers)
    assert (answer.status, answer.json["code"]) == (400, "digest_mismatch")


def test_an_algorithm_that_is_not_known_is_passed_over_beside_another(idle: ServiceProcess) -> None:
    assert put(idle, Repr_Digest=f"unixsum=:AAAA:, {RIGHT}").status == 202


@pytest.mark.parametrize("name", ["Repr_Digest", "Content_Digest"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (WRONG, "digest_mismatch"),
        (f"{SHA_512}, {WRONG}", "digest_mismatch"),
        (f"{WRONG_512}, {RIGHT}", "digest_mismatch"),
        ("unixsum=:AAAA:", "bad_digest"),
        ("sha-256=:AAAA:", "bad_digest"),
        ("sha-256=?1", "bad_digest"),
        ("sha-256=:not base64", "bad_digest"),
        (HEX + "!", "bad_digest"),
    ],
)
def test_a_wrong_digest_is_refused_and_nothing_is_kept(idle: ServiceProcess, name: str, value: str, code: str) -> None:
    stored, statuses = idle.stored(), idle.statuses()

    answer = put(idle, **{name: value})

    assert (answer.status, answer.json["code"]) == (400, code)
    until(lambda: idle.stored() == stored, what=f"the store as before ({stored})")
    assert idle.statuses() == statuses


def test_two_headers_that_differ_are_refused(idle: ServiceProcess) -> None:
    answer = put(idle, Repr_Digest=RIGHT, Content_Digest=WRONG)

    assert (answer.status, answer.json["code"]) == (400, "bad_digest")


def test_each_part_of_a_form_has_its_own_digest(idle: ServiceProcess) -> None:
    answer = post_form(
        idle,
        part("file", DATA, filename="a", headers=f"Repr-Digest: {RIGHT}\r\n"),
        part("file", b"b", filename="b", headers=f"Content-Digest: {field(b'b')}\r\n"),
    )

    assert answer.status == 202
    query = "SELECT sources.sha256 FROM sources JOIN jobs ON job_seq = seq WHERE id = ? ORDER BY position"
    assert [row[0] for row in idle.rows(query, answer.json["id"])] == [HEX, sha256(b"b").hexdigest()]


def test_one_wrong_part_refuses_the_whole_form(idle: ServiceProcess) -> None:
    stored = idle.stored()

    answer = post_form(
        idle,
        part("file", b"a", filename="a"),
        part("file", DATA, filename="b", headers=f"Repr-Digest: {WRONG}\r\n"),
        part("file", b"c", filename="c"),
    )

    assert (answer.status, answer.json["code"]) == (400, "digest_mismatch")
    assert answer.json["received_sha256"] == HEX
    until(lambda: idle.stored() == stored, what="the store as before")


def test_a_form_may_ask_for_its_file_s_digest(idle: ServiceProcess) -> None:
    answer = post_form(idle, part("file", DATA, filename="a"), headers=("Want-Repr-Digest: sha-256=1",))

    assert answer.json["source"]["sha256"] == HEX


def test_a_digest_of_the_form_itself_says_nothing_of_a_file(idle: ServiceProcess) -> None:
    answer = post_form(idle, part("file", DATA, filename="a"), headers=(f"Repr-Digest: {RIGHT}",))

    assert (answer.status, answer.json["code"]) == (400, "bad_digest")
