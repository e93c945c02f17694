"""What attackers send: requests of a stranger's address, one by one or many on a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from tests.acceptance.asking import Answer, ask
from tests.acceptance.hostile.victim import ATTACKER, FROM_ATTACKER
from tests.acceptance.raw_socket import connected, head, read_answer
from tests.acceptance.service_process import ServiceProcess

T = TypeVar("T")


def hostile_head(line: str, *headers: str) -> bytes:
    """Return a request's head that comes from the attacker's address."""
    return head(line, FROM_ATTACKER, *headers)


def hostile_ask(
    service: ServiceProcess, path: str, method: str = "GET", body: bytes = b"", /, **headers: str
) -> Answer:
    """Send one request from the attacker's address."""
    return ask(f"{service.url}{path}", method, body, **{"X_Forwarded_For": ATTACKER, **headers})


def hostile_send(service: ServiceProcess, data: bytes) -> Answer:
    """Send bytes on a connection of their own, as far as they are taken, and return the first answer."""
    with connected(service) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return read_answer(connection)


def together(work: Callable[[int], T], count: int, *, at_once: int = 8) -> list[T]:
    """Do it so many times, several at once; return what came of each."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(work, range(count)))


def pushed(connection: socket.socket, data: bytes) -> int:
    """Send as much as is taken within a second of silence; return how many bytes that were."""
    connection.settimeout(1)
    sent = 0
    with suppress(TimeoutError):
        while sent < len(data):
            sent += connection.send(data[sent : sent + 65536])
    return sent


def statuses(answers: Iterable[Answer]) -> set[tuple[int, str]]:
    """Return what was answered: each status with its code, empty where it has none."""
    return {(answer.status, answer.json.get("code", "")) for answer in answers}


def metric(service: ServiceProcess, name: str) -> float:
    """Return what a metric, named with its labels as they stand, is now; 0 if it is not told of yet."""
    text = ask(f"{service.url}/metrics", Authorization=f"Bearer {service.admin_token()}").body.decode()
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)
