"""Kinds of jobs that do next to nothing, and keep a diary of it in their folder."""

import asyncio
import errno
import os
import signal
from functools import partial
from pathlib import Path

import msgspec

from more_server.errors import BadInput, ModelNotFound, VoiceNotFound
from more_server.jobs.kinds import Kind, Work

DIARY = "diary.txt"
FAILURES = {
    "bug": RuntimeError("broken"),
    "voice": VoiceNotFound("the voice was deleted", param="voice"),
    "disk": OSError(errno.ENOSPC, "No space left on device"),
    "group": ExceptionGroup("of tasks", [ModelNotFound("the model was deleted", param="model")]),
}


class Toy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a toy is asked to do."""

    text: str = ""
    """Kept in the folder; `no` is not accepted."""
    steps: int = 3
    window: int = 1
    """Steps side by side."""
    seconds: float = 0.0
    """Of each step."""
    fails: dict[str, str] = {}
    """Place in the diary → name of a file beside the folder that says what is raised there, while there is one."""
    dies: dict[str, int] = {}
    """Place in the diary → how many times the process is killed there."""


class Spoken(msgspec.Struct, frozen=True):
    """What a step gives."""

    number: int
    pid: int


class ToyKind(Kind[Toy]):
    """Writes a file in steps, and puts them together."""

    name = "toy"
    scope = "speech"
    request = Toy

    async def accept(self, asked: Toy, folder: Path) -> Toy:
        """The text goes into the folder."""
        (folder / "text.txt").write_text(asked.text)
        if asked.text == "no":
            raise BadInput("text must not be no", param="text")
        return msgspec.structs.replace(asked, text="")

    async def run(self, asked: Toy, work: Work) -> None:
        """Steps in order, or several side by side."""
        self.note(asked, work, "run")
        room = asyncio.Semaphore(asked.window)
        spoken: list[Spoken] = []

        async def one(number: int) -> None:
            async with room:
                spoken.append(await work.step(f"step {number}", partial(self.speak, asked, work, number), Spoken))
                self.note(asked, work, f"kept {number}")
                await work.tell("speaking", len(spoken), asked.steps, {"last": number})

        await asyncio.gather(*map(one, range(asked.steps)))
        out = work.folder / "out.txt"
        parts = [(work.folder / f"part-{number}").read_text() for number in range(asked.steps)]
        out.write_text((work.folder / "text.txt").read_text() + "".join(parts))
        await work.add(out, "text/plain", "All of it")
        self.note(asked, work, "added")

    async def speak(self, asked: Toy, work: Work, number: int) -> Spoken:
        """One step."""
        self.note(asked, work, f"begun {number}")
        try:
            await asyncio.sleep(asked.seconds)
        except asyncio.CancelledError:
            self.note(asked, work, f"cancelled {number}")
            raise
        (work.folder / f"part-{number}").write_text(f"{number};")
        self.note(asked, work, f"done {number}")
        return Spoken(number, os.getpid())

    def note(self, asked: Toy, work: Work, place: str) -> None:
        """Write into the diary; die or fail where that was asked for."""
        with (work.folder / DIARY).open("a") as file:
            file.write(f"{place}\n")
        if diary(work.folder).count(place) <= asked.dies.get(place, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        cause = work.folder.parent / asked.fails.get(place, "none")
        if cause.exists():
            raise FAILURES[cause.read_text()]


class OtherKind(ToyKind):
    """Another queue."""

    name = "other"


def diary(folder: Path) -> list[str]:
    """What a toy did, in order."""
    return (folder / DIARY).read_text().splitlines() if (folder / DIARY).exists() else []
