"""Every setting, typed and frozen. One environment variable each, ``VACPACK_`` and the name in capitals; also ``.env``.

Modules are handed what they need by ``wiring``; nothing else reads the environment.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url

from service.values.allowed_hosts import read_hosts
from service.values.email_address import read_sender
from service.values.target import read_networks
from service.values.webhook_signature import read_secrets
from storage.database import sqlite_url

PREFIX = "VACPACK_"
OWN_SEGMENTS = frozenset(
    {
        "jobs",
        "uploads",
        "audit",
        "docs",
        "limits",
        "livez",
        "readyz",
        "metrics",
        "openapi.json",
        "static",
        "favicon.ico",
    }
)
"""First segments of the service's own addresses."""

MIN_TOKEN_LETTERS = 16
"""Of an admin token: what is shorter can be guessed by who may ask often."""
_GIB = 1024**3
_DAY = 24 * 3600
_SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def _as_path(given: object) -> Path:
    """Return the path of a folder that a URL can name: SQLAlchemy's take no bytes that are not UTF-8."""
    if not isinstance(given, (str, Path)) or "\0" in str(given):
        raise ValueError("the name of a folder")
    if any("\ud800" <= letter <= "\udfff" for letter in str(Path(given).absolute())):
        raise ValueError("its name is not UTF-8, or the locale is not: set LC_ALL=C.UTF-8, or choose another folder")
    return Path(given)


