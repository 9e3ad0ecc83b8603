"""A server that runs, as commands ask it over HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from more_server.errors import MoreError, Unavailable

if TYPE_CHECKING:
    import httpx

SECONDS = 30.0
"""For an answer to begin, and between its pieces; events come at least every 15 s."""


class Away(MoreError):
    """The server does not answer, or not to the end, or cannot yet; it may be starting anew."""


@Parameter(name="*", group="The server")
@dataclass(frozen=True)
class Server:
    """Where the server is, and who asks."""

    url: Annotated[str, Parameter(env_var="MORE_URL")] = "http://127.0.0.1:8000"
    """Its address."""
    key: Annotated[str, Parameter(env_var="MORE_API_KEY", show_default=False)] = ""
    """A key, where it has keys."""

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """The JSON of an answer; None: it has none. Raises MoreError with what the server says."""
        with self.client() as client, self._told():
            answer = client.request(method, path, **more)
            self._check(answer)
            try:
                return answer.json() if answer.content else None
            except ValueError as error:
                raise self._stranger() from error

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Name and JSON of each event of a stream as it comes. Raises MoreError; Away where it breaks off."""
        with self.client() as client, self._told(), client.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
            self._check(answer)
            name = "message"
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def client(self) -> "httpx.Client":
        """What shows the key with each request."""
        import httpx

        headers = {"user-agent": "more-server"} | ({"authorization": f"Bearer {self.key}"} if self.key else {})
        try:
            return httpx.Client(base_url=self.url, headers=headers, timeout=SECONDS)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise MoreError(f"{self.url} is no address of a server (--url, MORE_URL): {error}") from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong on the way, in words."""
        import httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise Away(
                f"there is no server at {self.url} ({error}); start one with `more-server serve`, or say where it is "
                "with --url or MORE_URL"
            ) from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise Away(f"the connection to {self.url} broke off: {reason}") from error

    def _check(self, answer: "httpx.Response") -> None:
        if answer.is_success:
            return
        try:
            message = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._stranger() from error
        if answer.status_code == 401:
            message += "; here it is given with --key or MORE_API_KEY"
        raise (Away if answer.status_code == Unavailable.status else MoreError)(f"{self.url}: {message}")

    def _stranger(self) -> MoreError:
        return MoreError(f"what answers at {self.url} is no MORE server, or a proxy in front of it (--url, MORE_URL)")
