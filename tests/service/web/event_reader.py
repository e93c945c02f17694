"""An event stream as a browser reads it (WHATWG HTML, 9.2.6), over a real connection."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Told:
    """One event as it was dispatched."""

    name: str
    id: str
    """The last event id there was: an event without one keeps that of the event before."""
    data: Any


class EventReader:
    """Asks for a stream and reads it; a stream that is cut off instead of ended raises IncompleteRead."""

    def __init__(self, address: tuple[str, int], job_id: str, last_id: str | None = None) -> None:
        self._connection = HTTPConnection(*address, timeout=TIMEOUT_SECONDS)
        headers = {"Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
        self._connection.request("GET", f"/jobs/{job_id}/events", headers=headers)
        self.socket: socket.socket = self._connection.sock
        self.response: HTTPResponse = self._connection.getresponse()
        self.last_id = last_id or ""
        self.retry_milliseconds = 0
        self.comments = 0

    def events(self) -> Iterator[Told]:
        """Yield the events until the stream ends."""
        name, data = "message", ""
        for line in self._lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "" if line:
                    self.comments += 1
                case "":
                    if data:
                        yield Told(name, self.last_id, json.loads(data))
                    name, data = "message", ""
                case "event":
                    name = value
                case "data":
                    data += value
                case "id":
                    self.last_id = value
                case "retry":
                    self.retry_milliseconds = int(value)
                case _:
                    raise AssertionError(f"not a field: {line!r}")

    def _lines(self) -> Iterator[str]:
        while line := self.response.readline():
            yield line.decode().removesuffix("\n")

    def close(self) -> None:
        """Leave, as a browser does whose page is closed."""
        self.response.close()
        self._connection.close()
