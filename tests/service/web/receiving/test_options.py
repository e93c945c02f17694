"""Options mean the same on every door, and what means nothing is refused with what would."""

from __future__ import annotations

import pytest

from service.errors import BAD_OPTION, ONE_FILE_ONLY, UNKNOWN_OPTION, ServiceError
from service.web.receiving.options import (
    ARCHIVES,
    FORMATS,
    LEVELS,
    NAMES,
    Options,
    check_count,
    check_names,
    put,
    read_options,
)

WEEK = 7 * 86400


def refusal_of(values: dict[str, str], *, max_ttl_seconds: int = WEEK) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        read_options(values, max_ttl_seconds=max_ttl_seconds)
    return caught.value


def test_nothing_said_is_auto_and_balanced_for_as_long_as_the_server_keeps() -> None:
    assert read_options({}, max_ttl_seconds=1) == Options("auto", "balanced", None)


@pytest.mark.parametrize("option", ["format", "level", "expires"])
def test_an_empty_value_is_none(option: str) -> None:
    # A script whose variable was not set is told so; a form's empty fields are left out before.
    assert refusal_of({option: ""}).members["option"] == option


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_asked_for(name: str) -> None:
    assert read_options({"format": name}, max_ttl_seconds=1).format == name


@pytest.mark.parametrize("name", LEVELS)
def test_every_level_can_be_asked_for(name: str) -> None:
    assert read_options({"level": name}, max_ttl_seconds=1).level == name


@pytest.mark.parametrize(("option", "allowed"), [("format", FORMATS), ("level", LEVELS)])
@pytest.mark.parametrize("value", ["lzma", "ZSTD", " zstd", "balanced\n", "x" * 5000])
def test_another_value_is_refused_with_all_that_are_allowed(option: str, allowed: tuple[str, ...], value: str) -> None:
    refusal = refusal_of({option: value})

    assert refusal.kind is BAD_OPTION
    assert refusal.members == {"option": option, "allowed": list(allowed)}
    assert all(name in refusal.detail for name in allowed)
    assert len(refusal.detail) < 300


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", WEEK), ("1w", WEEK), (" 2 H ", 7200)],
)
def test_a_time_to_keep_is_read(expires: str, seconds: int) -> None:
    assert read_options({"expires": expires}, max_ttl_seconds=WEEK).ttl_seconds == seconds


@pytest.mark.parametrize("expires", ["0", "0s", "-1", "8d", "1y", "forever", "1.5h", "1h30m", "٣h", "9" * 40, "h"])
def test_another_time_to_keep_is_refused_with_the_longest(expires: str) -> None:
    refusal = refusal_of({"expires": expires})

    assert refusal.kind is BAD_OPTION
    assert refusal.members == {"option": "expires", "max_seconds": WEEK}


def test_the_longest_time_to_keep_is_allowed_and_a_second_more_is_not() -> None:
    assert read_options({"expires": "100"}, max_ttl_seconds=100).ttl_seconds == 100
    assert refusal_of({"expires": "101"}, max_ttl_seconds=100).kind is BAD_OPTION


def test_all_names_are_known() -> None:
    check_names(NAMES)


@pytest.mark.parametrize(("name", "hint"), [("fromat", "'format'"), ("Level", "'level'"), ("file_name", "'filename'")])
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ServiceError, match=f"Did you mean {hint}") as caught:
        check_names(["level", name])

    assert caught.value.kind is UNKNOWN_OPTION
    assert caught.value.members == {"option": name}


def test_a_name_like_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(ServiceError, match=r"There are: format, level, expires, .*callback_url, filename") as caught:
        check_names(["z" * 5000])

    assert len(caught.value.members["option"]) == 100


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"auto", *ARCHIVES}))
def test_several_files_do_not_fit_a_format_of_one(name: str) -> None:
    check_count(name, 1)

    with pytest.raises(ServiceError) as caught:
        check_count(name, 2)
    assert caught.value.kind is ONE_FILE_ONLY
    assert caught.value.members["allowed"] == ["zip", "tar.zst", "tar.gz"]


@pytest.mark.parametrize("name", ["auto", *ARCHIVES])
def test_archives_take_any_number(name: str) -> None:
    check_count(name, 1)
    check_count(name, 1000)


def test_an_option_given_twice_has_one_value_or_is_refused() -> None:
    values: dict[str, str] = {}
    for name, value in (("level", ""), ("level", "small"), ("level", "small"), ("x", "1"), ("x", "2")):
        put(values, name, value)
    assert values == {"level": "small", "x": "2"}

    with pytest.raises(ServiceError, match="level is given twice") as caught:
        put(values, "level", "fast")
    assert caught.value.kind is BAD_OPTION


def test_all_values_of_a_list_count() -> None:
    values: dict[str, str] = {}
    for value in ("a@b.example", "", "c@d.example"):
        put(values, "notify_email", value)
    assert values == {"notify_email": "a@b.example,c@d.example"}