class Settings(BaseSettings):
    """What can be set, with units in the names and the reason for each default in its description."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    # Where it listens and what it stores in.
    host: str = Field("127.0.0.1", description="Address to listen on. Loopback: opening it is a decision.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Annotated[Path, PlainValidator(_as_path)] = Field(
        Path("data"), description="Folder for the database, the files, the admin token and locks."
    )
    database_url: str = Field("", description="SQLite URL; empty: vacpack.db in the data folder.")
    files_url: str = Field("", description="Folder of the stored files, as file:///…; empty: files in the data folder.")
    public_url: str = Field("", description="Address people use, if links are to be absolute, e.g. https://up.example.")
    allowed_hosts: str = Field(
        "",
        description="Further names the service answers to, comma-separated: up.example, *.example for all below it, or"
        " * for any. public_url's, localhost, this machine's own and literal addresses are known anyway. Any other gets"
        " 421: a page of another site could have its own name lead here.",
    )

    # Who may do what.
    admin_token: SecretStr = Field(
        SecretStr(""),
        description="Token for lists, metrics and everything else, at least 16 letters; empty: made once, in the data"
        " folder.",
    )

    # Uploads.
    max_upload_bytes: int = Field(10 * _GIB, ge=1, description="Largest request; the sum of a form's files counts.")
    max_files_per_upload: int = Field(1000, ge=1, description="Files in one request; each costs an fsync.")
    min_free_bytes: int = Field(
        _GIB // 4, ge=0, description="Room kept free on the disk so that the database can always write."
    )
    max_queued_jobs: int = Field(10_000, ge=1, description="Waiting jobs beyond which uploads are refused with 503.")
    max_queued_jobs_per_address: int = Field(
        2000, ge=1, description="Uploads of one address that arrive, wait or run; beyond it more are refused with 429."
    )
    max_queued_bytes_per_address: int = Field(
        50 * _GIB, ge=1, description="Their bytes; an upload that is alone may always come."
    )
    receive_timeout_seconds: float = Field(60, gt=0, description="Silence after which an upload is given up.")
    receive_min_bytes_per_second: int = Field(
        1024, ge=0, description="Slowest rate of an upload, on the average of receive_rate_seconds; 0: any."
    )
    receive_rate_seconds: float = Field(30, gt=0, description="Time over which an upload's rate is looked at.")
    max_reserved_percent_per_address: int = Field(
        25, ge=1, description="Share of the room for uploads that one address's may hold before they arrive."
    )
    header_timeout_seconds: float = Field(15, gt=0, description="Time for a request's headers to arrive whole.")
    send_min_bytes_per_second: int = Field(
        1024,
        ge=0,
        description="Slowest rate at which a client may take an answer, on the average of send_rate_seconds; 0: any.",
    )
    send_rate_seconds: float = Field(60, gt=0, description="Time over which an answer's rate is looked at.")
    early_refusal_drain_bytes: int = Field(
        64 * 1024**2, ge=0, description="Bytes still read after an early refusal, so that the client sees it."
    )
    early_refusal_drain_seconds: float = Field(2, ge=0, description="Time for the same.")
    idempotency_seconds: int = Field(_DAY, ge=1, description="How long an Idempotency-Key is remembered.")

    # Jobs.
    result_ttl_seconds: int = Field(7 * _DAY, ge=1, description="How long ended jobs keep their files, if not said.")
    max_ttl_seconds: int = Field(30 * _DAY, ge=1, description="The longest `expires` a client may ask for.")
    grave_seconds: int = Field(30 * _DAY, ge=0, description="How long an expired job answers 410 before it is 404.")
    max_attempts: int = Field(3, ge=1, description="Tries at a job before it has failed for good.")
    max_job_cpu_seconds: float = Field(
        12 * 3600, ge=0, description="Processor time of one attempt, after which its job has failed; 0: any."
    )
    max_job_memory_bytes: int = Field(
        0, ge=0, description="Memory of one attempt above that of an idle worker, likewise; 0: any."
    )
    max_retries: int = Field(
        20, ge=0, description="How often clients may have one job run again; the admin always may."
    )
    scan_command: str = Field(
        "",
        description="Program, with its arguments, that is given each upload on its standard input before it is"
        " compressed, e.g. clamdscan --no-summary -; exit code 0: clean, 1: malicious. Empty: uploads are not scanned.",
    )
    scan_timeout_seconds: float = Field(
        300, gt=0, description="How long it may take for one file, after which it is ended and tried again."
    )
    max_worker_losses: int = Field(3, ge=1, description="Workers a job may end, alone, before it has failed.")
    retry_pause_seconds: float = Field(5, ge=0, description="Pause after a first failed attempt; doubled each time.")
    retry_pause_max_seconds: float = Field(300, ge=0, description="The longest such pause.")

    # The worker.
    embedded_worker: bool = Field(True, description="Whether `serve` runs a worker as its child.")
    worker_jobs: int = Field(0, ge=0, description="Jobs at a time in a worker; 0: one for each core.")
    worker_niceness: int = Field(10, ge=0, le=19, description="Priority steps a worker stands below the service.")
    lease_seconds: float = Field(20, gt=1, description="A worker silent for so long has lost its jobs.")
    heartbeat_seconds: float = Field(0.5, gt=0, description="How often progress and cancels are exchanged.")
    hang_seconds: float = Field(
        120,
        ge=1,
        description="A worker with a thread that gets no step on for so long is killed and replaced; one that says"
        " nothing at all, after three quarters of `VACPACK_LEASE_SECONDS` if that is less.",
    )
    poll_seconds: float = Field(
        1, gt=0, description="How often a worker looks for jobs and messages that no wake told of."
    )
    sweep_seconds: float = Field(5, gt=0, description="How often what is over is looked for: leases, expiry.")
    orphan_grace_seconds: float = Field(
        3600,
        ge=600,
        description="Age at which a stored file that no row names is set aside while the service runs.",
    )
    quarantine_seconds: float = Field(
        _DAY,
        ge=0,
        description="How long files that no row names are kept aside before they are removed for good, unless room is"
        " short; an older database restored beside newer files loses nothing meanwhile. 0: removed at once.",
    )

    # Answers.
    max_wait_seconds: float = Field(25, ge=0, description="Longest long-poll: below the usual 30 s of proxies.")
    max_waiting_requests: int = Field(
        2000, ge=0, description="Jobs that long-polls wait for at a time; beyond it they answer at once."
    )
    max_event_streams: int = Field(
        2000,
        ge=0,
        description="Event streams open at a time; beyond it new ones are refused with 503. Never more than half of the"
        " files that the system lets the service open.",
    )
    max_waiting_requests_per_address: int = Field(
        500, ge=0, description="Jobs that one address's long-polls wait for at a time; one request may name 500."
    )
    max_event_streams_per_address: int = Field(
        100, ge=0, description="Event streams of one address; beyond it new ones are refused with 429."
    )
    max_connections: int = Field(
        0,
        ge=0,
        description="Connections open at a time; beyond it new ones are refused with 503 and closed. 0, and never more:"
        " three quarters of the files that the system lets the service open.",
    )
    max_connections_per_address: int = Field(
        256,
        ge=1,
        description="Connections of one address, as they themselves tell it; beyond it new ones are refused with 429.",
    )
    max_downloads: int = Field(
        500, ge=1, description="Downloads sent at a time, about 1 MiB each; beyond it they are refused with 503."
    )
    max_downloads_per_address: int = Field(50, ge=1, description="Of these to one address; beyond it refused with 429.")
    max_conversions: int = Field(
        32, ge=1, description="Downloads decoded or transcoded at a time; beyond it they are refused with 503."
    )
    max_conversions_per_address: int = Field(
        8, ge=1, description="Of these to one address; beyond it refused with 429."
    )
    shutdown_grace_seconds: float = Field(10, ge=0, description="Time for what is under way when told to stop.")

    # The audit.
    audit_retention_seconds: int = Field(90 * _DAY, ge=1, description="How long audit events are kept.")
    audit_max_events: int = Field(
        500_000, ge=1, description="Audit events kept, about 300 bytes each; beyond it the oldest go before their time."
    )
    max_queries_per_minute_per_address: int = Field(
        1200, ge=1, description="Audited lists, searches and downloads; beyond it they are refused with 429."
    )
    audit_queries: bool = Field(
        True, description="Whether lists, searches and downloads are audited; what changes something always is."
    )
    audit_log_file: str = Field("", description="File that audit events are also written to, a line of JSON each.")

    # E-mail to those whom an upload names. On once the first two are set, and public_url, which its links begin with.
    smtp_host: str = Field("", description="Mail server that takes e-mail; empty: `notify_email` is refused.")
    smtp_from: str = Field("", description="Whom e-mail comes from, e.g. vacpack <no-reply@up.example>.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is secured; certificates are always checked."
    )
    smtp_port: int = Field(0, ge=0, le=65535, description="Its port; 0: 587 for starttls, 465 for tls, 25 for none.")
    smtp_user: str = Field("", description="Name to log in with; empty: no login.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password to log in with.")
    smtp_timeout_seconds: float = Field(
        20, gt=0, le=30, description="Time for handing in one message, from connecting to the answer."
    )
    email_allow_domains: str = Field(
        "", description="The only domains written to, comma-separated; empty: any. For services that strangers reach."
    )

    # Messages of either kind.
    max_messages_per_target_per_hour: int = Field(
        100,
        ge=1,
        description="E-mails to one mailbox (case and `+…` make no other), or webhooks to one host; those beyond are"
        " given up, and say why.",
    )

    # Webhooks to those whom an upload names. On once there is a secret.
    webhook_secrets: SecretStr = Field(
        SecretStr(""),
        description="Secrets that sign webhooks, comma-separated: `whsec_` and 24 to 64 bytes in base64. All of them"
        " sign, so that they can be exchanged. Empty: `callback_url` is refused.",
    )
    webhook_allow_networks: str = Field(
        "",
        description="Networks inside that webhooks may call, comma-separated, e.g. 10.1.0.0/16. Empty: public addresses"
        " only, because whoever may upload may name the address.",
    )

    # Logs.
    log_format: Literal["text", "json"] = Field("text", description="One line an event: readable, or JSON.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug also logs every request, polls included."
    )

    @field_validator("database_url")
    @classmethod
    def _is_sqlite(cls, url: str) -> str:
        if url and not url.startswith("sqlite:///"):
            raise ValueError("only sqlite:///… is supported")
        if url and (make_url(url).database or ":memory:") == ":memory:":
            raise ValueError("it names no file, as sqlite:////var/lib/vacpack/vacpack.db does")
        if "?" in url or "\0" in url:
            raise ValueError("a path only, without options")
        return url

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        if url and not (url.startswith(("http://", "https://")) and urlsplit(url).hostname):
            raise ValueError("an address like https://up.example")
        parts = urlsplit(url)
        if parts.query or parts.fragment or "//" in parts.path:
            raise ValueError("an address like https://up.example or https://up.example/vacpack, and nothing after it")
        if (first := parts.path.strip("/").partition("/")[0]) in OWN_SEGMENTS:
            raise ValueError(f"its path cannot begin with /{first}, which is an address of the service itself")
        return url

    @field_validator("admin_token")
    @classmethod
    def _is_long(cls, token: SecretStr) -> SecretStr:
        if 0 < len(token.get_secret_value()) < MIN_TOKEN_LETTERS:
            raise ValueError(f"at least {MIN_TOKEN_LETTERS} letters")
        return token

    @field_validator("scan_command")
    @classmethod
    def _is_command(cls, line: str) -> str:
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise ValueError(f"words as a shell reads them: {str(error).lower()}") from error
        if "\0" in line or (line and not any(words[:1])):
            raise ValueError("a program and its arguments; empty for none")
        return line

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, names: str) -> str:
        read_hosts(names)
        return names

    @field_validator("smtp_user", "smtp_password")
    @classmethod
    def _is_ascii(cls, text: str | SecretStr) -> str | SecretStr:
        plain = text.get_secret_value() if isinstance(text, SecretStr) else text
        if not plain.isascii():
            raise ValueError("the library that logs in takes ASCII only")
        return text

    @field_validator("smtp_from")
    @classmethod
    def _is_sender(cls, sender: str) -> str:
        if sender:
            read_sender(sender)
        return sender

    @field_validator("files_url")
    @classmethod
    def _is_folder(cls, url: str) -> str:
        if url and not url.startswith("file:///"):
            raise ValueError("only file:///… is supported")
        if url and ("?" in url or "#" in url or "%00" in url or not urlsplit(url).path.strip("/")):
            raise ValueError("a folder, as file:///var/lib/vacpack/files; ? is %3F and # is %23 in it")
        return url

    def path_prefix(self) -> str:
        """Return the path before all addresses of the service, as people know it; empty where there is none."""
        return urlsplit(self.public_url).path

    def email_domains(self) -> tuple[str, ...]:
        """Return the only domains that e-mail may go to; none: it may go to any."""
        return tuple(name.strip() for name in self.email_allow_domains.split(",") if name.strip())

    @field_validator("webhook_secrets")
    @classmethod
    def _are_secrets(cls, secrets: SecretStr) -> SecretStr:
        read_secrets(secrets.get_secret_value())
        return secrets

    @field_validator("webhook_allow_networks")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        read_networks(networks)
        return networks

    def model_post_init(self, context: Any, /) -> None:
        """Derive what was left empty from the data folder; take an address with or without its last slash."""
        folder = self.data_dir.absolute()
        derived = {
            "data_dir": folder,
            "database_url": self.database_url or sqlite_url(folder / "vacpack.db"),
            "public_url": self.public_url.rstrip("/"),
            "files_url": self.files_url or (folder / "files").as_uri(),
            "worker_jobs": self.worker_jobs or os.cpu_count() or 1,
            "smtp_port": self.smtp_port or _SMTP_PORTS[self.smtp_security],
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


def missing_for_email(settings: Settings) -> list[str]:
    """Return the names of the variables without which no e-mail can be sent; none: it can."""
    return [PREFIX + name.upper() for name in ("smtp_host", "smtp_from", "public_url") if not getattr(settings, name)]


def load_settings(**overrides: Any) -> Settings:
    """Read the environment and ``.env``; ``overrides`` win, those that are None are left out.

    Raises:
        pydantic.ValidationError: a value is not of its type or out of range.
    """
    return Settings(**{name: value for name, value in overrides.items() if value is not None})
