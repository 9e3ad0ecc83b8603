"""What a kind of job is, and what it is given to work with. How jobs are kept is not known here.

class SpeechKind(Kind[SpeechJob]):
    name, scope, request = "speech", "speech", SpeechJob

    async def accept(self, asked: SpeechJob, folder: Path) -> SpeechJob:
        ...                          # 400 for what cannot be; bulky parts go into the folder

    async def run(self, asked: SpeechJob, work: Work) -> None:
        for number, segment in enumerate(segments):
            await work.step(f"segment {number}", partial(speak, segment), Spoken)
            await work.tell("speaking", number + 1, len(segments))
        await work.add(work.folder / "book.m4b", "audio/mp4")
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from more_server.keys import Scope

Asked = TypeVar("Asked", bound=msgspec.Struct)
Outcome = TypeVar("Outcome")


class Work(ABC):
    """One run of a job. A job that was interrupted runs again from the top and finds the steps that were finished.

    A job that is cancelled is told so by asyncio.CancelledError, wherever it waits.
    """

    id: str
    folder: Path
    """The job's own, there before the run; it stays until the job is deleted."""

    @abstractmethod
    async def step(self, name: str, do: Callable[[], Awaitable[Outcome]], outcome: type[Outcome]) -> Outcome:
        """What `do` gives, which is kept: it is not called again once it has ended, by whichever process.

        A step that raises, or that the process dies in, is begun anew when the job goes on; so it must do no harm to
        begin twice: write to a file of its own, then rename. Steps may run side by side; each name is used once in a
        job. `outcome` is a type that msgspec writes and reads as JSON.
        """

    @abstractmethod
    async def tell(self, stage: str, done: float, total: float, about: Mapping[str, Any] | None = None) -> None:
        """Progress: `done` of `total` in any unit, over all of the job; `about` replaces what was told before.

        It may be called as often as there is something to tell.
        """

    @abstractmethod
    async def add(self, file: Path, media_type: str, title: str = "") -> None:
        """Offer a file below the folder as a result, now, while the job goes on; the same one again is a newer one."""


class Kind(ABC, Generic[Asked]):
    """A kind of job. What it raises ends the job: a MoreError with its code and text, another as the server's fault."""

    name: ClassVar[str]
    """`kind` of the request."""
    scope: ClassVar[Scope]
    """What a key must be allowed."""
    request: ClassVar[type[msgspec.Struct]]
    """Fields of the request beside `kind` and `webhook`; it forbids others."""

    @abstractmethod
    async def accept(self, asked: Asked, folder: Path) -> Asked:
        """Check a request; what is to be kept of it, and shown to whoever asks for the job.

        What is bulky, such as a text, is put into the folder, the job's own, and left out of what is kept. The folder
        is called otherwise until the job is kept, so nothing kept may name it. Raises BadInput and its kin naming the
        field; then nothing of the job remains.
        """

    @abstractmethod
    async def run(self, asked: Asked, work: Work) -> None:
        """Do the job; it may run in another process than the one that accepted it, with the same data directory."""
