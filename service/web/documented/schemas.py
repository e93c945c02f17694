"""The shapes of answers, for the API's description only.

Answers are built from rows without them; tests hold both together.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.job_document import told_as
from storage.audit_table import Action, Actor
from storage.lifecycle import ENDINGS, DeliveryOutcome, JobStatus, MessageKind, MessageStatus, Phase
from storage.trouble import Trouble


class Shape(BaseModel):
    """A closed object: what is not described is not sent."""

    model_config = ConfigDict(extra="forbid")


class Progress(Shape):
    """How far an attempt is."""

    phase: str | None = Field(description=f"{', '.join(Phase)}; null if idle")
    percent: float = Field(ge=0, le=100, description="Never falls within an attempt; 100 only on success.")
    bytes_done: int = Field(description="Bytes of the source, in this phase.")
    bytes_total: int
    bytes_per_second: int | None = Field(description="Smoothed.")
    eta_seconds: float | None = Field(description="Of this phase.")


class Source(Shape):
    """What came in."""

    size_bytes: int
    sha256: str | None = Field(description="Hex; null until it is known, and for several files.")
    media_type: str | None
    files: int


class Result(Shape):
    """What it became."""

    name: str
    format: str = Field(description="A format; identity where the file was kept as it came.")
    media_type: str
    size_bytes: int
    sha256: str
    saved_percent: float = Field(description="Negative where the result is larger, as asked for by name.")
    stored_as_is: bool
    damaged_at: str | None = Field(description="When the stored bytes were found damaged or lost; null: they were not.")


class Failure(Shape):
    """Why the job failed."""

    code: str
    title: str
    detail: str | None


class Links(Shape):
    """Paths of what can be done; null where it cannot be now. Absolute where VACPACK_PUBLIC_URL is set."""

    self: str
    events: str | None
    cancel: str | None
    retry: str | None
    result: str | None
    original: str | None


class Job(Shape):
    """The status of a job. Times are RFC 3339 in UTC."""

    id: str = Field(pattern="^[a-z2-7]{26}$")
    status: JobStatus
    version: int = Field(description="Grows with every change.")
    name: str
    format: str = Field(description="As asked for.")
    level: str
    progress: Progress
    queue_position: int | None = Field(description="1 is next, 100 is 100 or later; null unless queued.")
    waiting_for: str | None = Field(
        description="The trouble of the server that holds queued jobs up, which count no attempt for it: "
        + ", ".join(f"`{trouble}`" for trouble in Trouble)
        + "; null: none."
    )
    attempt: int
    max_attempts: int
    cancel_requested: bool
    source: Source
    result: Result | None
    error: Failure | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    links: Links


class AcceptedJob(Job):
    """The receipt of an upload."""

    manage_key: str | None = Field(
        None,
        description="Cancels, retries and deletes; given only here, and in `Vacpack-Manage-Key`."
        " Not there in the answer to a repeat that did not bring the body.",
    )


class JobPage(Shape):
    """Some of all jobs, newest first."""

    jobs: list[Job]
    next_cursor: int | None


class SeveralJobs(Shape):
    """The jobs that were asked for."""

    jobs: list[Job]
    missing: list[str] = Field(description="Ids of jobs that are unknown or expired.")


class Event(Shape):
    """Something that was done, or refused."""

    id: int = Field(description="Grows with each event.")
    at: str
    action: Action
    actor: Actor = Field(description="What was brought: the admin token, the manage key, the job's id, or nothing.")
    job: str | None
    status: int | None = Field(description="Of the HTTP answer; null for what the service does by itself.")
    client: str | None = Field(description="The address the request came from.")
    request_id: str | None
    details: dict[str, Any] = Field(description="What was asked for, and the `code` of a refusal as `error`.")


class AuditPage(Shape):
    """Some of all events, newest first."""

    events: list[Event]
    next_cursor: int | None


class JobEnded(Shape):
    """What a webhook brings."""

    type: str = Field(json_schema_extra={"enum": list(map(told_as, ENDINGS))})
    timestamp: str = Field(description="When the job ended.")
    data: Job = Field(description="The status as it was then.")


class Delivery(Shape):
    """One delivery of a message, arrived or not."""

    number: int
    started_at: str
    ended_at: str | None
    outcome: DeliveryOutcome | None = Field(
        description="refused: never to be tried again; interrupted: the sender died, so it may have arrived."
    )
    status_code: int | None = Field(description="Of HTTP, or of SMTP.")
    detail: str | None


class Message(Shape):
    """One message to one target. Its id is the same in every delivery."""

    id: str = Field(pattern="^[a-z2-7]{26}$")
    kind: MessageKind
    target: str = Field(description="The URL, or the address.")
    type: str = Field(description=f"One of {', '.join(map(told_as, ENDINGS))}.")
    status: MessageStatus
    created_at: str
    ended_at: str | None
    next_delivery_at: str | None
    deliveries: list[Delivery]


class Messages(Shape):
    """The messages that told, or are to tell, of a job's end."""

    messages: list[Message]


class Problem(BaseModel):
    """An error (RFC 9457). Match on ``code``; some have more members."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str


class Health(Shape):
    """It is well."""

    status: Literal["ok"]
    checks: dict[str, bool] | None = None
    warnings: list[str] | None = Field(None, description="What an operator should look at though all is well.")


class LimitsDocument(Shape):
    """Every number a client must know; what limits all together is for operators, and not told."""

    max_upload_bytes: int
    max_files_per_upload: int
    max_parts_per_form: int
    max_part_header_bytes: int
    max_form_edge_bytes: int
    max_queued_jobs: int
    max_queued_jobs_per_address: int
    max_queued_bytes_per_address: int
    max_reserved_percent_per_address: int
    max_header_fields: int
    max_header_field_bytes: int
    max_header_bytes: int
    max_target_bytes: int
    max_parameters: int
    max_pipelined_requests: int
    header_timeout_seconds: float
    receive_timeout_seconds: float
    receive_min_bytes_per_second: int
    receive_rate_seconds: float
    send_min_bytes_per_second: int
    send_rate_seconds: float
    max_guesses_per_minute_per_address: int
    max_queries_per_minute_per_address: int
    max_wait_seconds: float
    max_waiting_requests_per_address: int
    max_event_streams_per_address: int
    max_connections_per_address: int
    default_ttl_seconds: int
    max_ttl_seconds: int
    idempotency_seconds: int
    max_attempts: int
    max_retries: int
    max_messages_per_target_per_hour: int
    max_downloads_per_address: int
    max_conversions_per_address: int
    max_job_cpu_seconds: float
    max_job_memory_bytes: int
    max_notify_emails: int
    max_callback_urls: int
    formats: list[str]
    levels: list[str]
