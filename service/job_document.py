"""A job as clients see it: one row becomes the status document, its ETag, and one readable line."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context
from typing import Any

from service.codecs.terms import ARCHIVE_FORMATS
from service.failures import FAILURES, MALICIOUS, SOURCE_MISSING
from service.language import words
from storage.jobs.job_views import LAST_POSITION
from storage.lifecycle import RETRYABLE, JobStatus, Phase

COMPRESSING_SHARE = 95.0
"""Percent of an attempt that compressing is given; reading back, several times faster, gets most of the rest."""

PERCENT_OF_PHASES: Mapping[Phase, tuple[float, float]] = {
    Phase.STARTING: (0.0, 0.0),
    Phase.SCANNING: (0.0, 0.0),
    Phase.PROBING: (0.0, 0.0),
    Phase.COMPRESSING: (0.0, COMPRESSING_SHARE),
    Phase.STORING: (0.0, COMPRESSING_SHARE),
    Phase.VERIFYING: (COMPRESSING_SHARE, 99.9),
    Phase.DIGESTING: (0.0, 99.9),
}
"""How much is done when a phase begins and when it ends."""

SOURCE_LOST = frozenset({SOURCE_MISSING, "source_damaged", MALICIOUS})
"""Reasons of failures that leave no upload to give back."""

_THREE_DIGITS = Context(prec=3, rounding=ROUND_HALF_UP)
"""Halves go up as in JavaScript, so that a page says the same before and after its script has begun."""

Row = Mapping[str, Any]


_encode = json.JSONEncoder(ensure_ascii=False).encode


def as_json(content: Mapping[str, Any]) -> bytes:
    """Return a document as JSON in UTF-8, ended by a newline for terminals; ``json.dumps`` makes an encoder a call."""
    return _encode(content).encode() + b"\n"


def document(row: Row, public_url: str = "", *, scans: bool = False) -> dict[str, Any]:
    """Return the status document. A pure function of the row: equal rows are equal documents.

    ``scans``: what arrived is given to nobody before it was found clean.
    """
    base = f"{public_url}/jobs/{row['id']}"
    return {
        "id": row["id"],
        "status": row["status"],
        "version": row["version"],
        "name": row["name"],
        "format": row["format"],
        "level": row["level"],
        "progress": progress(row),
        "queue_position": row["queue_position"],
        "waiting_for": row.get("waiting_for"),
        "attempt": row["attempts"],
        "max_attempts": row["max_attempts"],
        "cancel_requested": row["cancel_requested_at"] is not None,
        "source": {
            "size_bytes": row["source_size_bytes"],
            "sha256": row["source_sha256"],
            "media_type": row["source_media_type"],
            "files": row["source_files"],
        },
        "result": _result(row),
        "error": _error(row),
        "created_at": timestamp(row["created_at"]),
        "started_at": timestamp(row["started_at"]),
        "finished_at": timestamp(row["finished_at"]),
        "expires_at": timestamp(row["expires_at"]),
        "links": _links(row, base, scans),
    }


def progress(row: Row) -> dict[str, Any]:
    """Return the progress: bytes of the source in this phase; percent never falls within an attempt."""
    done, total, rate = row["bytes_done"], row["source_size_bytes"], row["bytes_per_second"]
    return {
        "phase": row["phase"],
        "percent": percent(row),
        "bytes_done": done,
        "bytes_total": total,
        "bytes_per_second": rate,
        "eta_seconds": round((total - done) / rate, 1) if rate else None,
    }


def percent(row: Row) -> float:
    """Return how much is done; 100 only on success."""
    if row["status"] == JobStatus.SUCCEEDED:
        return 100.0
    share = float(row["bytes_done"] / row["source_size_bytes"]) if row["source_size_bytes"] else 0.0
    first, last = PERCENT_OF_PHASES.get(row["phase"], (0.0, 0.0))
    return round(first + (last - first) * share, 1)


def _result(row: Row) -> dict[str, Any] | None:
    if row["status"] != JobStatus.SUCCEEDED:
        return None
    return {
        "name": row["result_name"],
        "format": row["result_format"],
        "media_type": row["result_media_type"],
        "size_bytes": row["result_size_bytes"],
        "sha256": row["result_sha256"],
        "saved_percent": saved_percent(row),
        "stored_as_is": bool(row["stored_as_is"]),
        "damaged_at": timestamp(row["result_damaged_at"]) if is_damaged(row) else None,
    }


def saved_percent(row: Row) -> float:
    """Return how much smaller the result is, in percent of the source; negative where it is larger."""
    if not row["source_size_bytes"]:
        return 0.0
    return round(100 * (1 - float(row["result_size_bytes"] / row["source_size_bytes"])), 1)


def _error(row: Row) -> dict[str, Any] | None:
    if row["status"] != JobStatus.FAILED:
        return None
    failure = FAILURES.get(row["error_code"])
    title = failure.title if failure else "The job failed."
    return {"code": row["error_code"], "title": title, "detail": row["error_detail"]}


def _links(row: Row, base: str, scans: bool) -> dict[str, str | None]:
    status = row["status"]
    return {
        "self": base,
        "events": f"{base}/events" if status != JobStatus.EXPIRED else None,
        "cancel": f"{base}/cancel" if not JobStatus(status).is_final else None,
        "retry": f"{base}/retry" if _can_be_retried(row) else None,
        "result": f"{base}/result" if status == JobStatus.SUCCEEDED and not is_damaged(row) else None,
        "original": f"{base}/original" if has_original(row, scans=scans) else None,
    }


def _can_be_retried(row: Row) -> bool:
    """Whether another try may help; without the upload none does, though who puts it back may ask for one."""
    return row["status"] in RETRYABLE and has_sources(row)


def has_original(row: Row, *, scans: bool) -> bool:
    """Whether what arrived can be downloaded: not where it is lost, or malicious, or, with ``scans``, may be."""
    if is_archived(row) or is_damaged(row) or row["status"] == JobStatus.EXPIRED:
        return False
    return not (_ended_by(row, SOURCE_LOST) or (scans and not is_known_clean(row)))


def is_known_clean(row: Row) -> bool:
    """Whether a service that scans has found what arrived clean: nothing else becomes a result."""
    return bool(row["status"] == JobStatus.SUCCEEDED)


def is_malicious(row: Row) -> bool:
    """Whether what arrived was found to be malicious: it is removed, and nothing brings the job back."""
    return _ended_by(row, {MALICIOUS})


def has_sources(row: Row) -> bool:
    """Whether what arrived can be there: not where the job failed because it is not, or somebody looked in vain."""
    return not _ended_by(row, {SOURCE_MISSING, MALICIOUS})


def _ended_by(row: Row, codes: Container[str]) -> bool:
    # A cancelled job has one of these if its source was looked for and not found, or if the cancel came too late.
    return row["status"] in RETRYABLE and row["error_code"] in codes


def is_archived(row: Row) -> bool:
    """Whether the job makes an archive: of several files, or of one where an archive was asked for."""
    return row["source_files"] > 1 or row["format"] in ARCHIVE_FORMATS


def is_damaged(row: Row) -> bool:
    """Whether the stored result was found to be damaged or lost: there is nothing to download."""
    # Not in the row that a message of an earlier version carries.
    return row.get("result_damaged_at") is not None


def told_as(status: str) -> str:
    """Return the type of the messages that tell of a job's end in this status."""
    return f"job.{status}"


