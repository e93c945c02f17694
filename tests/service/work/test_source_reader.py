"""The one reader of sources: what it lets through is what arrived, whatever became of the stored file."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

import service.work
from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS
from service.work.source_reader import READ_BYTES
from tests.service.payloads import noise, text
from tests.service.work.bench import Bench

WORK = Path(service.work.__file__).parent
SIZES = (1, 5_000, 3 * READ_BYTES + 11)


def flipped(place: float, bit: int) -> Callable[[bytes], bytes]:
    """Return what flips one bit at a place from 0.0, the first byte, to 1.0, the last."""

    def flip(content: bytes) -> bytes:
        at = int(place * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]

    return flip


def swapped(content: bytes) -> bytes:
    return content[-1:] + content[1:-1] + content[:1]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"bit {bit} at {place}": flipped(place, bit) for place, bit in product((0.0, 0.5, 1.0), (0, 7))},
    "cut by a byte": lambda content: content[:-1],
    "emptied": lambda content: b"",
    "longer by a byte": lambda content: content + b"\0",
    "twice": lambda content: 2 * content,
    "zeros": lambda content: bytes(len(content)),
}
OTHER_BYTES = text(1000, seed=9)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("make", [text, noise], ids=["compressed", "kept"])
def test_whatever_happens_to_a_waiting_source_no_result_comes_of_it(
    bench: Bench, damage: str, size_bytes: int, make: Callable[[int], bytes]
) -> None:
    content = make(size_bytes)
    bench.submit(content, max_attempts=1)
    spoil(bench, content, DAMAGES[damage])

    row = bench.run()

    assert (row["status"], row["error_code"], row["result_key"]) == ("failed", "source_damaged", None)
    assert bench.stored_keys() == {file.key for file in bench.store.files() if file.key.startswith("s-")}


@pytest.mark.parametrize("target", [*CODECS, *ARCHIVES])
def test_every_format_reads_through_the_check(bench: Bench, target: str) -> None:
    content = text(SIZES[-1])
    is_archive = target in ARCHIVES
    contents = (OTHER_BYTES, content, OTHER_BYTES) if is_archive else (content,)
    bench.submit(*contents, names=("a", "b", "c")[: len(contents)], format=target, max_attempts=1)
    spoil(bench, content, flipped(0.7, 3))

    row = bench.run()

    assert (row["status"], row["error_code"]) == ("failed", "source_damaged")


def test_a_repaired_source_is_compressed_when_it_is_tried_again(bench: Bench) -> None:
    content = text(90_000)
    bench.submit(content)
    spoil(bench, content, swapped)
    assert bench.run()["status"] == "queued"
    spoil(bench, swapped(content), swapped)

    assert bench.run()["status"] == "succeeded"


def test_a_source_is_opened_by_its_reader_and_to_be_judged_only() -> None:
    """Reading it any other way would trust the disk: a new caller must go through ``SourceReader``."""
    opened = re.compile(r"open_source\(|open\(\w*\.?_?source")
    found = {path.name: len(opened.findall(path.read_text())) for path in WORK.rglob("*.py")}

    # The maker's is the probe.
    assert {name: count for name, count in found.items() if count} == {"source_reader.py": 3, "result_maker.py": 1}


def spoil(bench: Bench, content: bytes, damage: Callable[[bytes], bytes]) -> None:
    """Damage the stored file that holds this."""
    [path] = [path for path in bench.files_dir.glob("s-*") if path.read_bytes() == content]
    path.write_bytes(damage(content))
