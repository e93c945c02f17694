"""Names of clients become names that are safe to show, to send and to save; whatever they are."""

from __future__ import annotations

import re
import time
import unicodedata
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.web.filenames import (
    FALLBACK,
    MAX_NAME_BYTES,
    attachment,
    clean_name,
    clean_path,
    name_of_disposition,
    name_of_part,
    name_of_path,
)

ANY_NAME = st.text(max_size=400) | st.text(st.sampled_from('a.é\u0301 \x00"/\\\u202e\u200econ\U0001f600'), max_size=300)


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("big.log", "big.log"),
        ("报告 最终版.pdf", "报告 最终版.pdf"),
        ("🎉 party 👩‍👩‍👧.png", "🎉 party 👩‍👩‍👧.png"),
        ("two  spaces.txt", "two  spaces.txt"),
        ('say "hi".txt', "say hi.txt"),
        ("it's.txt", "it's.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("/abs/path/", "path"),
        ("a\r\nX-Evil: 1", "aX-Evil: 1"),
        ("nul\x00byte.txt", "nulbyte.txt"),
        ("\u202egpj.exe", "gpj.exe"),
        ("a\u200fb\u061cc\u2066d.txt", "abcd.txt"),
        ("escape\x1b[2J.txt", "escape[2J.txt"),
        ("lone\ud800surrogate", "lonesurrogate"),
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
    assert not set('/\\"\0\r\n\u202e\u200e') & set(cleaned)
    assert all(unicodedata.category(character) not in ("Cc", "Cs") for character in cleaned)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip().rstrip(".")
    assert cleaned.split(".")[0].strip().lower() not in ("con", "prn", "aux", "nul", "com1")


@given(ANY_NAME)
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    cleaned = clean_name(name)

    assert clean_name(cleaned) == cleaned


def test_a_hostile_name_takes_time_in_step_with_its_length() -> None:
    # Quadratic, this took seconds.
    began = time.process_time()

    clean_name(("." * 60_000 + "x") * 2)

    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("given_path", "kept"),
    [
        ("photos/2026/a.jpg", "photos/2026/a.jpg"),
        ("/../a/./b//../../c.txt", "a/b/c.txt"),
        ("C:\\x\\y.txt", "C:/x/y.txt"),
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

    assert 0 < len(cleaned) <= 1024
    assert not {"", ".", ".."} & set(cleaned.split("/"))


@given(st.text())
def test_a_parts_name_comes_back_from_what_browsers_escape(name: str) -> None:
    kept = re.sub(r"[\ud800-\udfff]", "", name)
    escaped = kept.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")

    assert name_of_part(escaped.encode()) == kept.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def test_a_parts_name_of_other_bytes_is_taken_as_far_as_it_goes() -> None:
    assert name_of_part(b"caf\xe9.txt") == "caf\ufffd.txt"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename=plain.txt", "plain.txt"),
        ('attachment; filename="with space; and.txt"', "with space; and.txt"),
        ('attachment; filename="a\\"b.txt"', 'a"b.txt'),
        ("attachment; filename*=UTF-8''%E4%B8%AD.txt", "中.txt"),
        ("attachment; filename*=UTF-8''caf%C3%A9.txt", "café.txt"),
        ("attachment; filename=\"a.txt\"; filename*=UTF-8''caf%C3%A9.txt", "café.txt"),
        ("attachment; filename*=UTF-8''caf%C3%A9.txt; filename=\"a.txt\"", "café.txt"),
        ("attachment; filename*=iso-8859-1''caf%E9.txt", "café.txt"),
        ('attachment; filename="caf\u00c3\u00a9.txt"', "café.txt"),
        ("attachment", None),
        ("", None),
        (None, None),
    ],
)
def test_the_name_in_a_content_disposition_is_read(header: str | None, name: str | None) -> None:
    assert name_of_disposition(header) == name


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_no_content_disposition_is_an_error(text: str) -> None:
    name = name_of_disposition(f"attachment; filename{text}")

    assert name is None or isinstance(name, str)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/uploads/a%20b.txt", "a b.txt"),
        (b"/a%2Fb", "a/b"),
        (b"/%25", "%"),
        (b"/%E4%B8%AD", "中"),
        (b"/\xe4\xb8\xad", "中"),
        (b"/uploads/", ""),
    ],
)
def test_the_name_in_a_path_is_decoded_once(path: bytes, name: str) -> None:
    assert name_of_path(path) == name


@given(ANY_NAME.map(clean_name))
def test_an_attachment_gives_its_name_to_browsers_and_to_curl(name: str) -> None:
    header = attachment(name)

    found = re.fullmatch(rb"attachment; filename=\"([^\"\\\r\n]*)\"; filename\*=UTF-8''([!-~]*)", header)
    assert found
    raw, extended = found.groups()
    assert raw.decode() == name
    assert unquote(extended.decode()) == name
    message = Message()
    message["content-disposition"] = f"attachment; filename*=UTF-8''{extended.decode()}"
    assert message.get_filename() == name
