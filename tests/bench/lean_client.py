"""Callers that cost little: each sends its picture again as soon as it has an answer, on a connection that it keeps.

`python -m tests.bench.lean_client HOST:PORT PATH PICTURE CALLERS SECONDS` prints JSON. Sockets without an HTTP library:
a request of 420 KB takes 0.2 ms of CPU, most of it the kernel's copying. A refused caller (503) asks again at once.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WARM_S = 0.3  # seconds that are not counted: connections open, queues fill
SILENT_S = 30.0  # seconds without anything from any connection, after which the server is given up
CHUNK = 65536  # bytes

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CLOSES = re.compile(rb"(?i)\r\nconnection: *close")


@dataclass
class Measured:
    """What came back: how many answers in all, and of the counted time seconds of each, refusals and broken ones."""

    answered: int = 0
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    broken: int = 0


class Caller:
    """One connection, whose requests follow each other."""

    def __init__(self, address: tuple[str, int], request: bytes, selector: selectors.BaseSelector) -> None:
        self._address, self._request, self._selector = address, memoryview(request), selector
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(self._address)
        self.socket.setblocking(False)
        self._selector.register(self.socket, selectors.EVENT_READ, self)
        self._writes = False
        self.ask()

    def ask(self) -> None:
        """Send the request once more."""
        self.began = time.perf_counter()
        self._sent, self._answer = 0, b""
        self.send()

    def send(self) -> None:
        """Send what the connection takes."""
        try:
            while self._sent < len(self._request):
                self._sent += self.socket.send(self._request[self._sent :])
        except BlockingIOError:
            pass
        except ConnectionError:
            self._sent = len(self._request)  # what was answered before is read
        if (is_left := self._sent < len(self._request)) != self._writes:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_left else 0)
            self._selector.modify(self.socket, events, self)
            self._writes = is_left

    def read(self) -> int | None:
        """The answer's status once it is whole, 0 where the connection broke off, None where there is more to come."""
        try:
            piece = self.socket.recv(CHUNK)
        except BlockingIOError:
            return None
        except ConnectionError:
            piece = b""
        self._answer += piece
        head, found, body = self._answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if length is None or len(body) < int(length[1]):
            return None if piece else 0
        self.stays = bool(piece) and not _CLOSES.search(head) and self._sent == len(self._request)
        return int(head.split(b" ", 2)[1])

    def again(self, status: int) -> None:
        """Ask again, on a new connection where this one is of no more use."""
        if status and self.stays:
            self.ask()
        else:
            self.close()
            self._connect()

    def close(self) -> None:
        """Hang up."""
        self._selector.unregister(self.socket)
        self.socket.close()


def request_of(host: str, path: str, picture: bytes) -> bytes:
    """The whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
    return head.encode() + picture


def call(host: str, path: str, picture: bytes, callers: int, seconds: float) -> Measured:
    """Ask for `seconds` after WARM_S. Raises RuntimeError for a status that is neither 200 nor 503."""
    name, _, port = host.partition(":")
    measured, request = Measured(), request_of(host, path, picture)
    with selectors.DefaultSelector() as selector:
        everyone = [Caller((name, int(port)), request, selector) for _ in range(callers)]
        counts_from = time.perf_counter() + WARM_S
        while (now := time.perf_counter()) < counts_from + seconds:
            ready = selector.select(SILENT_S)
            if not ready and time.perf_counter() > now + SILENT_S / 2:
                raise RuntimeError(f"Nothing came for {SILENT_S} s.")
            for key, events in ready:
                caller: Caller = key.data
                if events & selectors.EVENT_WRITE:
                    caller.send()
                if not events & selectors.EVENT_READ or (status := caller.read()) is None:
                    continue
                ended = time.perf_counter()
                measured.answered += status == 200
                if counts_from <= ended < counts_from + seconds:
                    _count(measured, status, ended - caller.began)
                caller.again(status)
        for caller in everyone:
            caller.close()
    return measured


def _count(measured: Measured, status: int, seconds: float) -> None:
    if status == 200:
        measured.latencies.append(seconds)
    elif status == 503:
        measured.refused += 1
    elif status == 0:
        measured.broken += 1
    else:
        raise RuntimeError(f"The server answered {status}.")


def main(host: str, path: str, picture: str, callers: str, seconds: str) -> None:
    """Call, and print what was measured."""
    measured = call(host, path, Path(picture).read_bytes(), int(callers), float(seconds))
    result: dict[str, Any] = {
        "latencies": [round(latency, 5) for latency in measured.latencies],
        "answered": measured.answered,
        "refused": measured.refused,
        "broken": measured.broken,
        "cpu_s": time.process_time(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
