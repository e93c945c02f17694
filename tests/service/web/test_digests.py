"""Digest fields of RFC 9530, read and written."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from hashlib import sha256, sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BAD_DIGEST, DIGEST_MISMATCH, ServiceError
from service.web.digests import check_sha256, digest_field, expected_sha256, wants_sha256

HEX = sha256(b"hello").hexdigest()
FIELD = f"sha-256=:{b64encode(sha256(b'hello').digest()).decode()}:"
OTHER = f"sha-256=:{b64encode(sha256(b'other').digest()).decode()}:"
SHA_512 = f"sha-512=:{b64encode(sha512(b'hello').digest()).decode()}:"


@pytest.mark.parametrize(
    "headers",
    [
        (FIELD,),
        (None, FIELD),
        (FIELD, FIELD),
        (f"{SHA_512}, {FIELD}",),
        (f"{FIELD}; parameter=1",),
        (SHA_512, FIELD),
    ],
)
def test_the_sha_256_is_read(headers: tuple[str | None, ...]) -> None:
    assert expected_sha256(*headers) == HEX


@pytest.mark.parametrize("headers", [(), (None,), (None, None), (SHA_512,), ("",)])
def test_without_a_sha_256_nothing_is_expected(headers: tuple[str | None, ...]) -> None:
    assert expected_sha256(*headers) is None


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
    ],
)
def test_a_malformed_digest_is_refused_with_the_form_to_use(header: str) -> None:
    with pytest.raises(ServiceError, match="sha-256=:BASE64:") as caught:
        expected_sha256(header)

    assert caught.value.kind is BAD_DIGEST


def test_two_fields_that_differ_are_refused() -> None:
    with pytest.raises(ServiceError, match="different things") as caught:
        expected_sha256(FIELD, OTHER)

    assert caught.value.kind is BAD_DIGEST


@given(st.text(st.characters(max_codepoint=255), max_size=100))
def test_any_other_text_is_no_digest_or_a_bad_one(text: str) -> None:
    kinds = set()
    with suppress(ServiceError):
        kinds.add(expected_sha256(text))

    assert kinds <= {None}


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
    assert expected_sha256(digest_field(digest.hex())) == digest.hex()


def test_the_same_digest_passes_and_no_expectation_passes() -> None:
    check_sha256(HEX, HEX, "a.txt")
    check_sha256(None, HEX, "a.txt")
    check_sha256(None, None, "a.txt")


def test_another_digest_is_refused_with_both_in_it() -> None:
    with pytest.raises(ServiceError, match=r"a\.txt") as caught:
        check_sha256(HEX, "00" * 32, "a.txt")

    assert caught.value.kind is DIGEST_MISMATCH
    assert caught.value.members == {"expected_sha256": HEX, "received_sha256": "00" * 32}
