"""What the background half must know, as one small value that travels to the child process as JSON.

Not the whole ``Settings``: the child has no business with the admin token, and starts without reading the environment.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

if TYPE_CHECKING:
    from service.settings import Settings

_MILLISECONDS = 1000
_SAME_NAMES = (
    "database_url",
    "worker_jobs",
    "worker_niceness",
    "heartbeat_seconds",
    "hang_seconds",
    "poll_seconds",
    "sweep_seconds",
    "orphan_grace_seconds",
    "quarantine_seconds",
    "min_free_bytes",
    "audit_max_events",
    "max_job_cpu_seconds",
    "max_job_memory_bytes",
    "max_messages_per_target_per_hour",
    "max_worker_losses",
    "retry_pause_seconds",
    "scan_command",
    "scan_timeout_seconds",
    "retry_pause_max_seconds",
    "shutdown_grace_seconds",
    "log_format",
    "log_level",
    "public_url",
    "webhook_allow_networks",
    "smtp_host",
    "smtp_port",
    "smtp_security",
    "smtp_user",
    "smtp_from",
    "smtp_timeout_seconds",
)


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """The settings of workers and sweeps; the meanings and reasons stand in ``Settings``."""

    database_url: str
    files_dir: str
    locks_dir: str
    worker_jobs: int
    worker_niceness: int
    lease_milliseconds: int
    heartbeat_seconds: float
    poll_seconds: float
    sweep_seconds: float
    orphan_grace_seconds: float
    grave_milliseconds: int
    audit_retention_milliseconds: int
    max_worker_losses: int
    retry_pause_seconds: float
    retry_pause_max_seconds: float
    shutdown_grace_seconds: float
    log_format: str
    log_level: str
    hang_seconds: float = 120
    audit_max_events: int = 500_000
    max_job_cpu_seconds: float = 0
    max_job_memory_bytes: int = 0
    max_messages_per_target_per_hour: int = 100
    quarantine_seconds: float = 24 * 3600
    min_free_bytes: int = 0
    public_url: str = ""
    scan_command: str = ""
    scan_timeout_seconds: float = 300
    webhook_secrets: str = field(default="", repr=False)
    webhook_allow_networks: str = ""
    smtp_host: str = ""
    smtp_port: int = 0
    smtp_security: str = "starttls"
    smtp_user: str = ""
    smtp_password: str = field(default="", repr=False)
    smtp_from: str = ""
    smtp_timeout_seconds: float = 20

    def to_json(self) -> str:
        """Return one line that ``from_json`` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> WorkSettings:
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(line))


def work_settings(settings: Settings) -> WorkSettings:
    """Return the part of the settings that the background half needs."""
    return WorkSettings(
        files_dir=os.fsdecode(unquote_to_bytes(urlsplit(settings.files_url).path)),
        locks_dir=str(Path(settings.data_dir) / "locks"),
        lease_milliseconds=round(settings.lease_seconds * _MILLISECONDS),
        grave_milliseconds=settings.grave_seconds * _MILLISECONDS,
        audit_retention_milliseconds=settings.audit_retention_seconds * _MILLISECONDS,
        webhook_secrets=settings.webhook_secrets.get_secret_value(),
        smtp_password=settings.smtp_password.get_secret_value(),
        **{name: getattr(settings, name) for name in _SAME_NAMES},
    )
