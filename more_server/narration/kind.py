"""Long speech as a kind of job."""

import asyncio
import shutil
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec

from more_server.errors import StorageError
from more_server.files import write_file
from more_server.jobs.kinds import Kind, Work
from more_server.keys import Scope
from more_server.narration.binding import Binding
from more_server.narration.document import Document
from more_server.narration.plan import Plan, begin, completed
from more_server.narration.reading import read
from more_server.narration.request import SpeechJob
from more_server.narration.speaking import FOLDER, Speaking, load, written
from more_server.speak import Speaker

DOCUMENT, PLAN = "document.json", "plan.json"
Kept = TypeVar("Kept", bound=msgspec.Struct)
BINDING_SHARE = 0.05
"""Of the time that speaking takes, for the files that are made of it: a guess, for the progress alone."""


class SpeechKind(Kind[SpeechJob]):
    """Speaks texts and books with the server's own models and voices."""

    name: ClassVar[str] = "speech"
    scope: ClassVar[Scope] = "speech"
    request: ClassVar[type[msgspec.Struct]] = SpeechJob

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    async def accept(self, asked: SpeechJob, folder: Path) -> SpeechJob:
        """What is kept: all that was left open is settled, and the text is in the folder."""
        document = await asyncio.to_thread(read, asked)
        made = await begin(self._speaker, asked, document)
        await _keep(folder / DOCUMENT, document)
        await _keep(folder / PLAN, made)
        return msgspec.structs.replace(
            asked,
            input="",
            document="",
            model=made.model,
            voice=made.voice,
            quality=made.profile.name,
            language=made.language,
            seed=made.seed,
        )

    async def run(self, asked: SpeechJob, work: Work) -> None:
        """Speak, then make the files. Raises what speech is refused or fails with, alone or as a group."""
        pinned = await asyncio.to_thread(_read, work.folder / PLAN, Plan)
        await load(self._speaker, pinned, work)
        made = pinned if pinned.passages else await self._completed(pinned, asked, work)
        about = {"title": made.title, "passages": len(made.passages), "chapters": len(made.chapters)}

        async def tell(stage: str, seconds: float, waiting_for: str = "") -> None:
            waits = {"waiting_for": waiting_for} if waiting_for else {}
            await work.tell(stage, seconds, made.seconds * (1 + BINDING_SHARE), about | waits)

        async def tell_share(share: float) -> None:
            await tell("encoding", made.seconds * (1 + BINDING_SHARE * share))

        spoken = await Speaking(self._speaker, made, work, tell).run()
        await Binding(made, asked, work, tell_share).run([passage.samples for passage in spoken])
        # Only now: what was made of them is on the disk.
        await asyncio.to_thread(shutil.rmtree, work.folder / FOLDER, ignore_errors=True)

    async def _completed(self, pinned: Plan, asked: SpeechJob, work: Work) -> Plan:
        """The plan, completed in the first run: for a long book it takes longer than clients wait for an answer."""
        await work.tell("planning", 0.0, 1.0)
        document = await asyncio.to_thread(_read, work.folder / DOCUMENT, Document)
        made = await completed(self._speaker, pinned, asked, document)
        await _keep(work.folder / PLAN, made)
        await asyncio.to_thread((work.folder / DOCUMENT).unlink)
        return made


async def _keep(path: Path, content: msgspec.Struct) -> None:
    with written(path):
        await asyncio.to_thread(write_file, path, msgspec.json.encode(content))


def _read(path: Path, kind: type[Kept]) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StorageError(f"the job's {path.name} cannot be read: {error}") from error
