"""Voice stores for tests: of every kind that the plugins offer, and processes that die while they use one."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from more_voice_folder.derived import DerivedFiles
from more_voice_folder.store import FolderStore
from more_voice_object_store import Settings
from more_voice_object_store.connection import connected
from more_voice_object_store.store import ObjectVoiceStore

from more_server import MixPart, Voice, VoiceStore

KINDS = ("folder", "file", "s3")
CLIPS = {f"reference-{number:02}.wav": bytes([number]) * 70_000 for number in (1, 2, 3)}
ANN = Voice(
    id="ann",
    name='Ann "A" Mü\u0308ller \u202e🎙\t',
    languages=("de", "pt-br"),
    aliases=("boss", "der chef"),
    references=tuple(CLIPS),
    mix=(MixPart(2.5, ("reference-01.wav", "reference-02.wav")), MixPart(0.1, ("reference-03.wav",))),
    description="two\nlines, a \\ and \r\n the rest\x7f",
    licence="CC0-1.0",
    consent="said “yes” on 2026-11-24",
    source="ｆｕｌｌ ｗｉｄｔｈ = \x00 [not] # toml",
)
CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")
"""What Python tells auditors of before it changes a disk; `open` also for reading, which does no harm here."""


class Place(msgspec.Struct, frozen=True):
    """Where a store keeps its voices. Opening it twice gives two stores that share nothing else."""

    kind: str
    path: str
    """A folder, or the prefix in the bucket."""
    endpoint: str = ""

    def open(self, refresh_seconds: float = 0.0) -> VoiceStore:
        if self.kind == "folder":
            home = Path(self.path)
            return FolderStore("folder", home / "voices", DerivedFiles(home / "cache", 1_000_000))
        settings = self.settings()
        return ObjectVoiceStore(settings.name, connected(settings), refresh_seconds)

    def settings(self, **others: Any) -> Settings:
        if self.kind == "file":
            return Settings(**{"url": f"file://{self.path}"} | others)
        keys = {"endpoint": self.endpoint, "access_key_id": "test", "secret_access_key": "s3cr3t", "allow_http": True}
        return Settings(**keys | {"url": f"s3://voices/{self.path}"} | others)

    def names(self) -> set[str]:
        """What lies there, as people with access to the storage see it."""
        if self.kind == "s3":
            bucket = connected(self.settings())
            return {meta["path"] for chunk in bucket.store.list() for meta in chunk}
        inside = (path.relative_to(self.path) for path in Path(self.path).rglob("*") if path.is_file())
        return {path.as_posix() for path in inside if ".locks" not in path.parts}


def held(store: VoiceStore, voice: Voice) -> Voice:
    """The voice as this store lists it."""
    (found,) = (one for one in store.list().voices if one.id == voice.id)
    return msgspec.structs.replace(voice, store=store.name, version=found.version)


def check_whole(store: VoiceStore, voice: Voice, clips: Mapping[str, bytes] = CLIPS) -> None:
    """Raises AssertionError unless the store holds this voice, bit for bit."""
    assert held(store, voice) in store.list().voices
    assert {name: store.read(voice.id, name) for name in voice.references} == clips


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The address of a real S3 server, moto, in a process of its own with a bucket `voices`. folder: for its log."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    log = folder / "moto.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            endpoint = f"http://{_line(log, 'Running on http://')}"
            assert httpx.put(f"{endpoint}/voices").status_code == 200
            yield endpoint
        finally:
            server.terminate()


def _line(log: Path, before: str) -> str:
    last = time.monotonic() + 60
    while time.monotonic() < last:
        if found := [line for line in log.read_text().splitlines() if before in line]:
            return found[0].partition(before)[2].strip()
        time.sleep(0.02)
    raise AssertionError(log.read_text())


# -- processes


def processes() -> Any:
    """Makes processes that have this module loaded and nothing running: a fork of a process with threads may hang."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.stores"])
    return context


def killed(place: Place, work: str, step: int) -> bool:
    """Whether a process that writes, updates or deletes ANN was killed at this step; False where it was done before."""
    process = processes().Process(target=_work, args=(place, work, step))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), f"{work} ended with {process.exitcode}"
    return bool(process.exitcode)


def _work(place: Place, work: str, step: int) -> None:
    store, numbers = place.open(), itertools.count()

    def next_step() -> None:
        if next(numbers) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if isinstance(store, ObjectVoiceStore):
        bucket = store._bucket
        bucket.store = Counted(bucket.store, next_step)
    else:
        sys.addaudithook(lambda event, _: next_step() if event in CHANGES else None)
    if work == "write":
        store.write(ANN, Stepped(CLIPS, next_step))
    elif work == "update":
        store.update(msgspec.structs.replace(ANN, name="Other"))
    else:
        store.delete(ANN.id)


class Counted:
    """obstore's store with a step before and after each change."""

    def __init__(self, store: Any, next_step: Callable[[], None]) -> None:
        self._store = store
        self._next_step = next_step

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._stepped(method) if name in ("put", "delete") else method

    def _stepped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any, **options: Any) -> Any:
            self._next_step()
            result = method(*arguments, **options)
            self._next_step()
            return result

        return stepped


class Stepped(dict[str, bytes]):
    """Clips with a step before each of them."""

    def __init__(self, clips: Mapping[str, bytes], next_step: Callable[[], None]) -> None:
        super().__init__(clips)
        self._next_step = next_step

    def __getitem__(self, name: str) -> bytes:
        self._next_step()
        return super().__getitem__(name)
