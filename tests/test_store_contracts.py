"""What every voice store promises, held against each one that the plugins offer."""

import concurrent.futures
import resource
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from more_voice_object_store.store import ObjectVoiceStore

from more_server import MixPart, Voice, VoiceStore, errors
from tests.stores import ANN, CLIPS, KINDS, Place, check_whole, held, killed, processes, s3_server

MALICIOUS_IDS = ("", ".", "..", "../ann", "a/b", "a\\b", "/etc", "Ann", "a b", ".ann", "-ann", "a" * 65, "a\n", "ann\0")
MALICIOUS_IDS += ("a\u202eb", "a\u200fb", "é", "a\x1bb", "voices/../ann", "\udcff")
MALICIOUS_NAMES = ("", "..", "../a.wav", "a/b.wav", "/etc/passwd", ".a.wav", "a\\b.wav", "a\0.wav", "\u202ea.wav")
MALICIOUS_NAMES += ("a.wav/..", "a" * 120 + ".wav", "voice", "a\n.wav")
KEY = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        return Place("s3", f"{tmp_path.name}/voices of tests", request.getfixturevalue("endpoint"))
    return Place(request.param, str(tmp_path))


@pytest.fixture
def store(place: Place) -> VoiceStore:
    return place.open()


def renamed(voice_id: str) -> Voice:
    return msgspec.structs.replace(ANN, id=voice_id)


def test_a_voice_comes_back_bit_for_bit(store: VoiceStore, place: Place):
    assert store.list().voices == ()
    store.write(ANN, CLIPS)
    for one in (store, place.open()):
        assert one.list().problems == ()
        check_whole(one, ANN)
        (voice,) = one.list().voices
        assert (voice.store, voice.fixed) == (one.name, False)
        assert voice.version


def test_little_is_enough_for_a_voice(store: VoiceStore):
    store.write(Voice(id="a", name="", references=("a.WAV".lower(),)), {"a.wav": b""})
    (voice,) = store.list().voices
    assert voice == held(store, Voice(id="a", name="a", references=("a.wav",)))
    assert store.read("a", "a.wav") == b""


def test_voices_come_in_order_and_so_do_their_references(store: VoiceStore):
    clips = {f"reference-{number:02}.mp3": b"x" for number in range(1, 13)}
    for voice_id in ("b", "a-1", "0", "a_1", "a"):
        store.write(Voice(id=voice_id, name=voice_id, references=tuple(clips)), clips)
    assert [voice.id for voice in store.list().voices] == sorted(("b", "a-1", "0", "a_1", "a"))
    assert {voice.references for voice in store.list().voices} == {tuple(clips)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    voice=st.builds(
        Voice,
        id=st.just("odd"),
        name=st.text(min_size=1),
        languages=st.lists(st.text()).map(tuple),
        description=st.text(),
        consent=st.text(),
        references=st.just(("a.wav",)),
        mix=st.lists(st.builds(MixPart, st.floats(0.001, 1e9), st.just(("a.wav",)))).map(tuple),
    )
)
def test_what_is_told_of_a_voice_survives(store: VoiceStore, voice: Voice):
    store.write(voice, {"a.wav": b"a"})
    assert store.list().voices == (held(store, voice),)
    store.delete("odd")


def test_text_that_is_no_unicode_is_refused(store: VoiceStore, place: Place):
    for voice in (
        msgspec.structs.replace(ANN, name="\ud800"),
        msgspec.structs.replace(ANN, description="x" * 100_000),
    ):
        with pytest.raises(errors.BadInput):
            store.write(voice, CLIPS)
    assert place.names() == set()


def test_an_update_changes_all_but_clips_and_mix(store: VoiceStore, place: Place):
    store.write(ANN, CLIPS)
    version = held(store, ANN).version
    new = Voice(id="ann", name="Anna", languages=("en",), aliases=("chief",), licence="mine", references=("no.wav",))
    store.update(new)
    for one in (store, place.open()):
        check_whole(one, msgspec.structs.replace(new, references=ANN.references, mix=ANN.mix))
        assert held(one, ANN).version == version
    with pytest.raises(errors.VoiceNotFound):
        store.update(renamed("nobody"))


