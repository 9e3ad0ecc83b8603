"""Voices in an object store: lost answers, other writers, what dead ones left, and the memory of the list."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from more_voice_object_store import refresher
from more_voice_object_store.refresher import Refresher
from more_voice_object_store.store import ObjectVoiceStore
from obstore.exceptions import AlreadyExistsError, GenericError
from structlog.testing import capture_logs

from more_server import Voice, errors
from tests.plugins.test_voice_object_store import meddle, opened
from tests.stores import ANN, CLIPS, Place, check_whole, held, s3_server

MANIFEST = "voices/ann/voice.json"
SHARED = pytest.mark.parametrize("place", ["s3"], indirect=True)
"""In a folder, a lock keeps writers apart."""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        return Place("s3", tmp_path.name, request.getfixturevalue("endpoint"))
    return Place("file", str(tmp_path))


@pytest.fixture
def store(place: Place) -> ObjectVoiceStore:
    return opened(place)


def lost(error: type[Exception]) -> Callable[..., Any]:
    """Carries a conditional put out, and answers as if it had not."""

    def put(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        real(*given, **options)
        if "mode" in options:
            raise error("HTTP error: error sending request")

    return put


# -- lost answers and other writers


@pytest.mark.parametrize("error", [GenericError, AlreadyExistsError])
def test_a_voice_whose_answer_was_lost_is_there(store: ObjectVoiceStore, place: Place, error: type[Exception]) -> None:
    """The library tries again by itself, and then meets what its first try wrote."""
    meddle(store, "put", lost(error))
    store.write(ANN, CLIPS)
    check_whole(opened(place), ANN)


def test_a_voice_that_may_come_late_keeps_its_clips(store: ObjectVoiceStore, place: Place) -> None:
    late: list[Callable[[], Any]] = []

    def put(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        if "mode" not in options:
            return real(*given, **options)
        late.append(lambda: real(*given, **options))
        raise GenericError("HTTP error: error sending request")

    meddle(store, "put", put)
    with pytest.raises(errors.StorageError):
        store.write(ANN, CLIPS)
    assert opened(place).list().voices == ()
    late[0]()
    check_whole(opened(place), ANN)
    assert opened(place).list().problems == ()


@SHARED
def test_the_loser_of_a_race_leaves_nothing(store: ObjectVoiceStore, place: Place) -> None:
    other = opened(place)

    def put(real: Callable[..., Any], key: str, *given: Any, **options: Any) -> Any:
        if "mode" in options:
            other.write(msgspec.structs.replace(ANN, name="First"), CLIPS)
        return real(key, *given, **options)

    meddle(store, "put", put)
    with pytest.raises(errors.BadInput, match="exists already"):
        store.write(ANN, dict.fromkeys(CLIPS, b"second"))
    check_whole(store, msgspec.structs.replace(ANN, name="First"))
    assert len(place.names()) == 1 + len(CLIPS)


@SHARED
def test_updates_of_two_servers(store: ObjectVoiceStore, place: Place) -> None:
    other, meddled = opened(place), []
    store.write(ANN, CLIPS)

    def put(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        if not meddled:
            meddled.append(other.update(msgspec.structs.replace(ANN, name="Theirs")))
        return real(*given, **options)

    meddle(store, "put", put)
    store.update(msgspec.structs.replace(ANN, name="Ours"))
    check_whole(other, msgspec.structs.replace(ANN, name="Ours"))
    assert meddled


@SHARED
def test_an_update_does_not_bring_back_what_another_server_removed(store: ObjectVoiceStore, place: Place) -> None:
    store.write(ANN, CLIPS)

    def put(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        opened(place).delete("ann")
        return real(*given, **options)

    meddle(store, "put", put)
    with pytest.raises(errors.VoiceNotFound):
        store.update(ANN)
    assert place.names() == set()


@SHARED
def test_a_voice_that_everybody_changes(store: ObjectVoiceStore, place: Place) -> None:
    store.write(ANN, CLIPS)
    names = iter("abcdefghij")

    def put(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        opened(place).update(msgspec.structs.replace(ANN, name=next(names)))
        return real(*given, **options)

    meddle(store, "put", put)
    with pytest.raises(errors.StorageError, match="changed by others"):
        store.update(ANN)


def test_a_list_of_keys_from_the_middle_of_a_write(store: ObjectVoiceStore) -> None:
    """Pages of keys are of different moments: a manifest may be listed, and its clips not yet."""
    store.write(ANN, CLIPS)

    def listed(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        return [[meta for chunk in real(*given, **options) for meta in chunk if meta["path"] == MANIFEST]]

    meddle(store, "list", listed)
    assert store.list().problems == ()
    check_whole(store, ANN)


def test_a_list_of_keys_from_before_a_removal(store: ObjectVoiceStore, place: Place) -> None:
    store.write(ANN, CLIPS)

    def listed(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        chunks = list(real(*given, **options))
        opened(place).delete("ann")
        return chunks

    meddle(store, "list", listed)
    assert store.list() == opened(place).list()


# -- what dead writers left, and what people do by hand


def test_what_dead_writers_left_is_swept_when_it_is_old(store: ObjectVoiceStore, place: Place) -> None:
    session = store._bucket.session()
    for name in ("a" * 32, "b" * 32):
        session.put(f"voices/ann/{name}/reference-01.wav", b"left")
    assert store.list() == opened(place).list()
    assert store.list().voices == ()
    store.write(ANN, CLIPS)
    assert len(place.names()) == 1 + len(CLIPS) + 2  # they may belong to one who is still writing
    store.orphan_seconds = 0.0
    store.delete("ann")
    assert place.names() == set()


@pytest.mark.parametrize("place", ["file"], indirect=True)
def test_what_a_dead_writer_had_begun_is_swept(store: ObjectVoiceStore, place: Place) -> None:
    folder = Path(place.path) / "voices" / "ann"
    (folder / ("a" * 32)).mkdir(parents=True)
    for begun in (folder / ("a" * 32) / "reference-01.wav#1", folder / "voice.json#12"):
        begun.write_bytes(b"half")
    assert store.list().problems == ()
    store.write(ANN, CLIPS)
    assert len(place.names()) == 1 + len(CLIPS)
    assert not (folder / ("a" * 32)).exists()
    check_whole(opened(place), ANN)


def test_sweeping_that_fails_is_logged(store: ObjectVoiceStore) -> None:
    def fail(*_given: object, **_options: object) -> None:
        raise GenericError("status code: 503 Service Unavailable")

    meddle(store, "list", fail)
    with capture_logs() as logs:
        store.write(ANN, CLIPS)
    assert [log["event"] for log in logs] == ["the storage failed", "clips of no voice stay behind"]


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (b"{", "truncated"),
        (b"[1]", "object"),
        (b"\xff", "malformed"),
        (b'{"version": "../x", "references": ["a.wav"]}', "version"),
        (b'{"version": "%s", "references": []}' % (b"a" * 32), "length"),
        (b'{"version": "%s", "references": ["../a.wav"]}' % (b"a" * 32), "reference clip"),
        (b'{"version": "%s", "references": ["a.wav"], "mix": [{"weight": 0, "references": []}]}' % (b"a" * 32), "mix"),
        (b'{"version": "%s", "references": ["a.wav"]}' % (b"a" * 32), "'a.wav' is not in"),
    ],
)
def test_a_manifest_that_cannot_be_used(store: ObjectVoiceStore, place: Place, manifest: bytes, says: str) -> None:
    store._bucket.session().put(MANIFEST, manifest)
    listing = store.list()
    assert listing.voices == ()
    assert says in listing.problems[0]
    assert listing.problems[0].startswith("voice ann: ")
    with pytest.raises(errors.VoiceNotFound):
        store.read("ann", "a.wav")
    with pytest.raises(errors.BadInput, match="exists already"):
        store.write(ANN, CLIPS)
    store.delete("ann")
    assert place.names() == set()


def test_what_is_no_voice(store: ObjectVoiceStore) -> None:
    session = store._bucket.session()
    for key in ("voices/Upper/voice.json", "voices/ann.txt", "voices/ann/notes.txt", "other/voice.json", "voice.json"):
        session.put(key, b"{}")
    (problem,) = store.list().problems
    assert "'Upper' cannot be a voice's name" in problem


def test_a_manifest_of_a_later_release(store: ObjectVoiceStore) -> None:
    store.write(ANN, CLIPS)
    session = store._bucket.session()
    content = session.get(MANIFEST)
    assert content is not None
    session.put(MANIFEST, msgspec.json.encode(msgspec.json.decode(content) | {"mood": "good"}))
    check_whole(store, ANN)


# -- the memory of the list


class Counter:
    """Counts listings, and fails them on demand."""

    def __init__(self, store: ObjectVoiceStore) -> None:
        self.calls = 0
        self.broken = False
        meddle(store, "list", self._listed)

    def _listed(self, real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        self.calls += 1
        if self.broken:
            raise GenericError("kind: Connect")
        return real(*given, **options)


def test_the_list_comes_from_memory_and_own_changes_are_there_at_once(place: Place) -> None:
    store, other = opened(place, 0.3), opened(place)
    counter = Counter(store)
    store.write(ANN, CLIPS)
    store.list()
    counter.calls = 0
    for _ in range(50):
        assert held(store, ANN) in store.list().voices
    assert counter.calls == 0
    store.update(msgspec.structs.replace(ANN, name="Anna"))
    assert [voice.name for voice in store.list().voices] == ["Anna"]
    other.write(Voice(id="bob", name="Bob", references=("a.wav",)), {"a.wav": b""})
    assert [voice.id for voice in store.list().voices] == ["ann"]
    time.sleep(0.3)
    assert [voice.id for voice in store.list().voices] == ["ann", "bob"]
    store.delete("ann")
    assert [voice.id for voice in store.list().voices] == ["bob"]


def test_a_storage_out_of_reach_is_asked_once_for_all(place: Place) -> None:
    store = opened(place, 0.2)
    store.write(ANN, CLIPS)
    counter = Counter(store)
    assert store.list().voices
    counter.broken, counter.calls = True, 0
    assert store.list().voices  # still fresh
    time.sleep(0.2)
    for _ in range(5):
        with pytest.raises(errors.StorageError, match="cannot be reached"):
            store.list()
    assert counter.calls == 1
    counter.broken = False
    store._bucket.session().put("voices/other.txt", b"")
    time.sleep(1.0)
    assert store.list().voices


def test_many_who_ask_wait_for_one_answer(place: Place) -> None:
    store = opened(place, 60.0)
    counter = Counter(store)
    threads = [threading.Thread(target=store.list) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.calls == 1


def test_an_answer_from_before_a_change_is_not_kept(place: Place) -> None:
    store = opened(place, 60.0)
    asked, go = threading.Event(), threading.Event()

    def listed(real: Callable[..., Any], *given: Any, **options: Any) -> Any:
        chunks = list(real(*given, **options))
        asked.set()
        go.wait(10)
        return chunks

    meddle(store, "list", listed)
    reader = threading.Thread(target=store.list)
    reader.start()
    asked.wait(10)
    store.catalogue.forget()
    go.set()
    reader.join()
    opened(place).write(ANN, CLIPS)
    assert [voice.id for voice in store.list().voices] == ["ann"]


async def test_the_refresher_keeps_the_list_fresh(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(place, 0.2)
    counter = Counter(store)
    service = Refresher(store, 0.2)
    await service.start()
    await asyncio.sleep(0.5)
    assert counter.calls == 0  # nobody has asked yet
    store.list()
    await asyncio.sleep(0.6)
    assert counter.calls >= 3
    before = counter.calls
    for _ in range(20):
        store.list()
    assert counter.calls - before <= 1
    counter.broken = True
    with capture_logs() as logs:
        await asyncio.sleep(0.6)
    assert [log["event"] for log in logs if "refreshed" in log["event"]] == ["the list of voices cannot be refreshed"]
    counter.broken = False
    monkeypatch.setattr(refresher, "UNUSED_SECONDS", 0.0)
    await asyncio.sleep(0.3)
    before = counter.calls
    await asyncio.sleep(0.4)
    assert counter.calls == before
    await service.stop()
