"""A worker, as the parent sees it."""

import asyncio
import errno
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable

import msgspec

from more_server.workers.messages import LINE_BYTES, Failed, Given, OfWorker, Report, Started, decoded, encoded

SILENT_SECONDS = 5.0
"""A worker that says nothing for so long is given connections only where the others cannot take them."""
GONE = (errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENOTCONN)


class Member:
    """One life of a worker."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.report = Report()
        self.started = self.failed = False
        """It can speak; it said that it cannot."""
        self.failure = ""
        """What it said then."""
        self.began = time.monotonic()
        self._heard = self.began
        self.is_listening = False
        """It has said something, so it hears, too."""
        self._handed: deque[socket.socket] = deque()
        """Connections that it has not said to have taken; kept open, so that none is lost with it."""
        self._taken = 0

    async def start(self, given: Given) -> None:
        """Start the process. Raises OSError."""
        self._door, door = socket.socketpair()
        talk, theirs = socket.socketpair()
        self._door.setblocking(False)
        with door, theirs:
            # A group of its own: Ctrl-C on a terminal reaches the parent, which lets them end in order.
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "more_server.workers", str(door.fileno()), str(theirs.fileno())),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(door.fileno(), theirs.fileno()),
                process_group=0,
            )
        self._reader, self._writer = await asyncio.open_unix_connection(sock=talk, limit=LINE_BYTES)
        assert self.process.stdin is not None
        self.process.stdin.write(encoded(given))
        self.process.stdin.close()

    async def listen(self, take: Callable[["Member", OfWorker], None]) -> None:
        """Until it has ended: what it tells goes to take, after what is noted here."""
        try:
            while line := await self._reader.readline():
                self._heard, self.is_listening = time.monotonic(), True
                message: OfWorker = decoded(line, OfWorker)
                match message:
                    case Report():
                        self._note(message)
                    case Started():
                        self.started = True
                    case Failed():
                        self.failed, self.failure = True, message.message
                take(self, message)
        except OSError:
            pass  # as good as its end
        await self.process.wait()

    def _note(self, report: Report) -> None:
        for _ in range(report.taken - self._taken):
            self._handed.popleft().close()
        self._taken, self.report = report.taken, report

    def send(self, message: msgspec.Struct) -> None:
        """Nothing where it has ended."""
        if not self._writer.is_closing():
            self._writer.write(encoded(message))

    def signal(self, number: signal.Signals) -> None:
        """Nothing where it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    # -- connections

    @property
    def silent(self) -> float:
        """Seconds since it said something."""
        return time.monotonic() - self._heard

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """The smallest one gets the next connection: ready before others, then by speech, requests, connections."""
        report = self.report
        fit = report.ready and self.silent < SILENT_SECONDS
        handed = len(self._handed)
        return (not fit, report.speaking + handed, report.requests + handed, report.connections + handed)

    def hand(self, connection: socket.socket) -> bool:
        """Give it a connection; False where it takes none, or none at the moment. Then whoever asked still has it."""
        if self._door.fileno() < 0:
            return False
        try:
            socket.send_fds(self._door, [b"c"], [connection.fileno()])
        except OSError as error:
            if error.errno in GONE:
                self._door.close()
            return False
        self._handed.append(connection)
        return True

    @property
    def is_open(self) -> bool:
        """It may take connections, now or when it has started."""
        return self._door.fileno() >= 0

    def close(self) -> list[socket.socket]:
        """It has ended: connections that it never took."""
        self._door.close()
        self._writer.close()
        left, self._handed = list(self._handed), deque()
        return left
