"""Work as a job has it, but kept in memory: what ends a run leaves it as a killed server leaves a job."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from more_server.jobs.kinds import Outcome, Work
from more_server.settings import Settings


class Killed(BaseException):
    """The process dies here."""


class FakeWork(Work):
    """Keeps the outcomes of steps; `dies_in` names a step that ends, but whose outcome is not kept any more."""

    def __init__(self, folder: Path, dies_in: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.id = folder.name
        self.folder = folder
        self.dies_in = dies_in
        self.kept: dict[str, bytes] = {}
        self.begun: list[str] = []
        """Steps that were not found finished, over all runs."""
        self.told: list[tuple[str, float, float, Any]] = []
        self.results: dict[str, tuple[str, str]] = {}
        """Media type and title by name."""
        self.on_told: Callable[[str, float], None] = lambda stage, done: None
        self._named: set[str] = set()

    def again(self) -> "FakeWork":
        """The same job in another process."""
        self._named.clear()
        self.dies_in = ""
        self.on_told = lambda stage, done: None
        return self

    async def step(self, name: str, do: Callable[[], Awaitable[Outcome]], outcome: type[Outcome]) -> Outcome:
        assert name not in self._named, f"the step {name} stands twice in the job"
        self._named.add(name)
        if name not in self.kept:
            self.begun.append(name)
            ended = await do()
            if name == self.dies_in:
                raise Killed
            self.kept[name] = msgspec.json.encode(ended)
        return msgspec.json.decode(self.kept[name], type=outcome)

    async def tell(self, stage: str, done: float, total: float, about: Mapping[str, Any] | None = None) -> None:
        assert 0 <= done <= total
        msgspec.json.encode(about)
        self.told.append((stage, done, total, about))
        self.on_told(stage, done)

    async def add(self, file: Path, media_type: str, title: str = "") -> None:
        assert file.is_file()  # noqa: ASYNC240 - a look
        self.results[file.relative_to(self.folder).as_posix()] = (media_type, title)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def work(settings: Settings) -> FakeWork:
    """A job's, whose folder is there and empty."""
    return FakeWork(settings.jobs_dir / "job-1")