def test_a_deleted_voice_leaves_nothing(store: VoiceStore, place: Place):
    store.write(renamed("other"), CLIPS)
    before = place.names()
    store.write(ANN, CLIPS)
    store.delete("ann")
    assert [voice.id for voice in store.list().voices] == ["other"]
    assert place.names() == before
    for _ in range(2):
        with pytest.raises(errors.VoiceNotFound):
            store.delete("ann")
    with pytest.raises(errors.VoiceNotFound):
        store.read("ann", "reference-01.wav")


def test_the_version_changes_with_the_clips(store: VoiceStore):
    versions = set()
    for content in (b"one", b"two", b"three"):
        store.write(Voice(id="ann", name="Ann", references=("a.wav",)), {"a.wav": content})
        versions.add(held(store, ANN).version)
        store.delete("ann")
    assert len(versions) == 3


def test_derived_data(store: VoiceStore, place: Place):
    assert store.read_derived(KEY) is None
    for content in (b"latents", bytes(200_000), b""):
        store.write_derived(KEY, content)
        assert place.open().read_derived(KEY) == content
    assert store.list() == place.open().list()
    assert store.list().voices == ()
    assert store.read_derived("f" * 64) is None
    for key in ("", "../" + KEY, KEY + "a", KEY.upper(), KEY[:-1] + "/"):
        with pytest.raises(errors.BadInput):
            store.read_derived(key)
        with pytest.raises(errors.BadInput):
            store.write_derived(key, b"")


@pytest.mark.parametrize("voice_id", MALICIOUS_IDS)
def test_ids_that_cannot_be(store: VoiceStore, place: Place, voice_id: str):
    with pytest.raises(errors.BadInput, match="lower-case letters"):
        store.write(renamed(voice_id), CLIPS)
    for refused in (
        lambda: store.read(voice_id, "reference-01.wav"),
        lambda: store.update(renamed(voice_id)),
        lambda: store.delete(voice_id),
    ):
        with pytest.raises(errors.VoiceNotFound):
            refused()
    assert place.names() == set()
    assert place.kind == "s3" or not any(Path(place.path).glob("*"))


@pytest.mark.parametrize("name", MALICIOUS_NAMES)
def test_reference_names_that_cannot_be(store: VoiceStore, place: Place, name: str):
    with pytest.raises(errors.BadInput, match="reference clip"):
        store.write(Voice(id="ann", name="Ann", references=(name,)), {name: b"x"})
    assert place.names() == set()
    store.write(ANN, CLIPS)
    with pytest.raises(errors.VoiceNotFound):
        store.read("ann", name)


@pytest.mark.parametrize(
    ("voice", "clips"),
    [
        (ANN, {}),
        (Voice(id="ann", name="Ann"), {}),
        (Voice(id="ann", name="Ann"), {"a.wav": b""}),
        (Voice(id="ann", name="Ann", references=("a.wav", "b.wav")), {"a.wav": b""}),
        (Voice(id="ann", name="Ann", references=("a.wav", "a.wav")), {"a.wav": b""}),
        (Voice(id="ann", name="Ann", references=("a.wav", "A.wav")), {"a.wav": b"", "A.wav": b""}),
        (msgspec.structs.replace(ANN, mix=(MixPart(1.0, ("other.wav",)),)), CLIPS),
        (msgspec.structs.replace(ANN, mix=(MixPart(1.0, ()),)), CLIPS),
        (msgspec.structs.replace(ANN, mix=(MixPart(0.0, ANN.references),)), CLIPS),
        (msgspec.structs.replace(ANN, mix=(MixPart(float("inf"), ANN.references),)), CLIPS),
    ],
)
def test_clips_that_do_not_belong_together(store: VoiceStore, place: Place, voice: Voice, clips: Mapping[str, bytes]):
    with pytest.raises(errors.BadInput):
        store.write(voice, clips)
    assert place.names() == set()


def test_a_taken_id_is_refused_and_nothing_changes(store: VoiceStore, place: Place):
    store.write(ANN, CLIPS)
    before = place.names()
    for one in (store, place.open()):
        with pytest.raises(errors.BadInput, match="exists already"):
            one.write(msgspec.structs.replace(ANN, name="Thief"), dict.fromkeys(CLIPS, b"other"))
    check_whole(store, ANN)
    assert place.names() == before


