"""The watcher of the folder of voices: what is changed by hand is noticed, told, and prepared when it is whole."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import more_voice_folder
import msgspec
import pytest
from more_voice_folder import memory, watcher
from more_voice_folder.reading import Contents
from more_voice_folder.store import FolderStore
from more_voice_folder.watcher import Watcher
from structlog.testing import capture_logs

from more_server import Context, Listing, Voice, errors
from more_server.settings import bundled_dir

CLIP = {"reference-01.wav": b"clip"}
ANN = Voice(id="ann", name="Ann", references=tuple(CLIP))
SETTLE = 0.3


class Server:
    """Remembers what it was asked to prepare."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.failure: errors.MoreError | None = None

    async def prepare(self, voice: Voice) -> None:
        self.prepared.append(voice.id)
        if self.failure:
            raise self.failure


class Watched(msgspec.Struct):
    """A store, its watcher, and what came of it."""

    store: FolderStore
    watcher: Watcher
    server: Server
    logs: list[Any]
    looks: list[int]

    def put(self, voice_id: str, toml: str = "") -> Path:
        folder = self.store.home / voice_id
        folder.mkdir(parents=True)
        (folder / "voice.toml").write_text(toml)
        (folder / "a.wav").write_bytes(b"clip")
        return folder

    def ids(self) -> list[str]:
        return [voice.id for voice in self.store.list().voices]

    def told(self) -> list[tuple[str, str]]:
        return [(log["event"], log["voice_id"]) for log in self.logs if "voice_id" in log]


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "SETTLE_SECONDS", SETTLE)
    monkeypatch.setattr(watcher, "HEARTBEAT_MS", 50)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


