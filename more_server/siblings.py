"""The other processes of a server, workers or replicas, as one of them sees them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from more_server.logs import LogLine

Question = Literal["metrics", "health"]
"""What workers ask each other."""
QUESTIONS: tuple[Question, ...] = ("metrics", "health")
Name = int | str
"""Number of a worker, or name of a replica."""


def in_order(names: Iterable[Name]) -> list[Name]:
    """By number, or by name: those of one server are all of a kind."""
    return sorted(names, key=lambda name: (len(str(name)), str(name)))


class Siblings:
    """None of them: this process is the whole server.

    `workers.link.Link` is what a worker has in its place, `cluster.replica.OneOfMany` what a replica has.
    """

    name: Name = 0
    """This worker's own."""
    is_first = True
    """Of all, this one runs the services of which there may be one alone."""
    is_alone = True
    """Whoever asks for all workers asks for this one."""

    async def ask(self, question: Question) -> Mapping[Name, bytes | None]:
        """The answer of each other worker, by name; None: it is starting, has died, or does not answer."""
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