def test_a_write_that_fails_leaves_nothing(store: VoiceStore, place: Place):
    class Broken(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            if name == "reference-02.wav":
                raise RuntimeError("no more")
            return super().__getitem__(name)

    with pytest.raises(RuntimeError, match="no more"):
        store.write(ANN, Broken(CLIPS))
    assert store.list().voices == ()
    assert place.names() == set()
    store.write(ANN, CLIPS)
    check_whole(place.open(), ANN)


def test_a_full_disk_is_told_and_leaves_all_as_it_was(place: Place):
    if place.kind == "s3":
        pytest.skip("a server's disk: tests/plugins/test_voice_object_store.py has its answers")
    store = place.open()
    store.write(renamed("other"), CLIPS)
    before = place.names()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files may not grow beyond this: the second clip fails in the middle, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(errors.StorageError, match="too large"):
            store.write(ANN, CLIPS | {"reference-02.wav": bytes(300_000)})
        with pytest.raises(errors.StorageError, match="too large"):
            store.write_derived(KEY, bytes(300_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert place.names() == before
    assert store.read_derived(KEY) is None
    check_whole(store, renamed("other"))


# -- several at a time


def write_many(place: Place, number: int) -> list[str]:
    """Four threads of one process write one name; what came of each."""

    def write(thread: int) -> str:
        mark = f"{number}-{thread}"
        try:
            place.open().write(msgspec.structs.replace(ANN, description=mark), dict.fromkeys(CLIPS, mark.encode()))
        except errors.BadInput as error:
            return "" if "exists already" in error.message else f"refused: {error}"
        return mark

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(write, range(4)))


def test_of_many_writers_of_one_name_one_wins(place: Place):
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=processes()) as pool:
        for _ in range(3):
            outcomes = [one for many in pool.map(write_many, [place] * 3, range(3)) for one in many]
            (winner,) = filter(None, outcomes)
            store = place.open()
            check_whole(store, msgspec.structs.replace(ANN, description=winner), dict.fromkeys(CLIPS, winner.encode()))
            assert store.list().problems == ()
            store.delete("ann")
            assert place.names() == set()


def test_readers_never_see_half_a_voice(place: Place):
    """While a voice comes, changes and goes, whoever reads finds it whole or not at all."""
    done, seen = threading.Event(), threading.Semaphore(0)

    def read() -> None:
        store = place.open()
        while not done.is_set():
            before = store.list()
            assert before.problems == ()
            try:
                clips = {name: store.read(voice.id, name) for voice in before.voices for name in voice.references}
            except errors.VoiceNotFound:
                continue
            assert all(len(content) == 70_000 and len(set(content)) == 1 for content in clips.values())
            if before.voices and store.list().voices == before.voices:
                assert set(clips) == set(CLIPS)
                assert len(set(clips.values())) == 1
                seen.release()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            writer = place.open()
            for number in range(15):
                writer.write(ANN, dict.fromkeys(CLIPS, bytes([number]) * 70_000))
                for name in ("Anna", "Anne"):
                    writer.update(msgspec.structs.replace(ANN, name=name))
                    writer.list()
                # Against a slow server, nobody would ever read all of it in time.
                assert number % 5 or seen.acquire(timeout=30)
                writer.delete("ann")
        finally:
            done.set()
        for reader in readers:
            reader.result()


# -- processes that die


def lists(store: VoiceStore, state: Voice | None) -> bool:
    """Whether the store holds the voice in this state and nothing else."""
    voices = store.list().voices
    return voices == () if state is None else bool(voices) and voices == (held(store, state),)


@pytest.mark.parametrize("work", ["write", "update", "delete"])
def test_a_killed_process_leaves_the_voice_as_it_was_or_as_it_should_be(place: Place, work: str):
    other = msgspec.structs.replace(ANN, name="Other")
    states = {"write": (None, ANN), "update": (ANN, other), "delete": (ANN, None)}[work]
    store = place.open()
    reached = []
    for step in range(100):
        if states[0] is not None:
            store.write(ANN, CLIPS)
        if not killed(place, work, step):
            break
        store = place.open()
        assert store.list().problems == ()
        (state,) = (state for state in states if lists(store, state))
        reached.append(states.index(state))
        if state is not None:
            check_whole(store, state)
            store.delete("ann")
        if isinstance(store, ObjectVoiceStore):
            store.orphan_seconds = 0.0
        store.write(ANN, CLIPS)
        check_whole(place.open(), ANN)
        store.delete("ann")
        assert place.names() == set()
    assert reached == sorted(reached)
    assert set(reached) == {0, 1}
