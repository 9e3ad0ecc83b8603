"""A file server on the loopback with ranges, and with the faults of a real network on demand."""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has and how it misbehaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    address: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Path and Range of every request."""
    drops: list[int] = field(default_factory=list)
    """The next answers break off after so many bytes, where they have more."""
    failures: list[int] = field(default_factory=list)
    """The next answers are these statuses."""
    etags: bool = True
    ranges: bool = True
    lengths: bool = True
    linked: dict[str, str] = field(default_factory=dict)
    """X-Linked-ETag by path, sent with a redirect as Hugging Face does."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, site: Site, *args: object) -> None:
        self.site = site
        super().__init__(*args)

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range", "")
        site.requests.append((self.path, wanted))
        if site.failures:
            self._empty(site.failures.pop(0))
        elif self.path in site.linked:
            linked = ("X-Linked-ETag", f'"{site.linked[self.path]}"')
            self._empty(302, ("Location", f"/cdn{self.path}"), linked)
        elif self.path.removeprefix("/cdn") not in site.files:
            self._empty(404)
        else:
            self._send(site.files[self.path.removeprefix("/cdn")], wanted)

    def _empty(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", "0")):
            self.send_header(name, value)
        self.end_headers()

    def _send(self, content: bytes, wanted: str) -> None:
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        match = re.fullmatch(r"bytes=(\d+)-", wanted) if self.site.ranges else None
        if match and self.headers.get("If-Range", etag) == etag:
            start = int(match[1])
            if start >= len(content):
                self._empty(416, ("Content-Range", f"bytes */{len(content)}"))
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            start = 0
            self.send_response(200)
        if self.site.etags:
            self.send_header("ETag", etag)
        body = content[start:]
        if self.site.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.site.drops and (kept := self.site.drops.pop(0)) < len(body):
            self.wfile.write(body[:kept])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is part of the play."""


@contextmanager
def serve() -> Iterator[Site]:
    site = Site()
    server = Server(("127.0.0.1", 0), lambda *args: Handler(site, *args))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
