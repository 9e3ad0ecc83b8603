"""What tests of long speech share: work that is kept in memory, a speaker on a tiny model, and short books."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from more_server.app import create_speaker
from more_server.audio.encode import encode_file
from more_server.jobs.kinds import Kind, Work
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.tables import EngineSettings
from more_server.testing import tiny_config, tiny_xtts
from tests.audio.signals import RATE, sine

Outcome = TypeVar("Outcome")
BOOK = """# One

It was a dark and stormy night, and nobody was out. The rain fell all the time.

The wind blew hard against the old windows of the house, as it had for days and days.

# Two

In the morning it was over, and the sun came out. Everybody went to see the river.
"""
"""Five or six passages in two chapters."""


class Crash(Exception):
    """The process dies here."""


class FakeWork(Work):
    """Steps are kept as JSON in `kept`, which another run takes up; `at` is called at every step and may raise."""

    def __init__(
        self,
        folder: Path,
        kept: dict[str, bytes] | None = None,
        at: Callable[[str, str], None] = lambda name, moment: None,
    ) -> None:
        self.id = "job_test"
        self.folder = folder
        self.kept = {} if kept is None else kept
        self.done: list[str] = []
        """Steps that were really done, in this run."""
        self.told: list[tuple[str, float, float, Mapping[str, Any]]] = []
        self.added: dict[str, tuple[str, str]] = {}
        """Media types and titles by path below the folder."""
        self._at = at
        self._names: set[str] = set()

    async def step(self, name: str, do: Callable[[], Awaitable[Outcome]], outcome: type[Outcome]) -> Outcome:
        assert name not in self._names, f"{name} is used twice"
        self._names.add(name)
        if name not in self.kept:
            self._at(name, "before")
            result = msgspec.json.encode(await do())
            self._at(name, "after")
            self.kept[name] = result
            self.done.append(name)
        return msgspec.json.decode(self.kept[name], type=outcome)

    async def tell(self, stage: str, done: float, total: float, about: Mapping[str, Any] | None = None) -> None:
        assert 0 <= done <= total * 1.000001
        self.told.append((stage, done, total, msgspec.json.decode(msgspec.json.encode(about or {}))))

    async def add(self, file: Path, media_type: str, title: str = "") -> None:
        assert names(file.parent).count(file.name) == 1
        self.added[file.relative_to(self.folder).as_posix()] = (media_type, title)


async def run(kind: Kind[Any], asked: Any, work: Work) -> None:
    """A run that fails as whoever runs jobs tells it: of a group of errors, with the first."""
    try:
        await kind.run(asked, work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def names(folder: Path) -> list[str]:
    """Of everything in a folder."""
    return sorted(path.name for path in folder.iterdir())


@asynccontextmanager
async def speaking(data_dir: Path, **engine: Any) -> AsyncIterator[Speaker]:
    """A speaker on the tiny model, whose weights are random, with the two voices that ship and one of its own."""
    tiny_xtts(data_dir / "models" / "tiny", config=tiny_config(("en", "de")))
    add_voice(data_dir, "ada", 200.0)
    settings = EngineSettings(**{"device": "cpu", "threads": 1, "slots": 3} | engine)  # type: ignore[arg-type]
    made = create_speaker(Settings(data_dir=data_dir, model="tiny", prepare_voices=False, engine=settings))
    made.engine.start()
    await made.start()
    try:
        yield made
    finally:
        made.engine.stop()


def add_voice(data_dir: Path, voice_id: str, hertz: float) -> None:
    """Put a voice into its folder by hand, as people do."""
    folder = data_dir / "voices" / voice_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clip.wav").write_bytes(encode_file(sine(hertz, 3.0), RATE, "wav"))
    (folder / "voice.toml").write_text(f'name = "{voice_id}"\n')


@pytest.fixture(scope="session")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    with asyncio.Runner() as runner:
        entered = speaking(tmp_path_factory.mktemp("data"))
        yield runner.run(entered.__aenter__())
        runner.run(entered.__aexit__(None, None, None))


@pytest.fixture
def work(tmp_path: Path) -> FakeWork:
    return FakeWork(tmp_path)
