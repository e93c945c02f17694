"""The parts of the documents that are made from the code: ``python -m tests.write_docs`` rewrites them.

A made part stands between ``<!-- begin NAME … -->`` and ``<!-- end NAME -->``. ``test_docs`` fails when one is not
what the code would make it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS
from service.errors import ERRORS
from service.failures import FAILURES
from service.settings import PREFIX, Settings
from service.web.receiving.header_rules import RULES
from storage.lifecycle import TRANSITIONS, JobStatus, Transition

ROOT = Path(__file__).parent.parent
ROOMS = ("service", "storage", "migrations")
MAIN_SETTINGS = (
    "host",
    "port",
    "data_dir",
    "public_url",
    "max_upload_bytes",
    "min_free_bytes",
    "result_ttl_seconds",
    "worker_jobs",
    "embedded_worker",
    "log_format",
)

_PART = re.compile(r"(<!-- begin ([a-z-]+)[^\n]*-->\n).*?(<!-- end \2 -->)", re.DOTALL)
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_TIMES = ((86400, "days"), (3600, "hours"), (60, "minutes"))


def documents() -> list[Path]:
    """Return every Markdown file of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def rewritten(text: str) -> str:
    """Return a document with its made parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", text)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def all_settings() -> str:
    return _settings_table(Settings.model_fields)


def main_settings() -> str:
    return _settings_table({name: Settings.model_fields[name] for name in MAIN_SETTINGS})


def _settings_table(fields: Mapping[str, FieldInfo]) -> str:
    rows = (
        (f"`{PREFIX}{name.upper()}`", _default(name, field), _values(field), field.description or "")
        for name, field in fields.items()
    )
    return table(("Name", "Default", "Values", "What it is"), rows)


def _default(name: str, field: FieldInfo) -> str:
    value = field.default
    if field.annotation is bool:
        return f"`{str(value).lower()}`"
    if not isinstance(value, (int, float)):
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        return f"`{text}`" if text else "empty"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`{_readable(name, value)}"


def _readable(name: str, value: int) -> str:
    units = _SIZES if name.endswith("_bytes") else _TIMES if name.endswith("_seconds") else ()
    found = next(((value // size, unit) for size, unit in units if value >= size and value % size == 0), None)
    return f" ({found[0]} {found[1] if found[0] > 1 else found[1].removesuffix('s')})" if found else ""


def _values(field: FieldInfo) -> str:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    signs = {"ge": "≥", "gt": ">", "le": "≤"}
    bounds = [f"{signs[key]} {getattr(rule, key):g}" for rule in field.metadata for key in signs if hasattr(rule, key)]
    return ", ".join([{int: "whole number", float: "number"}.get(kind, "text"), *bounds])


def client_errors() -> str:
    ordered = sorted(ERRORS.values(), key=lambda kind: kind.status)
    return table(("Status", "Code", "Title"), ((str(kind.status), f"`{kind.code}`", kind.title) for kind in ordered))


def upload_headers() -> str:
    return table(("Header", "What becomes of it"), ((_named(rule.names), rule.outcome) for rule in RULES))


def _named(names: Iterable[str]) -> str:
    # As people write them; ``*`` is kept.
    return ", ".join(f"`{'-'.join(word.capitalize() for word in name.split('-'))}`" for name in names)


def job_failures() -> str:
    rows = ((f"`{code}`", kind.title, "no" if kind.is_fatal else "yes") for code, kind in FAILURES.items())
    return table(("Code", "Title", "Tried again by itself"), rows)


def lifecycle_diagram() -> str:
    edges: dict[tuple[JobStatus | None, JobStatus | None], list[str]] = {}
    for step in TRANSITIONS:
        edges.setdefault((step.source, step.target), []).append(step.name)
    lines = (
        f"    {source or '[*]'} --> {target or '[*]'}: {', '.join(names)}" for (source, target), names in edges.items()
    )
    return "\n".join(("```mermaid", "stateDiagram-v2", *lines, "```"))


def lifecycle_table() -> str:
    def row(step: Transition) -> tuple[str, ...]:
        return f"`{step.name}`", str(step.source or "(nothing)"), str(step.target or "(gone)"), step.why

    return table(("Step", "From", "To", "Why"), map(row, TRANSITIONS))


def formats() -> str:
    head = ("`format`", "File ends in", "Media type", "Holds", "`Content-Encoding`")
    files = [(codec, "one file", f"`{codec.coding}`" if codec.coding else "none") for codec in CODECS.values()]
    archives = [(archive, "one file or more", "none") for archive in ARCHIVES.values()]
    rows = (
        (f"`{kind.format}`", f"`{kind.suffix}`", f"`{kind.media_type}`", holds, coding)
        for kind, holds, coding in [*files, *archives]
    )
    return table(head, rows)


def make_targets() -> str:
    found = re.findall(r"^([a-z]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return table(("Command", "What it does"), ((f"`make {name}`", text) for name, text in found))


def rooms() -> str:
    rows = ((f"`{path.relative_to(ROOT)}`", *told_of(path)) for path in room_folders())
    return table(("Folder", "What lives here", "What it imports"), rows)


def room_folders() -> list[Path]:
    """Return every folder of the program that has modules of its own."""
    found = (path.parent for room in ROOMS for path in (ROOT / room).rglob("__init__.py"))
    return sorted(folder for folder in found if folder.name != "versions")


def told_of(folder: Path) -> tuple[str, str]:
    """Return what a folder's docstring says in its first two paragraphs: what lives there, and what it may import."""
    told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    paragraphs = [" ".join(paragraph.split()).replace("``", "`") for paragraph in told.split("\n\n")]
    lives, imports, *_ = [*paragraphs, "", ""]
    return lives, imports


PARTS: Mapping[str, Callable[[], str]] = {
    "all-settings": all_settings,
    "main-settings": main_settings,
    "client-errors": client_errors,
    "upload-headers": upload_headers,
    "job-failures": job_failures,
    "lifecycle-diagram": lifecycle_diagram,
    "lifecycle-table": lifecycle_table,
    "rooms": rooms,
    "formats": formats,
    "make-targets": make_targets,
}


def main() -> None:
    """Rewrite the made parts of all documents."""
    for path in documents():
        text = path.read_text()
        if (fresh := rewritten(text)) != text:
            path.write_text(fresh)


if __name__ == "__main__":
    main()
