"""Log lines: one an event, in one form whoever speaks, and harmless to the terminal they are read in."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest
import structlog

from service.machine import logs

Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give the loggers back as they were: other tests listen to them."""
    root = logging.getLogger()
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "python_multipart")
    loggers = [root, *map(logging.getLogger, names)]
    kept = [(logger, logger.handlers[:], logger.level, logger.disabled, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, disabled, propagate in kept:
        logger.handlers[:], logger.disabled, logger.propagate = handlers, disabled, propagate
        logger.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return lambda: capsys.readouterr().err.splitlines()


def facts_of(line: str) -> list[tuple[str, str]]:
    """Return the names and values of a line in either form."""
    if line.startswith("{"):
        return [(name, str(value)) for name, value in json.loads(line).items()]
    return re.findall(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)', line)


def configure(log_format: str = "text", level: str = "info", **context: str) -> None:
    logs.configure(log_format=log_format, level=level, context=lambda: context)


def test_a_line_of_text_has_time_level_event_and_facts(lines: Lines) -> None:
    configure(request_id="r-1")

    logging.getLogger("vacpack.test").info("job done", extra={"job_id": "abc", "size_bytes": 5})

    [line] = lines()
    assert line.startswith("timestamp=20")
    assert ' level=info event="job done" ' in line
    assert {"logger=vacpack.test", "job_id=abc", "size_bytes=5", "request_id=r-1"} <= set(line.split(" "))


def test_a_line_of_json_has_the_same(lines: Lines) -> None:
    configure("json", request_id="r-1")

    logging.getLogger("vacpack.test").info("job %s", "done", extra={"job_id": "中"})

    [line] = lines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {"level": "info", "event": "job done", "logger": "vacpack.test", "job_id": "中", "request_id": "r-1"}
    assert "中" in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_both_kinds_of_logger_give_the_same_line(lines: Lines, log_format: str) -> None:
    configure(log_format)

    logging.getLogger("vacpack.test").info("done", extra={"job_id": "abc"})
    structlog.stdlib.get_logger("vacpack.test").info("done", job_id="abc")

    first, second = (dict(facts_of(line)) for line in lines())
    assert first | {"timestamp": ""} == second | {"timestamp": ""}
    assert first["job_id"] == "abc"


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\r\nlevel=error", "a\x00b", "a\x9b2Jb", "a\x7fb", 'a" event="forged'])
def test_what_a_client_sent_cannot_steer_a_terminal_nor_forge_a_line(lines: Lines, log_format: str, text: str) -> None:
    configure(log_format)

    logging.getLogger("vacpack.test").info("request", extra={"path": text})
    logging.getLogger("vacpack.test").info(text)

    told = lines()
    assert len(told) == 2
    assert all(line.isprintable() for line in told)
    names = [sorted(name for name, _ in facts_of(line)) for line in told]
    assert names == [["event", "level", "logger", "path", "timestamp"], ["event", "level", "logger", "timestamp"]]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_value_is_cut_where_it_could_fill_the_disk(lines: Lines, log_format: str) -> None:
    configure(log_format)
    facts = {"path": "/" + "a" * 60_000, "names": ["b" * 60_000], "code": 300 * "c", "size_bytes": 10**30}

    logging.getLogger("vacpack.test").info("request", extra=facts)

    [line] = lines()
    told = dict(facts_of(line))
    assert len(line) < 1500
    assert told["path"] == "/" + "a" * 298 + "…"
    assert (told["code"], told["size_bytes"]) == (300 * "c", str(10**30))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_with_its_trace_is_one_line(lines: Lines, log_format: str) -> None:
    configure(log_format)

    manage_key = "the-key-of" + "-a-job"
    try:
        raise ValueError("broken\nin two \x1b[2J")
    except ValueError:
        logging.getLogger("vacpack.test").exception("failed")

    [line] = lines()
    assert "ValueError" in line
    assert "test_logs.py" in line
    assert line.isprintable()
    # The trace tells where, never what the variables held.
    assert manage_key not in line


def test_of_a_long_trace_the_end_is_told(lines: Lines) -> None:
    configure("text")
    try:
        raise ValueError("x" * 50_000 + " the end")
    except ValueError:
        logging.getLogger("vacpack.test").exception("failed")

    [line] = lines()
    assert len(line) < 9000
    assert "the end" in line


def test_below_its_level_nothing_is_told(lines: Lines) -> None:
    configure(level="warning")

    logging.getLogger("vacpack.test").info("quiet")
    structlog.stdlib.get_logger("vacpack.test").info("quiet")
    logging.getLogger("vacpack.test").warning("loud")

    assert ["loud" in line for line in lines()] == [True]


def test_libraries_speak_in_the_same_form_and_only_when_it_matters(lines: Lines) -> None:
    configure()

    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.access").warning("GET / 200")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    logging.getLogger("python_multipart.multipart").warning("skipped a byte")
    logging.getLogger("uvicorn.error").error("refused")

    [line] = lines()
    assert " level=error event=refused " in line
