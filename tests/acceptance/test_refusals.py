"""What is refused, how early, and that nothing of it is left: no file and no job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.asking import ask
from tests.acceptance.curl import curl
from tests.acceptance.patience import until
from tests.acceptance.raw_socket import (
    CHUNKED,
    END,
    FORM,
    chunk,
    connected,
    head,
    part,
    read_answer,
    read_to_end,
    status_of,
)
from tests.acceptance.service_process import ServiceProcess

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that takes one megabyte at most, and has no worker that could make files."""
    process = ServiceProcess(
        tmp_path_factory.mktemp("narrow"), max_upload_bytes=LIMIT, embedded_worker="false", max_files_per_upload=3
    )
    try:
        yield process.start()
    finally:
        process.kill()


@pytest.fixture
def nothing_left(narrow: ServiceProcess) -> Iterator[None]:
    """Whatever the test sent, nothing of it is kept, and nothing stumbled over it."""
    yield
    until(narrow.holds_nothing, what=f"an empty store ({narrow.stored()}) and table ({narrow.statuses()})")
    assert [event for event in narrow.events() if event["level"] == "error"] == []


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse file of 200 MB."""
    folder = tmp_path_factory.mktemp("huge")
    with (folder / "huge").open("wb") as file:
        file.truncate(200_000_000)
    return folder


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("flags", [["-T", "huge"], ["-F", "file=@huge"], ["-X", "POST", "-T", "huge"]])
def test_a_client_that_expects_is_refused_before_its_first_byte(
    narrow: ServiceProcess, huge: Path, flags: list[str]
) -> None:
    sent = [
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "20",
        "-w",
        "%{size_upload} %{http_code}",
        "-o",
        "said",
    ]

    done = curl(*flags, *sent, f"{narrow.url}/uploads", folder=huge)

    assert done.body == b"0 413", done
    assert b'"upload_too_large"' in (huge / "said").read_bytes()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("flags", [["-T", "huge"], ["-F", "file=@huge"]])
def test_a_client_that_sends_at_once_sees_the_refusal_every_time(
    narrow: ServiceProcess, huge: Path, flags: list[str]
) -> None:
    for _ in range(50):
        done = curl(*flags, "-H", "Expect:", f"{narrow.url}/uploads", folder=huge)
        assert (done.code, done.status, done.json["code"]) == (0, 413, "upload_too_large"), done


def too_long_chunked() -> Iterator[bytes]:
    yield head("PUT /f", CHUNKED)
    for _ in range(40):
        yield chunk(bytes(100_000))


def too_long_in_sum() -> Iterator[bytes]:
    yield head("POST /uploads", FORM, CHUNKED)
    for _ in range(3):
        yield chunk(part("file", bytes(400_000), filename="f"))


def too_many_files() -> Iterator[bytes]:
    yield head("POST /uploads", FORM, CHUNKED)
    for _ in range(4):
        yield chunk(part("file", b"x", filename="f"))
    yield chunk(END)


def form_cut_short() -> Iterator[bytes]:
    body = part("file", b"x" * 1000, filename="a") + part("file", b"y" * 1000, filename="b")
    yield head("POST /uploads", FORM, f"Content-Length: {len(body)}") + body


def form_of_noise() -> Iterator[bytes]:
    yield head("POST /uploads", FORM, "Content-Length: 900") + b"noise" * 180


def form_without_boundary() -> Iterator[bytes]:
    yield (head("POST /uploads", "Content-Type: multipart/form-data", "Content-Length: 9") + b"1" * 9)


def form_with_long_part_header() -> Iterator[bytes]:
    body = part("file", b"x", filename="n" * 70_000) + END
    yield head("POST /uploads", FORM, f"Content-Length: {len(body)}") + body


def form_with_long_field() -> Iterator[bytes]:
    body = part("file", b"x", filename="a") + part("level", b"x" * 70_000) + END
    yield head("POST /uploads", FORM, f"Content-Length: {len(body)}") + body


def form_with_bad_option_last() -> Iterator[bytes]:
    body = part("file", b"x" * 100_000, filename="a") + part("level", b"best") + END
    yield head("POST /uploads", FORM, f"Content-Length: {len(body)}") + body


def two_files_as_xz() -> Iterator[bytes]:
    body = part("file", b"x" * 10, filename="a") + part("file", b"y", filename="b") + part("format", b"xz") + END
    yield head("POST /uploads", FORM, f"Content-Length: {len(body)}") + body


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("sending", "expected"),
    [
        (too_long_chunked, (413, "upload_too_large")),
        (too_long_in_sum, (413, "upload_too_large")),
        (too_many_files, (413, "too_many_files")),
        (form_cut_short, (400, "body_truncated")),
        (form_of_noise, (400, "bad_multipart")),
        (form_without_boundary, (400, "bad_multipart")),
        (form_with_long_part_header, (400, "bad_multipart")),
        (form_with_long_field, (422, "bad_option")),
        (form_with_bad_option_last, (422, "bad_option")),
        (two_files_as_xz, (422, "one_file_only")),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_body_is_refused_where_it_goes_wrong(
    narrow: ServiceProcess, sending: object, expected: tuple[int, str]
) -> None:
    with connected(narrow) as connection:
        for piece in sending():  # type: ignore[operator]
            connection.sendall(piece)
        answer = read_answer(connection)

    assert (answer.status, answer.json["code"]) == expected


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "broken",
    [b"zz\r\n", b"5\r\nhello, more than five\r\n", b"-1\r\n", b"5 5\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\n"],
)
@pytest.mark.parametrize("door", [("PUT /f",), ("POST /uploads", FORM)], ids=["raw", "form"])
def test_broken_chunking_is_a_bad_request(narrow: ServiceProcess, door: tuple[str, ...], broken: bytes) -> None:
    with connected(narrow) as connection:
        connection.sendall(head(*door, CHUNKED) + chunk(part("file", bytes(1000), filename="f")))
        connection.sendall(broken)
        answer, seconds = read_to_end(connection)

    assert status_of(answer) == 400, answer
    assert seconds < 5


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("target", "headers", "status", "code"),
    [
        ("/uploads/f?format=rar", {}, 422, "bad_option"),
        ("/uploads/f?levl=fast", {}, 422, "unknown_option"),
        ("/uploads/f?expires=31d", {}, 422, "bad_option"),
        ("/uploads/f?notify_email=ann@mail.example", {}, 422, "option_not_offered"),
        ("/uploads/f?callback_url=https://a.example", {}, 422, "option_not_offered"),
        ("/uploads/f", {"Content_Encoding": "gzip"}, 415, "content_encoding"),
        ("/uploads/f", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "urlencoded"),
        ("/uploads/f", {"Repr_Digest": "sha-256=:AAAA:"}, 400, "bad_digest"),
        ("/uploads/f", {"Content_Type": "multipart/form-data; boundary=b"}, 415, "multipart_type"),
        ("/f", {"Content_Transfer_Encoding": "base64"}, 415, "transfer_encoding"),
        ("/f", {"Content_Range": "bytes 0-9/100"}, 400, "partial_upload"),
        ("/", {"Upload_Complete": "?0"}, 400, "partial_upload"),
        ("/uploads/", {"If_Match": "*"}, 412, "precondition_failed"),
        ("/f", {"Trailer": "Content-Digest"}, 400, "bad_digest"),
        ("/f", {"X_HTTP_Method_Override": "PATCH"}, 400, "unsupported_header"),
        ("/uploads/f", {"Idempotency_Key": '"' + "k" * 256 + '"'}, 400, "bad_idempotency_key"),
        ("/uploads/f", {"Sec_Fetch_Site": "cross-site"}, 403, "cross_site"),
        ("/uploads/f", {"Origin": "http://elsewhere.example"}, 403, "cross_site"),
    ],
)
def test_what_the_headers_tell_is_refused_before_the_body(
    narrow: ServiceProcess, target: str, headers: dict[str, str], status: int, code: str
) -> None:
    named = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    with connected(narrow) as connection:
        connection.sendall(head(f"PUT {target}", "Content-Length: 500000", "Expect: 100-continue", *named))
        answer = read_answer(connection)

    assert (answer.status, answer.json["code"]) == (status, code)


def test_a_wrong_value_is_refused_with_the_ones_allowed(narrow: ServiceProcess) -> None:
    answer = ask(f"{narrow.url}/uploads/f?format=rar", "PUT", b"x")

    assert answer.json["allowed"] == ["auto", "zstd", "gzip", "brotli", "xz", "zip", "tar.zst", "tar.gz"]
    assert answer.headers["Content-Type"] == "application/problem+json"
