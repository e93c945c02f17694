"""Digest fields of RFC 9530, read and written."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from hashlib import md5, sha256, sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BAD_DIGEST, DIGEST_MISMATCH, ServiceError
from service.web.http.digests import FIELDS, check_digests, digest_field, expected_digests, wants_sha256

HEX = sha256(b"hello").hexdigest()
BASE64 = b64encode(sha256(b"hello").digest()).decode()
FIELD = f"sha-256=:{BASE64}:"
OTHER = f"sha-256=:{b64encode(sha256(b'other').digest()).decode()}:"
SHA_512 = f"sha-512=:{b64encode(sha512(b'hello').digest()).decode()}:"


@pytest.mark.parametrize(
    "headers",
    [
        {"repr-digest": FIELD},
        {"content-digest": FIELD},
        {"repr-digest": FIELD, "content-digest": FIELD},
        {"repr-digest": f"unixsum=:AAAA:, {FIELD}"},
        {"repr-digest": f"{FIELD}; parameter=1"},
        {"digest": f"unixsum=12, SHA-256={BASE64}"},
        {"digest": f" id-sha-256={BASE64} ,"},
        {"x-amz-content-sha256": HEX.upper()},
        {"x-checksum-sha256": f" {HEX} "},
        {"oc-checksum": f"Sha256:{HEX}"},
        {"x-amz-content-sha256": HEX, "x-amz-checksum-crc64nvme": "AAAAAAAAAAA="},
        {"x-amz-checksum-sha256": BASE64, "x-goog-hash": "crc32c=AAAAAA=="},
    ],
)
def test_the_sha_256_is_read(headers: dict[str, str]) -> None:
    assert expected_digests(headers) == {"sha256": HEX}


def test_every_algorithm_that_is_named_is_read() -> None:
    headers = {"repr-digest": f"{SHA_512}, {FIELD}", "content-md5": b64encode(md5(b"hello").digest()).decode()}

    found = expected_digests(headers)

    assert found == {"sha256": HEX, "sha512": sha512(b"hello").hexdigest(), "md5": md5(b"hello").hexdigest()}


@pytest.mark.parametrize("headers", [{}, {"repr-digest": ""}, {"digest": ""}, {"etag": HEX}])
def test_without_a_digest_nothing_is_expected(headers: dict[str, str]) -> None:
    assert expected_digests(headers) == {}


@pytest.mark.parametrize(
    "header",
    [
        "sha-256",
        "sha-256=abc",
        'sha-256="abc"',
        "sha-256=:YWJj:",
        "sha-256=:!!!:",
        f"sha-256={HEX}",
        "=",
        "sha-256=(:YQ==:)",
        "md5=:YWJj:",
        f"{FIELD}, sha-512=:YWJj:",
        f"{FIELD}, " + "a=1, " * 2000,
    ],
)
def test_a_malformed_digest_is_refused_with_the_form_to_use(header: str) -> None:
    with pytest.raises(ServiceError, match="sha-256=:BASE64:") as caught:
        expected_digests({"repr-digest": header})

    assert caught.value.kind is BAD_DIGEST


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("digest", f"md5={HEX}"),
        ("digest", "md5"),
        ("digest", "md5=YWJj"),
        ("digest", f"sha-256={BASE64}, SHA-256={BASE64}"),
        ("content-md5", "YWJj"),
        ("content-md5", "not base64"),
        ("content-md5", "\xe9"),
        ("x-checksum-sha1", HEX),
        ("x-checksum-md5", "0x12"),
        ("x-amz-content-sha256", "UNSIGNED"),
    ],
)
def test_a_malformed_digest_of_other_fields_is_refused_too(header: str, value: str) -> None:
    with pytest.raises(ServiceError, match=header) as caught:
        expected_digests({header: value})

    assert caught.value.kind is BAD_DIGEST


@pytest.mark.parametrize(
    ("header", "value"), [("repr-digest", "unixsum=:AAAA:, crc32c=:AAAA:"), ("digest", "unixsum=30637, crc32c=1")]
)
def test_a_field_of_other_algorithms_alone_is_refused_with_ours(header: str, value: str) -> None:
    with pytest.raises(ServiceError, match="sha-512") as caught:
        expected_digests({header: value})

    assert caught.value.kind is BAD_DIGEST


def test_two_fields_that_differ_are_refused() -> None:
    with pytest.raises(ServiceError, match="different things") as caught:
        expected_digests({"repr-digest": FIELD, "content-digest": OTHER})

    assert caught.value.kind is BAD_DIGEST


@given(st.sampled_from(sorted(FIELDS)), st.text(st.characters(max_codepoint=255), max_size=100))
def test_any_other_text_is_no_digest_or_a_bad_one(header: str, text: str) -> None:
    with suppress(ServiceError):
        assert expected_digests({header: text}) == {}


@pytest.mark.parametrize(
    ("header", "is_wanted"),
    [
        ("sha-256=1", True),
        ("sha-512=3, sha-256=10", True),
        ("sha-256=0", False),
        ("sha-512=1", False),
        ("sha-256", True),
        ("sha-256=high", False),
        ("nonsense!", False),
        ("", False),
        (None, False),
    ],
)
def test_a_digest_is_wanted_where_its_weight_is_above_zero(header: str | None, is_wanted: bool) -> None:
    assert wants_sha256(header) is is_wanted


@given(st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read_back(digest: bytes) -> None:
    assert expected_digests({"repr-digest": digest_field(digest.hex())}) == {"sha256": digest.hex()}


def test_the_same_digests_pass_and_no_expectation_passes() -> None:
    check_digests({"sha256": HEX}, {"sha256": HEX, "md5": "00"}, "a.txt")
    check_digests({}, {"sha256": HEX}, "a.txt")
    check_digests({}, {}, "a.txt")


def test_another_digest_is_refused_with_both_in_it() -> None:
    with pytest.raises(ServiceError, match=r"a\.txt") as caught:
        check_digests({"md5": "01", "sha256": HEX}, {"md5": "01", "sha256": "00" * 32}, "a.txt")

    assert caught.value.kind is DIGEST_MISMATCH
    assert caught.value.members == {"expected_sha256": HEX, "received_sha256": "00" * 32}
