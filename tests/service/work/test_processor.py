"""One attempt from claim to end, over a real database and real files."""

from __future__ import annotations

import pytest

from service.codec import CODECS, Format, Level
from tests.service.payloads import text
from tests.service.work.bench import Bench, sha256


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("target", list(CODECS))
def test_every_format_and_level_stores_a_result_that_gives_the_source_back(
    bench: Bench, target: Format, level: Level
) -> None:
    content = text(300_000)
    bench.submit(content, format=target, level=level)

    row = bench.run()

    codec = CODECS[target]
    stored = bench.stored(row["result_key"])
    assert row["status"] == "succeeded"
    assert b"".join(codec.decompress([stored])) == content
    assert row["result_sha256"] == sha256(stored)
    assert row["result_size_bytes"] == len(stored)
    assert row["source_sha256"] == sha256(content)
    assert (row["result_format"], row["result_name"]) == (target, f"a.log{codec.suffix}")
    assert (row["result_media_type"], row["result_coding"]) == (codec.media_type, codec.coding)
    assert row["stored_as_is"] is False
    assert bench.keys() == {row["result_key"]}
