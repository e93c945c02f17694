"""The page on security names tests that are there, settings and codes that exist, and every number of its list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service import errors, failures
from service.settings import PREFIX, Settings
from service.web.documented.schemas import LimitsDocument

PAGE = Path("docs/security.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| [SR5]\d?[\d.,SR ]* \|", line)]
NUMBERS = {f"S{number}" for number in (*range(1, 14), *range(20, 29), *range(30, 50))} | {
    f"R{number}" for number in range(1, 29)
}
EXCUSES = ("waits for", "not read as such", "not offered", "needs a file system", "measured by")


@pytest.mark.parametrize("named", sorted(set(re.findall(r"(?:tests/[\w/]+|\btest_\w+)\.py(?:::\w+)?", PAGE))))
def test_a_named_test_is_there(named: str) -> None:
    where, _, name = named.partition("::")
    [path] = [Path(where)] if "/" in where else Path("tests").rglob(where)

    assert path.is_file()
    assert not name or re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_number_has_a_test_or_says_why_not() -> None:
    found = {number.strip() for row in ROWS for number in row[0].split(",")}

    assert {number for number in found if number[0] in "SR"} == NUMBERS
    assert [row for row in ROWS if "test_" not in row[-1] and not row[-1].startswith(EXCUSES)] == []


def test_settings_and_codes_of_the_page_exist() -> None:
    kinds = {kind.code for kind in vars(errors).values() if isinstance(kind, errors.ErrorKind)} | set(failures.FAILURES)
    table = PAGE.partition("## Limits")[2].partition("## Files")[0]
    settings = set(re.findall(rf"`{PREFIX}([A-Z_]+)`", PAGE))

    assert {name.lower() for name in settings} <= set(Settings.model_fields)
    assert {code for code in re.findall(r"`([a-z_]+)`", table) if code != "vacpack_limits_met_total"} <= kinds


def test_a_limit_of_the_table_is_told_to_clients_or_named_as_the_operators() -> None:
    limits = PAGE.partition("## Limits")[2].partition("## Files")[0]
    table, _, theirs = limits.partition("For operators only")
    named, kept = (
        {name.lower() for name in re.findall(rf"`{PREFIX}([A-Z_]+)`", text)}
        for text in (table.partition("| --- |")[2], theirs)
    )

    assert len(kept) == 7
    assert named - kept == named & set(LimitsDocument.model_fields)
