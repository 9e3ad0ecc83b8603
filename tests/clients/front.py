"""A door in front of a server that counts the requests which come through it, byte for byte as they are."""

import contextlib
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

METHODS = (b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"HEAD ", b"OPTIONS ")


@dataclass
class Attempt:
    """A request, and how it was answered."""

    request: str
    """Such as `POST /v1/audio/speech`."""
    headers: dict[str, str]
    came: float
    status: int = 0
    """0: there was no answer."""
    answer: dict[str, str] = field(default_factory=dict)
    """Its headers."""
    answered: float = 0.0


class Front:
    """Forwards connections, and tells what was asked over them."""

    def __init__(self, url: str, before: Callable[[int], None]) -> None:
        behind = urlsplit(url)
        self._behind = (behind.hostname or "", behind.port or 80)
        self._before = before
        self.attempts: list[Attempt] = []
        self.url = ""

    @property
    def statuses(self) -> list[int]:
        return [attempt.status for attempt in self.attempts]

    def waited(self, number: int) -> float:
        """Seconds between the answer to an attempt, counted from 0, and the next one."""
        return self.attempts[number + 1].came - self.attempts[number].answered

    def forward(self, client: socket.socket) -> None:
        """Until one of the two hangs up, which the other one sees."""
        attempt = None
        with socket.create_connection(self._behind) as server:
            while True:
                for side in select.select([client, server], [], [])[0]:
                    data = side.recv(65_536)
                    if not data:
                        return
                    if side is client:
                        attempt = self._asked(data) or attempt
                        server.sendall(data)
                    else:
                        if attempt and not attempt.status:
                            self._answered(attempt, data)
                        client.sendall(data)

    def _asked(self, data: bytes) -> Attempt | None:
        """Clients wait for an answer before they ask again, so a request is the beginning of what was read."""
        if not data.startswith(METHODS):
            return None
        line, headers = _head(data)
        attempt = Attempt(line.rpartition(" ")[0], headers, time.monotonic())
        self.attempts.append(attempt)
        self._before(len(self.attempts))
        return attempt

    def _answered(self, attempt: Attempt, data: bytes) -> None:
        line, attempt.answer = _head(data)
        attempt.status, attempt.answered = int(line.split()[1]), time.monotonic()


def _head(data: bytes) -> tuple[str, dict[str, str]]:
    line, *fields = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (one.partition(":") for one in fields)
    return line, {name.lower(): value.strip() for name, _, value in pairs}


@contextlib.contextmanager
def counted(url: str, before: Callable[[int], None] = lambda number: None) -> Iterator[Front]:
    """A door before the server at `url`; `before` is called with 1 for the first request, before it is forwarded."""
    front = Front(url, before)

    class Door(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                front.forward(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Door) as listening:
        listening.daemon_threads = True
        front.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield front
        finally:
            listening.shutdown()
            thread.join(20)
