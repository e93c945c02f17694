"""Finished deflate streams, opened and joined."""

from __future__ import annotations

import random
import zlib

import deflate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.codecs.open_deflate import opened
from service.codecs.terms import CodecError
from tests.service.payloads import mixed, noise, text

LAST = b"\x03\x00"


def one_stream(data: bytes) -> bytes:
    """Decode a raw deflate stream that must end where ``data`` does."""
    decoder = zlib.decompressobj(-15)
    content = decoder.decompress(data)
    assert decoder.eof
    assert decoder.unused_data == b""
    return content


def deflated(plain: bytes, level: int) -> bytes:
    return bytes(deflate.deflate_compress(plain, level))


def stdlib(plain: bytes, strategy: int) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, 8, strategy)
    return compressor.compress(plain) + compressor.flush()


def skewed(size_bytes: int, seed: int) -> bytes:
    """Bytes of which some are frequent, so that blocks end at any bit."""
    return bytes(random.Random(seed).choices(range(256), [1 / (byte + 1) for byte in range(256)], k=size_bytes))


PLAINS = {
    "nothing": b"",
    "one byte": b"x",
    "text": text(300_000),
    "noise": noise(200_000),
    "zeros": bytes(1 << 20),
    "text, noise, zeros": mixed(1 << 20),
    "noise after text": text(50_001) + noise(70_001),
    "skewed": skewed(100_000, 1),
}


@pytest.mark.parametrize("level", [0, 1, 6, 10, 12])
@pytest.mark.parametrize("name", PLAINS)
def test_an_opened_stream_goes_on_with_whatever_follows(name: str, level: int) -> None:
    plain = PLAINS[name]
    first = opened(deflated(plain, level), plain)

    assert one_stream(first + LAST) == plain
    assert one_stream(first + first + deflated(b"the end", level)) == 2 * plain + b"the end"


@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE])
def test_blocks_of_every_kind_are_measured(strategy: int) -> None:
    for size_bytes in [*range(40), 70_000]:
        plain = text(70_000)[:size_bytes]

        assert one_stream(opened(stdlib(plain, strategy), plain) + LAST) == plain


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([text, noise, skewed]), max_size=4),
    st.integers(0, 60_000),
    st.integers(0, 1 << 30),
    st.sampled_from([1, 6, 10]),
)
def test_any_stream_can_be_opened(makers: list[object], size_bytes: int, seed: int, level: int) -> None:
    plain = b"".join(maker(size_bytes, seed) for maker in makers)  # type: ignore[operator]

    assert one_stream(opened(deflated(plain, level), plain) + LAST) == plain


def test_a_cut_off_stream_is_refused() -> None:
    plain = text(100_000)

    with pytest.raises(CodecError):
        opened(deflated(plain, 6)[:-10], plain)
