"""The options of an upload, alike on every door: as query parameters and as fields of the form."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.codecs.terms import ARCHIVE_FORMATS, Format, Level
from service.errors import BAD_OPTION, ONE_FILE_ONLY, UNKNOWN_OPTION, ServiceError

AUTO = "auto"
FORMATS = (AUTO, *(str(name) for name in Format))
LEVELS = tuple(str(name) for name in Level)
ARCHIVES = tuple(map(str, ARCHIVE_FORMATS))
NAMES = ("format", "level", "expires", "notify_email", "callback_url", "filename", "idempotency_key", "key")
"""Every name a query or a form may use. ``key`` is for the manage links; ``filename`` names a raw body."""
LISTS = frozenset({"notify_email"})
"""Names that may be given several times; all values count, and stand joined by commas."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([0-9]{1,9}) ?([smhdw]?)")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; every value is one that is allowed."""

    format: str = AUTO
    level: str = str(Level.BALANCED)
    ttl_seconds: int | None = None


def put(values: dict[str, str], name: str, value: str) -> None:
    """Put one more value among ``values``: of a list all that are not empty count, of the others there is one.

    Raises:
        ServiceError: bad_option, another value was there: which of them was meant nobody knows.
    """
    earlier = values.get(name, "")
    if earlier and value != earlier and name in NAMES and name not in LISTS:
        raise ServiceError(BAD_OPTION, f"{name} is given twice, with different values.", option=name)
    values[name] = ",".join(filter(None, (earlier, value))) if name in LISTS else value


def check_names(names: Iterable[str]) -> None:
    """Refuse names that mean nothing, so that a misspelt option is not lost in silence.

    Raises:
        ServiceError: unknown_option, with the nearest name that exists.
    """
    for name in names:
        if name not in NAMES:
            near = difflib.get_close_matches(name[:100], NAMES, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(NAMES[:-2])}."
            raise ServiceError(UNKNOWN_OPTION, f"{name[:100]!r} is not an option. {hint}", option=name[:100])


def read_options(values: Mapping[str, str], *, max_ttl_seconds: int) -> Options:
    """Return the options among ``values``; the defaults for those that are missing. Empty is no value.

    Raises:
        ServiceError: bad_option, naming the values that are allowed.
    """
    if not values:
        return Options()
    format_name = values.get("format", AUTO)
    level = values.get("level", str(Level.BALANCED))
    _check("format", format_name, FORMATS)
    _check("level", level, LEVELS)
    expires = values.get("expires")
    return Options(format_name, level, None if expires is None else _seconds(expires, max_ttl_seconds))


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        detail = f"{option} must be one of {', '.join(allowed)}; not {value[:100]!r}."
        raise ServiceError(BAD_OPTION, detail, option=option, allowed=list(allowed))


def _seconds(value: str, longest: int) -> int:
    found = _DURATION.fullmatch(value.strip().lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= longest:
        detail = f"expires must be a time like 30m, 12h or 7d, of at most {longest} seconds; not {value[:100]!r}."
        raise ServiceError(BAD_OPTION, detail, option="expires", max_seconds=longest)
    return seconds


def check_count(format_name: str, files: int) -> None:
    """Refuse several files for a format that holds one.

    Raises:
        ServiceError: one_file_only, naming the archives.
    """
    if files > 1 and format_name not in (AUTO, *ARCHIVES):
        detail = f"{format_name} holds one file; for several ask for {', '.join(ARCHIVES)}, or upload them one by one."
        raise ServiceError(ONE_FILE_ONLY, detail, option="format", allowed=list(ARCHIVES))
