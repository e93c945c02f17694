"""The locks are complete: what they name is installed without being resolved, on every Python and system."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from itertools import product
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "darwin": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
Environment = Mapping[str, str]


def environments() -> Iterator[dict[str, str]]:
    """Yield what markers are judged by, for every Python and system that the README promises."""
    for python, system in product(PYTHONS, SYSTEMS.values()):
        here = {name: str(value) for name, value in default_environment().items()}
        yield here | system | {"python_version": python, "python_full_version": f"{python}.0"}


def applies(requirement: Requirement, environment: Environment, extras: Iterable[str] = ("",)) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in extras)


def locked(text: str, environment: Environment) -> dict[str, str]:
    """Return the version of each package that the lock installs in this environment."""
    pins = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match(r"[A-Za-z0-9].*==", line)]
    assert all("==" in str(pin.specifier) for pin in pins)
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins if applies(pin, environment)
    }


def needed_by(requirement: Requirement, environment: Environment) -> list[Requirement]:
    """Return what a package that is installed here needs, the extras it is asked for with included."""
    try:
        found = [Requirement(text) for text in requires(requirement.name) or []]
    except PackageNotFoundError:  # For another Python or system alone; its own requirements cannot be seen here.
        return []
    return [one for one in found if applies(one, environment, ("", *requirement.extras))]


def unmet(asked: list[Requirement], text: str, environment: Environment) -> set[str]:
    """Return every requirement, of those asked for and of what they need, that the lock does not meet."""
    pins, waiting, seen, missing = locked(text, environment), list(asked), set[str](), set[str]()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            missing.add(str(requirement))
        else:
            waiting += needed_by(requirement, environment)
    return missing


def asked_for(group: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = list(project["project"]["dependencies"])
    waiting = [group]
    while waiting:
        for entry in project["dependency-groups"][waiting.pop()]:
            (names if isinstance(entry, str) else waiting).append(
                entry if isinstance(entry, str) else entry["include-group"]
            )
    return [Requirement(name) for name in names]


@pytest.mark.parametrize(("lock", "group"), [("run.lock", "build"), ("dev.lock", "dev")])
def test_a_lock_meets_every_requirement_of_every_package_in_it(lock: str, group: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    for environment in environments():
        here = [one for one in asked_for(group) if applies(one, environment)]
        assert not unmet(here, text, environment)


def test_a_lock_without_a_package_an_extra_needs_is_incomplete() -> None:
    text = (ROOT / "requirements/dev.lock").read_text()
    environment = next(environments())
    asked = [Requirement("coverage[toml]>=7"), Requirement("pytest-cov")]
    assert not unmet(asked, text, environment)
    assert unmet(asked, re.sub(r"^coverage==\S+", "coverage==7.0", text, flags=re.MULTILINE), environment)
    assert unmet(asked, text.replace("pluggy==", "plugged=="), environment) >= {"pluggy>=1.2"}
    older = environment | {"python_version": "3.10", "python_full_version": "3.10.0"}
    assert any("tomli" in one for one in unmet(asked, text, older))


@pytest.mark.parametrize("lock", ["run.lock", "dev.lock"])
def test_a_lock_pins_with_hashes_and_names_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|--(extra-)?index-url|--find-links| @ ", text)


def test_the_locks_agree() -> None:
    run, dev = ((ROOT / "requirements" / name).read_text() for name in ("run.lock", "dev.lock"))
    for environment in environments():
        assert locked(run, environment).items() <= locked(dev, environment).items()
