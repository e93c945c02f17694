"""Every header of the table, on every door and in a part: honoured, or refused and nothing is left."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable
from itertools import product

import pytest

from service.errors import BAD_REQUEST, ServiceError
from service.web.receiving.header_rules import RULES, gathered, rule_of
from tests.service.web.in_process import InProcess
from tests.service.web.test_uploads import assert_nothing_is_left, original

CONTENT = b"hello, bytes \x00\xff\r\n"

RAW_DOORS = [
    ("POST", "/uploads"),
    ("PUT", "/uploads/a.txt"),
    ("PUT", "/a.txt"),
    ("PUT", "/uploads/"),
    ("PUT", "/uploads"),
    ("PUT", "/"),
]


def base64(algorithm: str, content: bytes = CONTENT) -> str:
    return b64encode(hashlib.new(algorithm, content).digest()).decode()


def hex_of(algorithm: str, content: bytes = CONTENT) -> str:
    return hashlib.new(algorithm, content).hexdigest()


def number(value: int) -> str:
    return b64encode(value.to_bytes(4, "big")).decode()


TAKEN = (202, None)
CODING = (415, "content_encoding")
ENCODING = (415, "transfer_encoding")
PIECE = (400, "partial_upload")
TYPE = (415, "multipart_type")
URLENCODED = (415, "urlencoded")
UNDONE = (400, "unsupported_header")
DIGEST = (400, "bad_digest")
MISMATCH = (400, "digest_mismatch")
LENGTH = (400, "length_mismatch")
FALSE = (412, "precondition_failed")

Outcome = tuple[int, str | None]
Case = tuple[str, str, Outcome, Outcome, Outcome]


def everywhere(outcome: Outcome, *said: tuple[str, str]) -> list[Case]:
    return [(name, value, outcome, outcome, outcome) for name, value in said]


CASES: list[Case] = [
    # Header, value, and what becomes of it on a raw body, on a form, and in a part.
    ("Content-Type", "text/plain", TAKEN, TAKEN, TAKEN),
    ("Content-Type", "text/plain; charset=utf-16", TAKEN, TAKEN, TAKEN),
    ("Content-Type", "message/rfc822", TAKEN, TAKEN, TAKEN),
    ("Content-Type", "message/partial; id=x; number=1; total=2", PIECE, PIECE, PIECE),
    ("Content-Type", "application/offset+octet-stream", PIECE, PIECE, PIECE),
    ("Content-Type", "Application/Partial-Upload", PIECE, PIECE, PIECE),
    ("Content-Type", "message/external-body; access-type=local-file", UNDONE, UNDONE, UNDONE),
    ("Content-Type", "multipart/mixed; boundary=x", TYPE, TYPE, TAKEN),
    ("Content-Type", "Multipart/Related", TYPE, TYPE, TAKEN),
    ("Content-Type", " multipart/byteranges;boundary=x", TYPE, TYPE, TAKEN),
    *[
        ("Content-Type", value, URLENCODED, URLENCODED, TAKEN)
        for value in (
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-URLencoded",
            "application/x-www-form-urlencoded;charset=UTF-8",
            "\tapplication/x-www-form-urlencoded ; q=1",
            "application / x-www-form-urlencoded",
            "application/x-www-form-urlencoded, text/plain",
        )
    ],
    ("Content-Encoding", "identity", TAKEN, TAKEN, TAKEN),
    ("Content-Encoding", "", TAKEN, TAKEN, TAKEN),
    ("Content-Encoding", "Identity, ", TAKEN, TAKEN, TAKEN),
    *[
        ("Content-Encoding", value, CODING, CODING, CODING)
        for value in ("gzip", "GZIP", "identity, gzip", "br,identity", "aws-chunked", "aes128gcm", "x-unheard-of")
    ],
    *[("Content-Transfer-Encoding", value, TAKEN, TAKEN, TAKEN) for value in ("7bit", "8BIT", "binary", "")],
    ("Content-Transfer-Encoding", "x-uuencode", ENCODING, ENCODING, ENCODING),
    ("Content-Transfer-Encoding", "base64, 7bit", ENCODING, ENCODING, ENCODING),
    ("Content-Transfer-Encoding", "base64", ENCODING, ENCODING, (400, "bad_encoding")),
    ("Content-Transfer-Encoding", "Quoted-Printable", ENCODING, ENCODING, (400, "bad_encoding")),
    ("Transfer-Encoding", "gzip", TAKEN, TAKEN, ENCODING),
    ("Content-Length", str(len(CONTENT)), TAKEN, TAKEN, TAKEN),
    ("Content-Length", str(len(CONTENT) + 1), TAKEN, TAKEN, LENGTH),
    *[("Content-Length", value, TAKEN, TAKEN, LENGTH) for value in ("many", "-1", "1_8", "", "9" * 5000)],
    *[
        (name, value, fits, DIGEST, fits)
        for name, written in (
            ("Repr-Digest", lambda content: f"sha-256=:{base64('sha256', content)}:"),
            ("Repr-Digest", lambda content: f"sha-512=:{base64('sha512', content)}:"),
            ("Content-Digest", lambda content: f"md5=:{base64('md5', content)}:, unixsum=:AAAA:"),
            ("Content-Digest", lambda content: f"sha=:{base64('sha1', content)}:"),
            ("Digest", lambda content: f"SHA-256={base64('sha256', content)}"),
            ("Digest", lambda content: f"unixsum=30637, md5={base64('md5', content)}"),
            ("Digest", lambda content: f"id-SHA-512={base64('sha512', content)}"),
            ("Digest", lambda content: f"adler32={zlib.adler32(content):08x}"),
            ("Repr-Digest", lambda content: f"crc32c=:AAAAAA==:, adler=:{number(zlib.adler32(content))}:"),
            ("Content-MD5", lambda content: base64("md5", content)),
            ("X-Amz-Content-SHA256", lambda content: hex_of("sha256", content)),
            ("X-Amz-Checksum-Sha256", lambda content: base64("sha256", content)),
            ("X-Amz-Checksum-Sha1", lambda content: base64("sha1", content)),
            ("X-Amz-Checksum-Sha512", lambda content: base64("sha512", content)),
            ("X-Amz-Checksum-MD5", lambda content: base64("md5", content)),
            ("X-Amz-Checksum-Crc32", lambda content: number(zlib.crc32(content))),
            ("OC-Checksum", lambda content: f"SHA1:{hex_of('sha1', content)}"),
            ("OC-Checksum", lambda content: f"md5:{hex_of('md5', content).upper()}"),
            ("OC-Checksum", lambda content: f"SHA256:{hex_of('sha256', content)}"),
            ("OC-Checksum", lambda content: f"ADLER32:{zlib.adler32(content):x}"),
            ("OC-Checksum", lambda content: f"SHA3-256:00 Adler32:{zlib.adler32(content):08X}"),
            ("X-Ms-Blob-Content-MD5", lambda content: base64("md5", content)),
            ("X-Goog-Hash", lambda content: f"crc32c=AAAAAA==,md5={base64('md5', content)}"),
            ("X-Checksum-Sha256", lambda content: hex_of("sha256", content).upper()),
            ("X-Checksum-Sha1", lambda content: hex_of("sha1", content)),
            ("X-Checksum-MD5", lambda content: hex_of("md5", content)),
        )
        for value, fits in ((written(CONTENT), TAKEN), (written(b"other"), MISMATCH))
    ],
    ("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD", TAKEN, TAKEN, TAKEN),
    *everywhere(
        DIGEST,
        ("Repr-Digest", "unixsum=:AAAA:"),
        ("Content-Digest", "crc32c=:AAAAAA==:, unixcksum=:AAAAAA==:"),
        ("Repr-Digest", "adler=:AAAA:"),
        ("Digest", "adler32=AAAAAA=="),
        ("X-Amz-Checksum-Crc32", "AAAA"),
        ("X-Amz-Checksum-Crc32", "00000000"),
        ("X-Amz-Checksum-Crc32c", "AAAAAA=="),
        ("X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA="),
        ("X-Amz-Checksum-Unheard-Of", "AAAA"),
        ("X-Ms-Content-Crc64", "AAAAAAAAAAA="),
        ("OC-Checksum", "SHA3-256:" + "00" * 32),
        ("OC-Checksum", "ADLER32:"),
        ("OC-Checksum", "ADLER32:123456789"),
        ("OC-Checksum", "SHA1:1"),
        ("OC-Checksum", "MD5"),
        ("OC-Checksum", f"MD5:{hex_of('md5')} MD5:{hex_of('md5')}"),
        ("Repr-Digest", "sha-512=:AAAA:"),
        ("Digest", "unixsum=30637"),
        ("Digest", "sha-256=" + "00" * 32),
        ("Digest", "md5"),
        ("Content-MD5", hex_of("md5")),
        ("Content-MD5", "!"),
        ("X-Amz-Content-SHA256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("X-Amz-Content-SHA256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("X-Checksum-Sha1", "12"),
        ("X-Goog-Hash", "crc32c=AAAAAA=="),
    ),
    ("X-Amz-Checksum-Crc64nvme", "", TAKEN, TAKEN, TAKEN),
    ("X-Amz-Checksum-Type", "FULL_OBJECT", TAKEN, TAKEN, TAKEN),
    ("X-Amz-Sdk-Checksum-Algorithm", "CRC64NVME", TAKEN, TAKEN, TAKEN),
    ("Trailer", "Server-Timing", TAKEN, TAKEN, TAKEN),
    ("Trailer", "Expires, Content-Digest", DIGEST, DIGEST, DIGEST),
    ("Trailer", "X-Amz-Checksum-Crc64nvme", DIGEST, DIGEST, DIGEST),
    ("Trailer", "Content-Encoding", UNDONE, UNDONE, UNDONE),
    *everywhere(
        PIECE,
        ("Content-Range", "bytes 0-17/100"),
        ("Content-Range", "bytes 0-17/18"),
        ("Content-Range", "lines 1-2/3"),
        ("Range", "bytes=0-17"),
        ("X-Content-Range", "bytes 0-17/100"),
        ("X-Ms-Range", "bytes=0-17"),
        ("X-Amz-Write-Offset-Bytes", "0"),
        ("Tus-Resumable", "1.0.0"),
        ("Upload-Offset", "0"),
        ("Upload-Complete", "?0"),
        ("Upload-Complete", "true"),
        ("Upload-Incomplete", "?1"),
        ("Upload-Length", "1000"),
        ("Upload-Length", "18"),
        ("Upload-Defer-Length", "1"),
        ("Upload-Concat", "partial"),
        ("Upload-Metadata", "filename YQ=="),
        ("Upload-Checksum", "sha1 AAAA"),
        ("X-Goog-Upload-Command", "start"),
        ("X-Upload-Content-Length", "1000"),
        ("Uploader-Chunk-Number", "0"),
        ("X-Chunk-Index", "0"),
        ("OC-Chunked", "1"),
        ("OC-Total-Length", "1000"),
        ("OC-Total-Length", "0"),
    ),
    ("Upload-Complete", "?1", TAKEN, TAKEN, TAKEN),
    ("Upload-Incomplete", "?0", TAKEN, TAKEN, TAKEN),
    ("Upload-Draft-Interop-Version", "6", TAKEN, TAKEN, TAKEN),
    ("If-Match", "*", FALSE, FALSE, FALSE),
    ("If-Match", '"etag"', FALSE, FALSE, FALSE),
    ("If-None-Match", "*", TAKEN, TAKEN, TAKEN),
    ("If-None-Match", '"etag"', TAKEN, TAKEN, TAKEN),
    ("If-Unmodified-Since", "Sat, 29 Oct 1994 19:43:31 GMT", TAKEN, TAKEN, TAKEN),
    *everywhere(
        UNDONE, *((name, "PATCH") for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"))
    ),
    *everywhere(
        UNDONE,
        *(
            (name, "x")
            for name in (
                "X-Amz-Copy-Source",
                "X-Amz-Copy-Source-Range",
                "X-Amz-Decoded-Content-Length",
                "X-Amz-Trailer",
                "X-Ms-Copy-Source",
                "X-Goog-Copy-Source",
            )
        ),
    ),
    ("Content-Disposition", 'attachment; filename="b.txt"', TAKEN, TAKEN, (400, "bad_request")),
    ("Content-Language", "de", TAKEN, TAKEN, TAKEN),
    ("Content-Location", "/elsewhere", TAKEN, TAKEN, TAKEN),
    ("Prefer", "respond-async, wait=10", TAKEN, TAKEN, TAKEN),
    ("MIME-Version", "1.0", TAKEN, TAKEN, TAKEN),
    ("X-Unheard-Of", "?", TAKEN, TAKEN, TAKEN),
]

# Those that a client library sets itself, or that make a form no form.
NOT_ON_A_RAW_BODY = {"Content-Length", "Transfer-Encoding"}
NOT_ON_A_FORM = {*NOT_ON_A_RAW_BODY, "Content-Type"}


def form(*headers: str, disposition: str = 'form-data; name="file"; filename="f"', content: bytes = CONTENT) -> bytes:
    lines = ["--b", f"Content-Disposition: {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + content + b"\r\n--b--\r\n"


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def told(app: InProcess, method: str, url: str, content: bytes, headers: dict[str, str], expected: Outcome) -> None:
    answer = app.client.request(method, url, content=content, headers=headers)
    assert (answer.status_code, answer.json().get("code")) == expected, (method, url, headers, content, answer.text)
    if expected == TAKEN:
        assert original(app, answer) == CONTENT
        app.client.delete(
            answer.headers["location"], headers={"Authorization": f"Bearer {answer.json()['manage_key']}"}
        )
    else:
        assert answer.json()["detail"]
    assert_nothing_is_left(app)


NAMES = sorted({name for name, *_ in CASES})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_ON_A_RAW_BODY])
def test_a_header_means_the_same_on_every_raw_door(app: InProcess, name: str) -> None:
    for _, value, raw, _, _ in (case for case in CASES if case[0] == name):
        for method, url in RAW_DOORS:
            told(app, method, url, CONTENT, {name: value}, raw)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_ON_A_FORM])
def test_a_header_of_a_form_is_honoured_or_refused(app: InProcess, name: str) -> None:
    for _, value, _, expected, _ in (case for case in CASES if case[0] == name):
        told(app, "POST", "/uploads", form(), FORM | {name: value}, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_of_a_part_is_honoured_or_refused(app: InProcess, name: str) -> None:
    for _, value, _, _, expected in (case for case in CASES if case[0] == name):
        told(app, "POST", "/uploads", form(f"{name}: {value}"), FORM, expected)


def test_every_header_of_the_table_has_a_case() -> None:
    tried = {rule_of(name.lower()) for name, *_ in CASES}
    named = {name.lower() for name, *_ in CASES}

    assert {rule.outcome for rule in RULES} == {rule.outcome for rule in tried if rule}
    refusable = [name for rule in RULES if rule.check for name in rule.names]
    assert [name for name in refusable if not any(tried == name or _in_family(tried, name) for tried in named)] == []


def _in_family(name: str, family: str) -> bool:
    return family.endswith("*") and name.startswith(family[:-1])


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "MULTIPART/Form-Data;boundary=b"])
@pytest.mark.parametrize(("method", "url"), RAW_DOORS[1:])
def test_a_form_by_put_is_refused_with_where_to_send_it(
    app: InProcess, method: str, url: str, content_type: str
) -> None:
    document = app.refusal(method, url, 415, "multipart_type", content=form(), headers={"Content-Type": content_type})

    assert "POST" in document["detail"]
    assert_nothing_is_left(app)


def test_a_form_in_a_form_is_refused_with_what_to_do(app: InProcess) -> None:
    nested = form("Content-Type: multipart/mixed; boundary=c", disposition='form-data; name="file"')

    document = app.refusal("POST", "/uploads", 415, "multipart_type", content=nested, headers=FORM)

    assert "part of its own" in document["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Complete": "?1", "Upload-Length": str(len(CONTENT))},
        {"Upload-Complete": "?1", "Upload-Draft-Interop-Version": "6"},
        {"Upload-Incomplete": "?0", "Upload-Draft-Interop-Version": "3"},
        {"X-HTTP-Method-Override": "put"},
        {"OC-Total-Length": str(len(CONTENT)), "OC-Checksum": f"SHA1:{hex_of('sha1')}", "X-OC-Mtime": "1700000000"},
    ],
)
def test_a_whole_upload_of_a_resuming_client_is_an_upload(app: InProcess, headers: dict[str, str]) -> None:
    told(app, "PUT", "/a.txt", CONTENT, headers, TAKEN)


def test_a_whole_upload_that_is_longer_elsewhere_is_a_piece(app: InProcess) -> None:
    told(app, "PUT", "/a.txt", CONTENT, {"Upload-Complete": "?1", "Upload-Length": "1000"}, PIECE)


def test_a_chunk_that_is_as_long_as_the_whole_is_a_piece(app: InProcess) -> None:
    told(app, "PUT", "/a.txt", CONTENT, {"OC-Total-Length": str(len(CONTENT)), "OC-Chunked": "1"}, PIECE)


OF_OTHERS = [
    ("X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA="),
    ("X-Amz-Checksum-Crc32c", "AAAAAA=="),
    ("X-Ms-Content-Crc64", "AAAAAAAAAAA="),
    ("X-Goog-Hash", "crc32c=AAAAAA=="),
    ("Repr-Digest", "unixsum=:AAAA:"),
    ("OC-Checksum", "SHA3-256:00"),
]


@pytest.mark.parametrize(("name", "value"), OF_OTHERS)
def test_a_digest_of_others_is_passed_over_beside_one_that_is_checked_and_only_there(
    app: InProcess, name: str, value: str
) -> None:
    for said, expected in (
        ({"Content-MD5": base64("md5")}, TAKEN),
        ({"Content-MD5": base64("md5", b"other")}, MISMATCH),
        ({"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, DIGEST),
        ({"Content-MD5": ""}, DIGEST),
    ):
        headers = {name: value} | said
        told(app, "PUT", "/a.txt", CONTENT, headers, expected)
        told(app, "POST", "/uploads", form(*map(": ".join, headers.items())), FORM, expected)


AWS_CLI = {
    # What `aws --endpoint-url U s3 cp a.txt s3://uploads/a.txt` of version 1.46 sends over http, of these bytes.
    "Content-Type": "text/plain",
    "User-Agent": "aws-cli/1.46.3 md/Botocore#1.43.62 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11.7",
    "Expect": "100-continue",
    "X-Amz-Date": "20261128T050000Z",
    "X-Amz-Content-SHA256": hex_of("sha256"),
    "X-Amz-Sdk-Checksum-Algorithm": "CRC32",
    "X-Amz-Checksum-CRC32": number(zlib.crc32(CONTENT)),
    "Authorization": "AWS4-HMAC-SHA256 Credential=A/20261128/us-east-1/s3/aws4_request, Signature=0",
    "Amz-Sdk-Invocation-Id": "6bb1b2f9-0d7e-4f53-a7c4-0f6f30a4a1d6",
    "Amz-Sdk-Request": "attempt=1",
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, TAKEN),
        ({"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, TAKEN),
        ({"X-Amz-Content-SHA256": hex_of("sha256", b"other")}, MISMATCH),
        ({"X-Amz-Checksum-CRC32": number(zlib.crc32(b"other"))}, MISMATCH),
        ({"X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, DIGEST),
    ],
)
def test_the_upload_of_a_client_of_s3_is_an_upload(app: InProcess, changed: dict[str, str], expected: Outcome) -> None:
    told(app, "PUT", "/uploads/a.txt", CONTENT, AWS_CLI | changed, expected)


def test_the_refusal_names_the_header(app: InProcess) -> None:
    for name, value, expected, *_ in CASES:
        if expected != TAKEN and expected != MISMATCH and name not in NOT_ON_A_RAW_BODY:
            document = app.client.put("/a.txt", content=CONTENT, headers={name: value}).json()
            assert document.get("header") == name.lower() or "Digest" in name, document


Pairs = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("content-encoding", "identity"), ("content-encoding", "gzip")], "identity, gzip"),
        ([("repr-digest", "md5=:AA==:"), ("repr-digest", "sha-256=:AA==:")], "md5=:AA==:, sha-256=:AA==:"),
        ([("content-type", "text/plain"), ("content-type", "text/plain")], "text/plain"),
        ([("x-other", "a"), ("x-other", "b")], "a"),
    ],
)
def test_a_header_in_several_lines_is_one_header(pairs: Pairs, expected: str) -> None:
    assert gathered(pairs) == {pairs[0][0]: expected}


@pytest.mark.parametrize(
    "name", ["content-type", "content-disposition", "content-transfer-encoding", "content-range", "upload-complete"]
)
def test_a_header_that_is_said_twice_and_differently_is_refused(name: str) -> None:
    with pytest.raises(ServiceError, match="twice") as caught:
        gathered([(name, "a"), (name, "b")])

    assert caught.value.kind is BAD_REQUEST


def test_two_lines_of_a_coding_are_refused_on_the_wire_too(app: InProcess) -> None:
    headers = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]

    assert app.client.put("/a.txt", content=CONTENT, headers=headers).json()["code"] == "content_encoding"
    assert_nothing_is_left(app)


# What is undone.

WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "base64": lambda content: b64encode(content) + b"\r\n",
    "quoted-printable": lambda content: b"".join(b"=%02X=\r\n" % byte for byte in content) + b"=0D",
}


@pytest.mark.parametrize("encoding", WRITERS)
def test_digests_of_a_part_cover_the_bytes_after_decoding(app: InProcess, encoding: str) -> None:
    content = CONTENT + b"\r" if encoding == "quoted-printable" else CONTENT
    encoded = WRITERS[encoding](CONTENT)
    headers = [
        f"Content-Transfer-Encoding: {encoding}",
        f"Repr-Digest: sha-256=:{base64('sha256', content)}:",
        f"Content-MD5: {base64('md5', content)}",
    ]

    for length in (len(content), len(encoded)):
        body = form(*headers, f"Content-Length: {length}", content=encoded)
        answer = app.client.post("/uploads", content=body, headers=FORM)
        assert answer.status_code == 202, answer.text
        assert original(app, answer) == content
        assert answer.json()["source"]["size_bytes"] == len(content)
    wrong = form(headers[0], f"Content-MD5: {base64('md5', encoded)}", content=encoded)
    app.refusal("POST", "/uploads", 400, "digest_mismatch", content=wrong, headers=FORM)


@pytest.mark.parametrize(("size", "encoding"), list(product([10, 200_000], WRITERS)))
def test_a_broken_encoding_is_refused_however_late_and_nothing_is_left(
    app: InProcess, size: int, encoding: str
) -> None:
    encoded = WRITERS[encoding](gzip.compress(bytes(size), 0)) + b"="
    body = form(f"Content-Transfer-Encoding: {encoding}", content=encoded)

    document = app.refusal("POST", "/uploads", 400, "bad_encoding", content=body, headers=FORM)

    assert encoding in document["detail"]
    assert_nothing_is_left(app)


def test_an_option_may_be_encoded_too(app: InProcess) -> None:
    option = (
        b'--b\r\nContent-Disposition: form-data; name="format"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + b64encode(b"gzip")
        + b"\r\n"
    )

    answer = app.client.post("/uploads", content=option + form(), headers=FORM)

    assert answer.json()["format"] == "gzip"


def test_the_digest_of_an_option_is_checked_too(app: InProcess) -> None:
    def option(digest: str) -> bytes:
        head = f'--b\r\nContent-Disposition: form-data; name="format"\r\nContent-MD5: {digest}\r\n\r\n'
        return head.encode() + b"gzip\r\n"

    right, wrong = (option(base64("md5", content)) + form() for content in (b"gzip", b"zstd"))
    app.refusal("POST", "/uploads", 400, "digest_mismatch", content=wrong, headers=FORM)
    assert_nothing_is_left(app)
    assert app.client.post("/uploads", content=right, headers=FORM).json()["format"] == "gzip"
