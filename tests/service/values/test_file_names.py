"""Names become safe to show, to send, to save and to unpack, whatever they are: the same for uploads and archives."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.codecs.archive_name import archive_names
from service.values.file_names import (
    FALLBACK,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    MAX_PATH_CHARACTERS,
    MAX_RUN_OF_MARKS,
    clean_name,
    clean_path,
)

ANY_NAME = st.text(max_size=400) | st.text(st.sampled_from('a.é\u0301 \x00"/\\\u202e\u200econ\U0001f600'), max_size=300)


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("big.log", "big.log"),
        ("报告 最终版.pdf", "报告 最终版.pdf"),
        ("🎉 party 👩‍👩‍👧.png", "🎉 party 👩‍👩‍👧.png"),
        ("two  spaces.txt", "two  spaces.txt"),
        ('say "hi".txt', "say _hi_.txt"),
        ("it's.txt", "it's.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("/abs/path/", "path"),
        ("a\r\nX-Evil: 1", "aX-Evil_ 1"),
        ("nul\x00byte.txt", "nulbyte.txt"),
        ("\u202egpj.exe", "gpj.exe"),
        ("a\u200fb\u061cc\u2066d.txt", "abcd.txt"),
        ("escape\x1b[2J.txt", "escape[2J.txt"),
        ("lone\ud800surrogate", "lone%ED%A0%80surrogate"),
        ("", FALLBACK),
        (None, FALLBACK),
        (".", FALLBACK),
        ("..", FALLBACK),
        ("  . . ", FALLBACK),
        ("///", FALLBACK),
        (".bashrc", ".bashrc"),
        ("trailing. . .", "trailing"),
        ("nbsp\u00a0.", "nbsp"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("Aux .tar.gz", "_Aux .tar.gz"),
        ("com1", "_com1"),
        ("LPT²", "_LPT²"),
        ("console.log", "console.log"),
        ("a%2Fb.txt", "a%2Fb.txt"),
    ],
)
def test_a_name_is_shown_as_a_clean_base_name(given_name: str | None, shown: str) -> None:
    assert clean_name(given_name) == shown


def test_a_decomposed_name_is_composed() -> None:
    assert clean_name("cafe\u0301.txt") == "caf\u00e9.txt"


def test_a_mark_taken_out_from_within_a_letter_leaves_the_letter_composed() -> None:
    assert clean_name("e\u200e\u0301") == "\u00e9"


def test_a_long_name_is_cut_before_its_suffix() -> None:
    name = clean_name("x" * 4000 + ".tar")

    assert name == "x" * 236 + ".tar"


@pytest.mark.parametrize("letter", ["é", "中", "🎉"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_name_is_cut_between_characters(letter: str, shift: int) -> None:
    name = clean_name("x" * shift + letter * 1000 + ".log")

    assert re.fullmatch(f"x{{{shift}}}{letter}+\\.log", name)
    assert MAX_NAME_BYTES - len(letter.encode()) < len(name.encode()) <= MAX_NAME_BYTES


def test_a_long_suffix_is_no_suffix() -> None:
    assert clean_name("a." + "b" * 300) == "a." + "b" * 238


def test_a_name_that_a_cut_makes_a_device_is_none_either() -> None:
    assert clean_name("con" + " " * 300 + "x") == "_con"


@given(ANY_NAME)
@example("con." + "a" * 300)
@example("." * 250 + "a" * 30)
def test_every_name_becomes_a_safe_one(name: str) -> None:
    cleaned = clean_name(name)

    assert 0 < len(cleaned.encode()) <= MAX_NAME_BYTES
    assert not set('/\\"<>:|?*\0\r\n\u202e\u200e') & set(cleaned)
    assert all(unicodedata.category(character) not in ("Cc", "Cs") for character in cleaned)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip().rstrip(".")
    assert cleaned.split(".")[0].strip().lower() not in ("con", "prn", "aux", "nul", "com1")


@given(ANY_NAME)
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    cleaned = clean_name(name)

    assert clean_name(cleaned) == cleaned


@pytest.mark.parametrize(
    "name",
    [
        ("." * 30_000 + "x") * 2,
        "a" + "\u0301" * 32_000,
        "a\u0301" * 16_000 + ".txt",
        "\u200b" * 60_000 + "x",
        "x." + "\u0323" * 9_999,
    ],
)
def test_no_more_of_a_hostile_name_is_normalised_than_can_be_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # NFC takes time in step with the square of the marks on a letter: 0.8 s for 32,000.
    lengths: list[int] = []

    def normalize(form: str, text: str) -> str:
        lengths.append(len(text))
        return unicodedata.normalize(form, text)

    monkeypatch.setattr("service.values.file_names.unicodedata", Normalizing(normalize))
    clean_name(name)

    assert lengths
    assert max(lengths) <= 500


def test_a_path_is_cleaned_from_its_end_and_no_further_than_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[str] = []
    monkeypatch.setattr("service.values.file_names._clean_segment", lambda segment: cleaned.append(segment) or segment)

    clean_path("folder/" * 9_000 + "x")

    assert len(cleaned) <= MAX_PATH_CHARACTERS


class Normalizing:
    """``unicodedata`` that tells what it normalises."""

    def __init__(self, normalize: object) -> None:
        self.normalize = normalize
        self.category = unicodedata.category


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("👩\u200d👩\u200d👧.png", "👩\u200d👩\u200d👧.png"),
        ("❤\ufe0f\u200d🔥.png", "❤\ufe0f\u200d🔥.png"),
        ("👍🏽.png", "👍🏽.png"),
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f.png",) * 2,
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),
        ("क्\u200dष.txt", "क्\u200dष.txt"),
        ("a\u200db\u200cc.txt", "abc.txt"),
        ("a\U000e0061\U000e0062.txt", "a.txt"),
        ("葛\U000e0100城.txt", "葛\U000e0100城.txt"),
        ("so\u00adft\ufeff.txt", "soft.txt"),
        ("\U0001fae8 newer than the tables.png", "\U0001fae8 newer than the tables.png"),
        ("\ufffd\ufffd.txt", "\ufffd\ufffd.txt"),
    ],
)
def test_what_shapes_letters_and_emoji_stays_and_what_only_hides_goes(given_name: str, shown: str) -> None:
    assert clean_name(given_name) == shown


@pytest.mark.parametrize("hidden", ["\x00", "\u200b\u202e", " ", "\u3164", "\U000e0041", "\ufeff"])
def test_what_was_not_hidden_is_not_hidden_by_what_it_loses(hidden: str) -> None:
    assert clean_name(f"{hidden}.txt") == "_.txt"


@pytest.mark.parametrize("cluster", ["e\u0323\u0302x\u0336", "👩\u200d👩\u200d👧", "👍🏽", "🇩🇪", "%B2", "क्\u200dष"])
@pytest.mark.parametrize("shift", range(7))
def test_a_cut_parts_no_letter_from_its_marks_and_no_emoji(cluster: str, shift: int) -> None:
    clean = unicodedata.normalize("NFC", cluster)
    units = {unicodedata.normalize("NFC", "e\u0323\u0302"), "x\u0336", clean}

    stem = clean_name("z" * shift + cluster * 100 + ".txt").removesuffix(".txt")[shift:]

    assert len(stem.encode()) > 200
    assert not re.sub("|".join(sorted(map(re.escape, units), key=len, reverse=True)), "", stem)


def test_more_marks_than_any_language_has_are_left_off() -> None:
    assert clean_name("x" + "\u0336" * 200 + ".txt") == "x" + "\u0336" * MAX_RUN_OF_MARKS + ".txt"


@given(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=40))
def test_letters_and_digits_stay(name: str) -> None:
    cleaned = clean_name(name)
    fillers = "\u115f\u1160\u3164\uffa0"

    assert cleaned.removeprefix("_") in (unicodedata.normalize("NFC", re.sub(f"[{fillers}]", "", name)), FALLBACK)


@pytest.mark.parametrize(
    ("given_path", "kept"),
    [
        ("photos/2026/a.jpg", "photos/2026/a.jpg"),
        ("/../a/./b//../../c.txt", "a/b/c.txt"),
        ("C:\\x\\y.txt", "x/y.txt"),
        ("a/\u202e/b", "a/b"),
        ("aux/con.txt", "_aux/_con.txt"),
        ("../..", FALLBACK),
        ("", FALLBACK),
        (None, FALLBACK),
    ],
)
def test_a_path_keeps_its_folders_and_climbs_nowhere(given_path: str | None, kept: str) -> None:
    assert clean_path(given_path) == kept


@given(st.lists(ANY_NAME, max_size=12).map("/".join))
def test_every_path_is_relative_and_bounded(path: str) -> None:
    cleaned = clean_path(path)

    assert 0 < len(cleaned) <= MAX_PATH_CHARACTERS
    assert len(cleaned.encode()) <= MAX_PATH_BYTES
    assert clean_path(cleaned) == cleaned
    assert archive_names([path]) == [cleaned]
    assert clean_name(path) == cleaned.rpartition("/")[2]
    assert not {"", ".", ".."} & set(cleaned.split("/"))


def test_a_name_cut_at_a_joiner_stays_as_it_is() -> None:
    name = clean_path("😀\u200d" * 35)

    assert name == clean_path(name)
    assert not name.endswith("\u200d")
