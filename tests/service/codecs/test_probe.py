"""The guess whether compressing pays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from service.codecs.probe import SAMPLE_BYTES, SAMPLES, is_incompressible, probe
from tests.service.payloads import MIB, noise, text


def reader(data: bytes, calls: list[tuple[int, int]] | None = None) -> Callable[[int, int], bytes]:
    def read_at(offset: int, size: int) -> bytes:
        if calls is not None:
            calls.append((offset, size))
        return data[offset : offset + size]

    return read_at


@pytest.mark.parametrize("size_bytes", [10_000, MIB - 1, MIB, MIB + 1, 7 * MIB])
def test_noise_is_incompressible_and_text_is_not(size_bytes: int) -> None:
    assert is_incompressible(probe(reader(noise(size_bytes)), size_bytes))
    assert probe(reader(text(size_bytes)), size_bytes) < 0.6


def test_half_noise_half_text_is_estimated_between() -> None:
    data = text(4 * MIB) + noise(4 * MIB)

    assert 0.5 < probe(reader(data), len(data)) < 0.8


def test_zeros_are_almost_nothing() -> None:
    assert probe(reader(bytes(3 * MIB)), 3 * MIB) < 0.01


def test_nothing_cannot_be_compressed() -> None:
    assert is_incompressible(probe(reader(b""), 0))


def test_large_files_are_sampled_from_the_first_byte_to_the_last() -> None:
    calls: list[tuple[int, int]] = []

    probe(reader(noise(9 * MIB), calls), 9 * MIB)

    assert len(calls) == SAMPLES
    assert calls[0] == (0, SAMPLE_BYTES)
    assert calls[-1] == (9 * MIB - SAMPLE_BYTES, SAMPLE_BYTES)
    gaps = {after[0] - before[0] for before, after in pairwise(calls)}
    assert max(gaps) - min(gaps) <= 1


def test_small_files_are_read_whole_and_once() -> None:
    calls: list[tuple[int, int]] = []

    probe(reader(text(MIB), calls), MIB)

    assert calls == [(0, MIB)]