def timestamp(milliseconds: int | None) -> str | None:
    """Return RFC 3339 in UTC, to the millisecond."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def etag(row: Row) -> str:
    """Return the strong entity tag: the version, and while it waits its place in the queue and any trouble."""
    shown = (row["version"], row["queue_position"], row.get("waiting_for"))
    return f'"{"-".join(str(part) for part in shown if part is not None)}"'


def retry_after_seconds(row: Row) -> int | None:
    """Return after how long it is worth asking again; None once the job has ended."""
    if JobStatus(row["status"]).is_final:
        return None
    eta = progress(row)["eta_seconds"]
    return 1 if eta is None else max(1, min(30, round(eta / 4)))


def readable_size(size_bytes: float, smallest_unit: str = "bytes") -> str:
    """Return a size in decimal units, three digits: 1.05 GB."""
    for unit in (smallest_unit, "kB", "MB", "GB", "TB", "PB", "EB"):
        if size_bytes < 999.5 or unit == "EB":
            return f"{_THREE_DIGITS.create_decimal(size_bytes).normalize():f} {unit}"
        size_bytes /= 1000
    raise AssertionError("the last unit takes everything")


def duration_parts(seconds: float) -> list[tuple[int, str]]:
    """Return a time in its two largest units; a unit of zero ends it: ``[(2, "h"), (5, "min")]``."""
    left = max(0, math.floor(seconds + 0.5))
    parts: list[tuple[int, str]] = []
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append((count, unit))
        elif parts:
            break
    return parts[:2] or [(0, "s")]


def readable_duration(seconds: float) -> str:
    """Return a time to read, in its two largest units: 4 s, 3 min 20 s, 2 h 5 min, 7 days."""
    named = ((count, "day" if (count, unit) == (1, "days") else unit) for count, unit in duration_parts(seconds))
    return " ".join(f"{count} {unit}" for count, unit in named)


def line(row: Row) -> str:
    """Return the status as one line for people: what, how far, what next."""
    match JobStatus(row["status"]):
        case JobStatus.QUEUED:
            return f"queued: {row['name']}, {_place(row['queue_position'])} in line{_waiting(row)}"
        case JobStatus.RUNNING:
            return f"running: {row['name']}, {_running(row)}"
        case JobStatus.SUCCEEDED:
            return f"succeeded: {row['name']}, {_outcome(row)}"
        case JobStatus.FAILED:
            return f"failed: {row['name']}, {row['error_code']}: {row['error_detail']}"
        case JobStatus.CANCELLED | JobStatus.EXPIRED as status:
            return f"{status}: {row['name']}"


def _waiting(row: Row) -> str:
    trouble = row.get("waiting_for")
    return f", {words('en').or_else(f'waiting.{trouble}', 'waiting.other')}" if trouble else ""


def _place(position: int) -> str:
    return f"number {position}" if position < LAST_POSITION else f"number {LAST_POSITION} or later"


def _running(row: Row) -> str:
    now = progress(row)
    parts = [f"{now['phase']} {now['percent']:g} %"]
    if now["bytes_per_second"]:
        parts.append(f"{readable_size(now['bytes_per_second'])}/s")
        parts.append(f"{readable_duration(now['eta_seconds'])} left")
    return ", ".join(parts)


def _outcome(row: Row) -> str:
    if is_damaged(row):
        return "but the stored result is damaged or lost since"
    before, after = readable_size(row["source_size_bytes"]), readable_size(row["result_size_bytes"])
    if row["stored_as_is"]:
        return f"{before}, kept as is: compressing would not make it smaller"
    smaller = saved_percent(row)
    change = f"{smaller:g} % smaller" if smaller >= 0 else f"{-smaller:g} % larger"
    seconds = max(0, row["finished_at"] - row["started_at"]) / 1000
    return f"{before} -> {after}, {change}, {row['result_format']}, {readable_duration(seconds)}"
