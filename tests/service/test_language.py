"""The catalogues: both languages say everything, in the same terms as the errors they translate."""

from __future__ import annotations

import re

import pytest

from service.errors import ERRORS
from service.failures import FAILURES
from service.language import DEFAULT, LANGUAGES, words


def under(prefix: str, language: str = DEFAULT) -> dict[str, str]:
    """Return the part of a catalogue whose keys begin so."""
    return {key: text for key, text in words(language).catalogue.items() if key.startswith(prefix)}


def test_all_catalogues_have_the_same_keys_with_the_same_values_to_fill_in() -> None:
    fields = {
        language: {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in words(language).catalogue.items()}
        for language in LANGUAGES
    }
    for language in LANGUAGES:
        assert fields[language] == fields[DEFAULT]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty(language: str) -> None:
    assert [key for key, text in words(language).catalogue.items() if not text.strip()] == []


def test_every_error_and_failure_has_its_title_and_the_english_one_is_the_same_as_in_the_api() -> None:
    assert under("error.") == {f"error.{code}": kind.title for code, kind in ERRORS.items()}
    assert under("failure.") == {f"failure.{code}": kind.title for code, kind in FAILURES.items()}


def test_advice_is_for_codes_that_exist() -> None:
    codes = {key.removeprefix("advice.") for key in under("advice.")}
    assert codes - set(ERRORS) - set(FAILURES) == {"other"}


def test_chinese_is_chinese() -> None:
    english, chinese = words("en").catalogue, words("zh-CN").catalogue
    same = {key for key, text in chinese.items() if text == english[key]}
    assert same == {"state.succeeded"}


def test_an_unknown_language_is_answered_in_the_default_one() -> None:
    assert words("tlh") is not None
    assert words("tlh").language == DEFAULT


def test_a_missing_key_is_an_error_and_not_an_empty_place() -> None:
    with pytest.raises(KeyError):
        words("en")("no.such.key")


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_numbers_of_things(count: int, text: str) -> None:
    assert words("en").counted("files", count) == text