@pytest.fixture
async def watched(tmp_path: Path, logs: list[Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    server: Any = Server()
    settings = more_voice_folder.Settings()
    context = Context(
        plugin="more_voice_folder", settings=settings, data_dir=tmp_path, bundled_dir=bundled_dir(), server=server
    )
    store: Any = more_voice_folder.voice_stores(context)[0]
    service: Any = more_voice_folder.services(context)[0]
    looks: list[int] = []
    names = store._names
    monkeypatch.setattr(store, "_names", lambda: looks.append(1) or names())
    watched = Watched(store, service, server, logs, looks)
    watched.put("old")
    await service.start()
    await until(lambda: is_trusted(watched))
    yield watched
    await service.stop()


def is_trusted(watched: Watched) -> bool:
    """Whether the listing comes from memory."""
    watched.store.list()
    before = len(watched.looks)
    watched.store.list()
    return len(watched.looks) == before


async def until(reached: Callable[[], object], seconds: float = 10.0) -> None:
    for _ in range(round(seconds / 0.02)):
        if reached():
            return
        await asyncio.sleep(0.02)
    pytest.fail("never reached")


async def test_what_stays_is_not_looked_at_again(watched: Watched) -> None:
    before = len(watched.looks)
    for _ in range(100):
        assert watched.ids() == ["old"]
        watched.store.read("old", "a.wav")
    await asyncio.sleep(3 * SETTLE)
    assert watched.ids() == ["old"]
    assert len(watched.looks) == before
    assert watched.told() == []
    assert watched.server.prepared == []


async def test_what_is_done_by_hand_is_told_and_prepared(watched: Watched, tmp_path: Path) -> None:
    folder = watched.put("new", 'name = "New"')
    assert watched.ids() == ["new", "old"]
    await until(lambda: watched.server.prepared == ["new"])
    (folder / "voice.toml").write_text('name = "Newer"')
    await until(lambda: watched.store.list().voices[0].name == "Newer")
    await until(lambda: ("a voice has changed", "new") in watched.told())
    assert watched.server.prepared == ["new"]  # its clips are as they were
    (folder / "a.wav").write_bytes(b"other clip")
    await until(lambda: watched.server.prepared == ["new", "new"])
    (folder / "voice.toml").write_text("nmae = 7")
    await until(lambda: watched.store.list().problems)
    await until(lambda: ("a voice cannot be used", "new") in watched.told())
    (folder / "voice.toml").write_text("")
    await until(lambda: watched.server.prepared == ["new"] * 3)
    shutil.move(folder, tmp_path / "away")
    assert watched.ids() == ["old"]
    await until(lambda: ("a voice is gone", "new") in watched.told())
    assert [event for event, _ in watched.told()] == [
        "a voice is new",
        "a voice has changed",
        "a voice has changed",
        "a voice cannot be used",
        "a voice is new",
        "a voice is gone",
    ]


async def test_a_copy_in_progress_is_not_taken_half(watched: Watched) -> None:
    folder = watched.put("slow")
    with (folder / "b.wav").open("wb") as file:
        for _ in range(8):
            file.write(bytes(50_000))
            file.flush()
            await asyncio.sleep(SETTLE / 3)
        assert watched.server.prepared == []
        assert watched.told() == []
    await until(lambda: watched.server.prepared == ["slow"])
    assert watched.told() == [("a voice is new", "slow")]
    assert len(watched.store.read("slow", "b.wav")) == 400_000


async def test_own_changes_are_seen_at_once_and_not_told(watched: Watched) -> None:
    watched.store.write(ANN, CLIP)
    assert watched.ids() == ["ann", "old"]
    watched.store.update(msgspec.structs.replace(ANN, name="Anna"))
    assert watched.store.list().voices[0].name == "Anna"
    await asyncio.sleep(3 * SETTLE)
    watched.store.delete("ann")
    assert watched.ids() == ["old"]
    await asyncio.sleep(3 * SETTLE)
    assert watched.told() == []
    assert watched.server.prepared == []


async def test_a_voice_that_cannot_be_prepared_is_told(watched: Watched) -> None:
    watched.server.failure = errors.BrokenVoice("no sound")
    watched.put("silent")
    await until(lambda: ("a voice cannot be prepared", "silent") in watched.told())
    watched.server.failure = None
    watched.put("loud")
    await until(lambda: "loud" in watched.server.prepared)


async def test_a_folder_that_is_removed_and_made_again(watched: Watched) -> None:
    shutil.rmtree(watched.store.home)
    assert watched.ids() == []
    await until(lambda: ("a voice is gone", "old") in watched.told())
    shutil.rmtree(watched.store.home, ignore_errors=True)
    watched.put("new")
    await until(lambda: "new" in watched.server.prepared)
    await until(lambda: is_trusted(watched))
    (watched.store.home / "new" / "voice.toml").write_text('name = "Newer"')
    await until(lambda: watched.store.list().voices[0].name == "Newer")


async def test_changes_that_no_event_tells_are_seen_all_the_same(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network disk, where another machine has written."""
    await watched.watcher.stop()

    async def heartbeats(*_paths: object, stop_event: asyncio.Event, **_options: object) -> AsyncIterator[set[Any]]:
        while not stop_event.is_set():
            await asyncio.sleep(0.05)
            yield set()

    monkeypatch.setattr("watchfiles.awatch", heartbeats)
    monkeypatch.setattr(memory, "MOST_SECONDS", 0.5)
    monkeypatch.setattr(watcher, "MOST_SECONDS", 0.5)
    await watched.watcher.start()
    await until(lambda: is_trusted(watched))
    (watched.store.home / "old" / "voice.toml").write_text('name = "Other"')
    (watched.store.home / "old" / "a.wav").write_bytes(b"other clip")
    await until(lambda: watched.store.list().voices[0].name == "Other")
    await until(lambda: watched.server.prepared == ["old"])


@pytest.mark.parametrize("end", ["stops", "dies", "hangs"])
async def test_without_a_watcher_every_change_is_seen(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    async def fail() -> None:
        raise RuntimeError("inotify gave up")

    async def hang() -> None:
        await asyncio.Event().wait()

    if end == "stops":
        await watched.watcher.stop()
    else:
        ending: Callable[[], Awaitable[None]] = fail if end == "dies" else hang
        monkeypatch.setattr(watched.watcher, "_settle", lambda _: ending())
        monkeypatch.setattr(watcher, "TRUST_SECONDS", 0.2)
    await until(lambda: not is_trusted(watched))
    (watched.store.home / "old" / "voice.toml").write_text('name = "Other"')
    assert watched.store.list().voices[0].name == "Other"
    assert any("no longer watched" in log["event"] for log in watched.logs) is (end == "dies")


def test_a_look_that_began_before_a_change_does_not_count(tmp_path: Path) -> None:
    kept, contents = (
        memory.Memory(tmp_path),
        [Contents({}, {"number": str(number)}, Listing(())) for number in range(5)],
    )

    def look(number: int, meanwhile: Callable[[], None] = lambda: None) -> Contents:
        meanwhile()
        return contents[number]

    kept.trust(60)
    assert kept.get(lambda: look(0, kept.forget)) is contents[0]
    assert kept.get(lambda: look(1)) is contents[1]
    assert kept.get(lambda: look(2)) is contents[1]
    kept.distrust()
    assert kept.get(lambda: look(3)) is contents[3]
    # Between the two nobody watched, so what is known may be old.
    assert kept.get(lambda: look(3, lambda: kept.trust(60))) is contents[3]
    assert kept.get(lambda: look(4)) is contents[4]
    (tmp_path / "new").mkdir()
    assert kept.get(lambda: look(0)) is contents[0]


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    server: Any = Server()
    (tmp_path / "file").write_text("")
    store = FolderStore("folder", tmp_path / "file" / "voices", more_voice_folder.DerivedFiles(tmp_path, 1000))
    with pytest.raises(errors.StorageError, match="Not a directory"):
        await Watcher(store, server).start()


def test_nothing_is_watched_where_that_is_switched_off(tmp_path: Path) -> None:
    server: Any = Server()
    settings = more_voice_folder.Settings(watch=False)
    context = Context(plugin="x", settings=settings, data_dir=tmp_path, bundled_dir=tmp_path, server=server)
    assert more_voice_folder.services(context) == ()
