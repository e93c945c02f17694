"""What an upload has brought so far: files with their clean names, and fields. Whichever door it came in by."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from service.intake.sink import Received
from storage.jobs.job_table import NewSource


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """One durable file and what its sender said of it."""

    stored: Received
    name: str
    """Clean; for a file of a form a relative path."""
    media_type: str | None


@dataclass(slots=True)
class Receipt:
    """What an upload brought so far."""

    files: list[ReceivedFile] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def stored(self) -> list[Received]:
        """The files, without their names."""
        return [file.stored for file in self.files]

    def sources(self) -> tuple[NewSource, ...]:
        """Return the files as a job's sources."""
        return tuple(
            NewSource(
                file.stored.key,
                file.name,
                file.stored.size_bytes,
                file.stored.sha256,
                file.media_type,
                file.stored.checksum,
            )
            for file in self.files
        )

    def content(self) -> str:
        """Return what tells a repeat from another request: options, names, sizes, and digests or checksums.

        A form's key may come after its files, when it is too late to digest them; each has its checksum in any case.
        """
        stored = [(file.name, file.stored) for file in self.files]
        files = [(name, file.size_bytes, file.sha256 or file.checksum) for name, file in stored]
        return json.dumps([sorted(self.fields.items()), files])


def shown_name(names: list[str]) -> str:
    """Return a job's name: the file's base name, or of several files their common folder, or how many they are.

    ``names`` are clean, and what is left of them is.
    """
    if len(names) == 1:
        return names[0].rpartition("/")[2]
    folders = {name.partition("/")[0] if "/" in name else "" for name in names}
    return folders.pop() if len(folders) == 1 and "" not in folders else f"{len(names)} files"
