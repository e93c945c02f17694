"""Closed sets: each stands in one place, and all who must know a set know all of it, in whatever language they are.

A member that is added and forgotten somewhere fails here; so does a place that writes a member's text out by hand.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import Column, Table

from service.codecs.archive import ARCHIVES
from service.codecs.codec import CODECS
from service.codecs.terms import ARCHIVE_FORMATS, STREAM_OF, TRANSCODED, Format, Level
from service.errors import ERRORS
from service.failures import FAILURES, WorkerEnd
from service.job_document import PERCENT_OF_PHASES, told_as
from service.language import LANGUAGES, words
from service.telling.mail import KEPT
from service.web.documented.jobs import GET_EVENTS
from service.web.documented.schemas import JobEnded
from service.web.following.event_format import EventName
from service.web.metrics import UploadOutcome
from service.web.receiving.options import FORMATS
from storage import models
from storage.audit_table import Action, Actor
from storage.jobs.job_views import LAST_POSITION
from storage.lifecycle import (
    ENDINGS,
    AttemptOutcome,
    DeliveryOutcome,
    JobStatus,
    MessageKind,
    MessageStatus,
    Phase,
)
from storage.trouble import Trouble
from tests.acceptance.asking import FINAL
from tests.write_docs import ROOT

CODE = sorted(path for room in ("service", "storage") for path in (ROOT / room).rglob("*.py"))
OF_ROWS: tuple[type[StrEnum], ...] = (JobStatus, Phase, AttemptOutcome, MessageStatus, DeliveryOutcome, MessageKind)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def in_project(path: Path) -> str:
    return str(path.relative_to(ROOT))


# What the code writes out.

ELSEWHERE = {
    ("service/web/metrics.py", "failed"): "an upload's outcome, an enum of its own",
    ("storage/jobs/job_rescue.py", "worker_lost"): "the code of a failure",
}
"""Words that mean something else where they stand."""


def texts(tree: ast.AST) -> Iterator[str]:
    """Return every text of a module but its docstrings."""
    told = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    for each in ast.walk(tree):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in told:
            yield each.value


@pytest.mark.parametrize("path", CODE, ids=in_project)
def test_no_member_of_a_closed_set_is_written_out(path: Path) -> None:
    members = {str(member) for closed in OF_ROWS for member in closed}
    written = set() if path.name == "lifecycle.py" else set(texts(ast.parse(path.read_text())))
    in_sql = {name for text in written for name in re.findall(r"status\s*(?:!?=|IN)\s*\(?\s*'(\w+)'", text)}

    assert {word for word in (written & members) | in_sql if (in_project(path), word) not in ELSEWHERE} == set()


@pytest.mark.parametrize("path", CODE, ids=in_project)
def test_no_member_is_known_by_its_place(path: Path) -> None:
    enums = {"JobStatus", "Phase", "AttemptOutcome", "MessageStatus", "DeliveryOutcome", "MessageKind", "Trouble"}
    by_place = [
        ast.unparse(each)
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Tuple)
        if any(isinstance(name, ast.Name) and name.id in enums for name in iterated(each.value))
    ]

    assert by_place == []


def iterated(value: ast.expr) -> list[ast.expr]:
    """Return what an assignment to several names takes apart: the value, or what a call in its place is given."""
    return [value, *value.args] if isinstance(value, ast.Call) else [value]


@pytest.mark.parametrize("path", sorted((ROOT / "service").rglob("templates/*.html")), ids=in_project)
def test_no_template_knows_a_status(path: Path) -> None:
    written = set(re.findall(r"""["'](\w+)["']""", "".join(re.findall(r"{[{%].*?[%}]}", path.read_text()))))

    assert written & set(JobStatus) == set()


# What rows, words and documents have room for.

COLUMNS: tuple[tuple[Table, str, Collection[str]], ...] = (
    (models.jobs, "status", JobStatus),
    (models.jobs, "phase", Phase),
    (models.jobs, "format", FORMATS),
    (models.jobs, "level", Level),
    (models.jobs, "result_format", Format),
    (models.jobs, "error_code", FAILURES),
    (models.attempts, "outcome", AttemptOutcome),
    (models.attempts, "error_code", {*FAILURES, *Trouble}),
    (models.work_totals, "outcome", AttemptOutcome),
    (models.work_totals, "error_code", {*FAILURES, *Trouble}),
    (models.workers, "waiting_for", Trouble),
    (models.outbox, "kind", MessageKind),
    (models.outbox, "status", MessageStatus),
    (models.deliveries, "outcome", DeliveryOutcome),
    (models.delivery_totals, "outcome", DeliveryOutcome),
    (models.audit_events, "action", Action),
    (models.audit_events, "actor", Actor),
)


@pytest.mark.parametrize(
    ("table", "name", "members"), COLUMNS, ids=[f"{table.name}.{name}" for table, name, _ in COLUMNS]
)
def test_every_member_fits_into_its_column(table: Table, name: str, members: Collection[str]) -> None:
    column: Column[str] = table.c[name]

    assert [member for member in members if len(member) > column.type.length] == []  # type: ignore[attr-defined]


def test_every_phase_has_its_share_of_the_percents() -> None:
    assert set(PERCENT_OF_PHASES) == set(Phase)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phase_and_every_end_has_its_words(language: str) -> None:
    catalogue = words(language).catalogue

    assert [phase for phase in Phase if f"state.{phase}" not in catalogue] == []
    for told in ("subject", "lead"):
        said = {key for key in catalogue if key.startswith(f"mail.{told}.")}
        assert said == {f"mail.{told}.{end}" for end in (*ENDINGS, KEPT)}


def test_the_api_describes_every_end() -> None:
    assert JobEnded.model_json_schema()["properties"]["type"]["enum"] == [told_as(status) for status in ENDINGS]


METRICS = {
    "vacpack_attempts_total": AttemptOutcome,
    "vacpack_uploads_total": UploadOutcome,
    "vacpack_workers_replaced_total": WorkerEnd,
    "vacpack_messages_pending": MessageKind,
    "vacpack_deliveries_total": DeliveryOutcome,
}


@pytest.mark.parametrize("metric", METRICS)
def test_operators_are_told_what_a_metric_can_say(metric: str) -> None:
    row = next(line for line in OPERATIONS.splitlines() if line.startswith(f"| `{metric}`"))

    assert [str(member) for member in METRICS[metric] if f"`{member}`" not in row] == []


def test_no_outcome_of_an_upload_is_the_code_of_a_refusal_too() -> None:
    assert {*UploadOutcome} & {*ERRORS} == set()


def failures_named(path: Path) -> set[str]:
    """Return the codes of failures that a module writes out: given to ``AttemptFailed``, or a class's ``code``."""
    given: list[ast.expr] = []
    for each in ast.walk(ast.parse(path.read_text())):
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "AttemptFailed":
            given += each.args[:1]
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "code":
            given.append(each.value)
    return {each.value for each in given if isinstance(each, ast.Constant) and each.value}


def test_every_failure_that_is_named_is_one_that_is_told_of() -> None:
    named = {code for path in CODE for code in failures_named(path)}

    assert "codec_failed" in named
    assert "cpu_limit" in named
    assert named <= set(FAILURES)


# Formats.


def test_every_format_has_one_maker_and_says_whose_stream_it_is() -> None:
    assert sorted([*CODECS, *ARCHIVES]) == sorted(Format)
    assert set(ARCHIVES) == set(ARCHIVE_FORMATS)
    assert set(STREAM_OF) == set(Format)
    assert {stream for stream in STREAM_OF.values() if stream} == set(CODECS)


def test_the_tests_wait_for_every_end() -> None:
    assert set(FINAL) == set(ENDINGS)


# The page's script, read as text.

STATIC = ROOT / "service" / "web" / "static"
PHRASES, ROW = ((STATIC / name).read_text() for name in ("phrases.js", "row.js"))


def set_of(script: str, name: str) -> set[str]:
    """Return what is in a set that a script keeps by name."""
    found = re.search(rf"const {name} = new Set\(\[(.*?)\]\)", script)
    assert found, name
    return set(re.findall(r'"([^"]+)"', found[1]))


def function_of(script: str, name: str) -> str:
    """Return the text of a function that stands at the left edge."""
    found = re.search(rf"^(?:export )?function {name}\(.*?^}}$", script, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[0]


def test_the_script_knows_which_statuses_are_final() -> None:
    assert set_of(PHRASES, "ENDED") == {status for status in JobStatus if status.is_final}


def test_the_script_has_a_sentence_for_every_status() -> None:
    said = function_of(PHRASES, "jobState")

    assert sorted(re.findall(r'case "(\w+)":', said)) == sorted(JobStatus)
    assert "default:" not in said


def test_the_script_compares_with_statuses_that_exist() -> None:
    compared = {
        status
        for path in STATIC.glob("*.js")
        for status in re.findall(r'\.job\??\.status [!=]== "(\w+)"', path.read_text())
    }

    assert compared
    assert compared <= set(JobStatus)


def test_the_script_and_the_api_know_every_event() -> None:
    listened = re.findall(r'addEventListener\("(\w+)"', (STATIC / "listen.js").read_text())
    content = GET_EVENTS["responses"][200]["content"]["text/event-stream"]

    # An error is the connection's, and no event of ours.
    assert sorted(listened) == sorted([*EventName, "error"])
    assert content["schema"]["properties"]["event"]["enum"] == list(EventName)


def test_the_script_counts_places_as_far_as_the_service() -> None:
    assert f"const FAR = {LAST_POSITION};" in PHRASES


def test_the_script_knows_what_is_transcoded() -> None:
    assert set_of(ROW, "TRANSCODED") == set(TRANSCODED)


def test_every_sentence_that_the_script_names_is_there() -> None:
    text = "".join(path.read_text() for path in STATIC.glob("*.js"))
    named = set(re.findall(r'\b(?:say|fileCount)\("([\w.]+)"', text))
    steps = set(re.findall(r'const step = [^;]*? \? "(\w+)" : "(\w+)";', text).pop())

    assert len(named) > 20
    assert (named | {f"state.{step}" for step in steps}) - set(words("en").catalogue) == set()


def phases_of_transfers() -> set[str]:
    """Return the phases that the script has an upload enter, before there is a job."""
    text = "".join((STATIC / name).read_text() for name in ("transfer.js", "uploads.js"))
    assigned = re.findall(r'phase: "(\w+)"', text) + re.findall(r'#enter\("(\w+)"', text)
    waits = re.findall(r'#countDown\([^?]*\? "(\w+)" : "(\w+)"', text)
    return {*assigned, *(phase for both in waits for phase in both)}


def test_the_script_has_a_sentence_for_every_phase_of_an_upload() -> None:
    phases, catalogue = phases_of_transfers(), words("en").catalogue

    assert phases >= {"waiting", "uploading", "receiving", "offline", "busy", "stopped"}
    assert 'case "stopped":' in function_of(PHRASES, "transferState")
    assert [phase for phase in phases - {"stopped"} if f"state.{phase}" not in catalogue] == []


def test_an_upload_is_never_shown_like_a_job_with_the_same_word() -> None:
    assert phases_of_transfers() & {*JobStatus, *Phase} == set()


def test_styles_are_for_statuses_that_exist() -> None:
    styled = set(re.findall(r"data-status=\"?(\w+)", (STATIC / "vacpack.css").read_text()))

    assert styled
    assert styled <= set(JobStatus)
