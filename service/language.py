"""What people read, in English or Simplified Chinese: one flat catalogue a language, for pages, script and messages.

Machine-read text (codes, problem documents, the text lines for curl) stays English.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

LANGUAGES: Mapping[str, str] = {"en": "English", "zh-CN": "简体中文"}
"""The languages there are, by tag (RFC 5646), each under its own name."""

DEFAULT = "en"


class Words:
    """The catalogue of one language. Called with a key and values it returns the text: ``say("act.cancel")``."""

    def __init__(self, language: str, catalogue: Mapping[str, str]) -> None:
        self.language = language
        self.catalogue = catalogue

    def __call__(self, key: str, **values: object) -> str:
        """Return the text with each ``{name}`` replaced by its value.

        Raises:
            KeyError: no such key, or no value for a name in the text.
        """
        return self.catalogue[key].format_map(values)

    def counted(self, key: str, count: int) -> str:
        """Return the text for a number of things; English has two forms, ``key.one`` and ``key.other``."""
        return self(f"{key}.{'one' if count == 1 else 'other'}", count=count)

    def or_else(self, key: str, other: str) -> str:
        """Return the text of a key, or of another where there is none."""
        return self(key if key in self.catalogue else other)


@cache
def words(language: str) -> Words:
    """Return the catalogue of a language, the default one's where there is none."""
    name = language if language in LANGUAGES else DEFAULT
    text = (files("service") / "catalogues" / f"{name}.json").read_text("utf-8")
    return Words(name, json.loads(text))
