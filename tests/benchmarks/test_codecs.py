"""The page on codecs measures every codec there is."""

from __future__ import annotations

from benchmarks.codecs import SETTINGS
from service.codecs.codec import CODECS
from service.codecs.terms import Level


def test_every_codec_is_measured_at_every_level() -> None:
    assert {(str(name), str(level)) for name in CODECS for level in Level} <= set(SETTINGS)
