"""The other workers of a server (`server.workers`), as one of them sees them; a server of one process has none."""

from collections.abc import Mapping, Sequence
from typing import Literal

from more_server.logs import LogLine

Question = Literal["metrics", "health"]
"""What workers ask each other."""


class Siblings:
    """None of them: this process is the whole server. `workers.link.Link` is what a worker has in its place."""

    number = 0
    """This worker's own; worker 0 runs the services of which there may be one alone."""
    count = 1
    """Workers of the server, this one included."""

    async def ask(self, question: Question) -> Mapping[int, bytes | None]:
        """The answer of each other worker, by number; None: it is starting, has died, or does not answer."""
        del question
        return {}

    async def log_lines(self, limit: int, after: int) -> tuple[Sequence[LogLine], int] | None:
        """The last lines of all workers together, and since when they are counted, Unix seconds; None: of one only."""
        del limit, after
        return None

    def tell_models(self, names: Sequence[str]) -> None:
        """These models are loaded here now, the one that serves first; so they shall be in all workers."""

    def tell_reload(self) -> None:
        """Settings were read anew here; so they shall be in all workers."""
