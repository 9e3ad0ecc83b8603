"""A line between browser and server that can be cut."""

import contextlib
import socket
import threading


class Cut:
    """Passes every connection on to a port of this machine, until it is told to cut them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._left: int | None = None
        """Bytes from the server that are still let through, over all connections; None: all of them."""
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Cut":
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._close()

    def after(self, *, bytes_down: int) -> None:
        """Cut all connections once so many more bytes have come from the server, and take none."""
        with self._lock:
            self._left = bytes_down

    def heal(self) -> None:
        with self._lock:
            self._left = None

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._left == 0:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            with self._lock:
                self._open += [client, server]
            for source, target, down in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass_on, args=(source, target, down), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, down: bool) -> None:
        with contextlib.suppress(OSError):
            while (piece := source.recv(16384)) and (not down or self._may_pass(len(piece))):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def _may_pass(self, count: int) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left = max(0, self._left - count)
            if self._left:
                return True
        self._close()
        return False

    def _close(self) -> None:
        with self._lock:
            closing, self._open = self._open, []
        for one in closing:
            with contextlib.suppress(OSError):
                # Both directions at once, as when a network goes: the browser must not take it for an end.
                one.shutdown(socket.SHUT_RDWR)
            one.close()
