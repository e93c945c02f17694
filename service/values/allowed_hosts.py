"""Host names in a setting: one by one, with all below a name, or all there are."""

from __future__ import annotations

import re

ANY = "*"
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def read_hosts(names: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, in lower case: ``up.example``, ``*.example``, ``*``.

    Raises:
        ValueError: one is no name of a host.
    """
    hosts = tuple(name.strip().lower() for name in names.split(",") if name.strip())
    for host in hosts:
        if host != ANY and not _NAME.fullmatch(host):
            raise ValueError(f"{host!r} is no name of a host: up.example, *.example for all below it, or * for any")
    return hosts


def is_named(name: str, hosts: tuple[str, ...]) -> bool:
    """Return whether a name, in lower case, is among these, or below one of them that begins with ``*.``."""
    return any(host in (ANY, name) or (host.startswith("*.") and name.endswith(host[1:])) for host in hosts)
