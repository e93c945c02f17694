"""A job in a person's language: the sentences of the pages. The script says the same with the same catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from service.codecs.terms import TRANSCODED
from service.errors import RESULT_DAMAGED
from service.job_document import (
    document,
    duration_parts,
    is_damaged,
    percent,
    progress,
    readable_size,
    saved_percent,
)
from service.language import Words
from storage.jobs.job_views import LAST_POSITION
from storage.lifecycle import JobStatus

Row = Mapping[str, Any]


def size(size_bytes: float, say: Words) -> str:
    """Return a size in decimal units, three digits: 1.05 GB."""
    return readable_size(size_bytes, say("unit.bytes"))


def duration(seconds: float, say: Words) -> str:
    """Return a time in its two largest units: 3 min 20 s."""
    names = {"s": say("unit.second"), "min": say("unit.minute"), "h": say("unit.hour")}
    parts = []
    for count, unit in duration_parts(seconds):
        name = names.get(unit) or say(f"unit.day.{'one' if count == 1 else 'other'}")
        parts.append(f"{count} {name}")
    return " ".join(parts)


def state(row: Row, say: Words) -> str:
    """Return what the job is doing, or what became of it."""
    match JobStatus(row["status"]):
        case JobStatus.QUEUED:
            return _queued(row, say)
        case JobStatus.RUNNING:
            return _running(row, say)
        case JobStatus.SUCCEEDED:
            return _outcome(row, say)
        case JobStatus.FAILED:
            return say("state.failed")
        case JobStatus.CANCELLED | JobStatus.EXPIRED:
            return say("state.cancelled")


def _queued(row: Row, say: Words) -> str:
    position, trouble = row["queue_position"], row.get("waiting_for")
    place = say("state.queued" if position < LAST_POSITION else "state.queued.far", position=position)
    waiting = [say.or_else(f"waiting.{trouble}", "waiting.other")] if trouble else []
    return say("list.separator").join([place, *waiting])


def _running(row: Row, say: Words) -> str:
    if row["cancel_requested_at"] is not None:
        return say("state.cancelling")
    now = progress(row)
    parts = [f"{say('state.' + now['phase'])} {say('state.percent', percent=int(percent(row)))}"]
    if now["bytes_per_second"]:
        parts.append(say("unit.rate", size=size(now["bytes_per_second"], say)))
        parts.append(say("state.left", time=duration(now["eta_seconds"], say)))
    return say("list.separator").join(parts)


def _outcome(row: Row, say: Words) -> str:
    if is_damaged(row):
        return say("state.damaged")
    before = size(row["source_size_bytes"], say)
    if row["stored_as_is"]:
        return say("state.as_is", size=before)
    smaller = saved_percent(row)
    if row["result_size_bytes"]:
        # Of what is still there, not everything was saved.
        smaller = min(smaller, 99.9)
    change = say("state.smaller" if smaller >= 0 else "state.larger", percent=f"{abs(smaller):g}")
    seconds = max(0, row["finished_at"] - row["started_at"]) / 1000
    parts = [
        say("state.succeeded", before=before, after=size(row["result_size_bytes"], say)),
        change,
        row["result_format"],
        duration(seconds, say) if seconds >= 0.5 else say("state.moment"),
    ]
    return say("list.separator").join(parts)


def reason(row: Row, say: Words) -> tuple[str, str, str] | None:
    """Return why there is nothing to download, what to do, and the code; None where nothing went wrong."""
    if is_damaged(row):
        code = RESULT_DAMAGED.code
        return say(f"error.{code}"), say(f"advice.{code}"), code
    if row["status"] != JobStatus.FAILED:
        return None
    code = row["error_code"]
    return say.or_else(f"failure.{code}", "state.failed"), say.or_else(f"advice.{code}", "advice.other"), code


def shown_status(row: Row) -> JobStatus:
    """Return the status as a row of the page shows it: what is damaged is shown like what has failed."""
    return JobStatus.FAILED if is_damaged(row) else JobStatus(row["status"])


def title(row: Row, say: Words) -> str:
    """Return the title of the job's page: while it runs, how far it is."""
    if row["status"] == JobStatus.RUNNING:
        return f"{say('state.percent', percent=int(percent(row)))} · {row['name']}"
    return str(row["name"])


def sizes(row: Row, say: Words) -> dict[str, str | None]:
    """Return the sizes of the source and, once there is one, of the result."""
    source = size(row["source_size_bytes"], say)
    if row["source_files"] > 1:
        source += say("list.separator") + say.counted("files", row["source_files"])
    has_result = row["status"] == JobStatus.SUCCEEDED
    return {"source": source, "result": size(row["result_size_bytes"], say) if has_result else None}


def links(row: Row, *, at: str, may_manage: bool, key: str | None = None, scans: bool = False) -> dict[str, str | None]:
    """Return where the page's buttons lead; ``key`` is the manage key, where the page's own address brought it.

    ``at`` is the path before all addresses of the service, ``scans`` as for ``document``.
    """
    given = document(row, at, scans=scans)["links"]
    as_gzip = given["result"] is not None and row["result_format"] in TRANSCODED
    query = f"?key={quote(key, safe='')}" if key else ""
    # Offered one after the other: what still runs is cancelled first.
    delete = None if given["cancel"] else f"{given['self']}/delete"
    changes = {"cancel": given["cancel"], "retry": given["retry"], "delete": delete}
    return {
        "download": given["result"],
        "gzip": f"{given['result']}?format=gzip" if as_gzip else None,
        "original": given["original"],
        **{name: link + query if link and may_manage else None for name, link in changes.items()},
    }
