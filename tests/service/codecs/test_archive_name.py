"""Member names that can do no harm where they are unpacked."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codecs.archive_name import archive_names
from service.values.file_names import MAX_NAME_BYTES, MAX_PATH_BYTES, clean_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notes.txt", "notes.txt"),
        ("folder/sub/notes.txt", "folder/sub/notes.txt"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a/./b//c/../d", "a/b/c/d"),
        ("C:\\Users\\me\\x.doc", "Users/me/x.doc"),
        ("c:x", "c_x"),
        ("\\\\server\\share\\x", "server/share/x"),
        ("a\r\nX-Evil: 1", "aX-Evil_ 1"),
        ("nul\0byte", "nulbyte"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("中文 🎉.txt", "中文 🎉.txt"),
        ("e\u0301.txt", "é.txt"),
        ("con.txt", "_con.txt"),
        ("what?*.txt", "what__.txt"),
        ("trailing. . ", "trailing"),
        ("", "upload"),
        ("..", "upload"),
        ("\ud800lone", "%ED%A0%80lone"),
        ("c:c:/x", "c_c_/x"),
    ],
)
def test_name_is_made_safe(name: str, expected: str) -> None:
    assert archive_names([name]) == [expected]


def test_duplicates_are_numbered_before_the_suffix_also_where_case_does_not_count() -> None:
    names = ["a.txt", "A.TXT", "a.txt", "d/a.txt", "a (2).txt", ".hidden", ".hidden"]

    assert archive_names(names) == [
        "a.txt",
        "A (2).TXT",
        "a (3).txt",
        "d/a.txt",
        "a (2) (2).txt",
        ".hidden",
        ".hidden (2)",
    ]


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["A/b", "a"], ["x", "X/y/z", "x"]])
def test_no_file_has_the_name_of_another_ones_folder(names: list[str]) -> None:
    made = archive_names(names)

    folders = {str(parent).casefold() for name in made for parent in PurePosixPath(name).parents}
    assert not (folders - {"."}) & {name.casefold() for name in made}


def test_ten_thousand_files_of_one_name_are_named_in_no_time() -> None:
    made = archive_names(["same.txt"] * 10_000)

    assert made[-1] == "same (10000).txt"
    assert len(set(made)) == 10_000


def test_long_names_are_cut_before_their_suffix_and_stay_unique() -> None:
    made = archive_names(["é" * 4000 + ".log", "é" * 4000 + ".log", "x" * 300 + "." + "y" * 300])

    assert made[0].endswith("é.log")
    assert made[1].endswith("é (2).log")
    assert max(len(name.encode()) for name in made) <= MAX_NAME_BYTES


def test_deep_paths_lose_their_outer_folders() -> None:
    (made,) = archive_names(["/".join(["f" * 200] * 50) + "/x.txt"])

    assert made.endswith("f/x.txt")
    assert len(made.encode()) <= MAX_PATH_BYTES


@given(st.lists(st.text(max_size=30) | st.text(alphabet="aA./\\:( 2)", max_size=8), max_size=12))
def test_any_names_become_safe_unique_and_stay_put_when_made_again(names: list[str]) -> None:
    made = archive_names(names)

    assert len(made) == len(names)
    assert len({name.casefold() for name in made}) == len(made)
    assert made == archive_names(names)
    for name in made:
        assert name.encode()
        assert not PurePosixPath(name).is_absolute()
        assert not PureWindowsPath(name).drive
        assert "\\" not in name
        assert all(part.strip(". ") and len(part.encode()) <= MAX_NAME_BYTES for part in name.split("/"))


@given(st.lists(st.text(max_size=30).map(clean_path), unique_by=str.casefold, max_size=1))
def test_what_an_upload_is_called_is_what_its_archive_calls_it(names: list[str]) -> None:
    assert archive_names(names) == names
