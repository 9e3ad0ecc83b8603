"""The folder of voices: what lies there by hand, what came with the program, what is written, what is cached."""

import errno
import os
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import more_voice_folder
import msgspec
import pytest
from more_voice_folder import store as store_module
from more_voice_folder.derived import DerivedFiles
from more_voice_folder.reading import ReadOnlyFolder
from more_voice_folder.store import FolderStore
from structlog.testing import capture_logs

from more_server import Context, MixPart, Voice, errors, files
from more_server.settings import bundled_dir
from more_server.voice_toml import written

CLIP = {"reference-01.wav": b"clip"}
ANN = Voice(id="ann", name="Ann", references=tuple(CLIP))


def context(data_dir: Path, bundled: Path, **settings: Any) -> Context:
    plain: Any = None
    chosen = more_voice_folder.Settings(**settings)
    return Context(plugin="more_voice_folder", settings=chosen, data_dir=data_dir, bundled_dir=bundled, server=plain)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore("folder", tmp_path / "voices", DerivedFiles(tmp_path / "cache", 1000))


@pytest.fixture
def by_hand(store: FolderStore) -> Callable[..., Path]:
    """Puts a voice there by hand: `by_hand("odd", 'name = "Odd"', {"a.wav": b""})`."""

    def put(voice_id: str, toml: str | bytes | None = "", clips: dict[str, bytes] | None = None) -> Path:
        folder = store.home / voice_id
        folder.mkdir(parents=True)
        if toml is not None:
            (folder / "voice.toml").write_bytes(toml.encode() if isinstance(toml, str) else toml)
        for name, content in ({"a.wav": b"clip"} if clips is None else clips).items():
            (folder / name).write_bytes(content)
        return folder

    return put


def ids(store: ReadOnlyFolder) -> list[str]:
    return [voice.id for voice in store.list().voices]


# -- voices put there by hand


def test_any_clip_name_will_do(store: FolderStore, by_hand: Callable[..., Path]) -> None:
    clips = {"Ann's clip (1).WAV": b"one", "öde.m4a": b"two", "b.webm": b"three"}
    by_hand("odd", 'name = "Odd"\naliases = ["ODDITY"]', clips | {"notes.txt": b"", "._b.wav": b"of macOS"})
    (voice,) = store.list().voices
    assert (voice.name, voice.aliases, voice.fixed) == ("Odd", ("oddity",), False)
    assert voice.references == ("Ann's clip (1).WAV", "b.webm", "öde.m4a")
    assert {name: store.read("odd", name) for name in voice.references} == clips
    for name in ("notes.txt", "._b.wav", "voice.toml"):
        with pytest.raises(errors.VoiceNotFound):
            store.read("odd", name)


def test_a_voice_mixed_by_hand(store: FolderStore, by_hand: Callable[..., Path]) -> None:
    toml = '[[mix]]\nweight = 2\nreferences = ["a.wav"]\n[[mix]]\nweight = 1.5\nreferences = ["b.wav"]'
    by_hand("mixed", toml, {"a.wav": b"", "b.wav": b""})
    assert store.list().voices[0].mix == (MixPart(2.0, ("a.wav",)), MixPart(1.5, ("b.wav",)))


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        (None, "no voice.toml"),
        ("name =", "Invalid value"),
        ('nmae = "x"', "nmae"),
        ("name = 7", "Expected `str`"),
        (b"name = '\xff'", "utf-8"),
        ("x = " + "[" * 5000, "recursion"),
        ("#" * 70_000, "larger than"),
        ("[[mix]]\nweight = 0\nreferences = ['a.wav']", "above 0"),
        ("[[mix]]\nweight = nan\nreferences = ['a.wav']", "above 0"),
        ("[[mix]]\nweight = 1\nreferences = []", "no references"),
        ("[[mix]]\nweight = 1\nreferences = ['../b.wav']", "no reference clip"),
        ("[[mix]]\nweight = 1", "references"),
    ],
)
def test_a_broken_voice_is_told(store: FolderStore, by_hand: Callable[..., Path], toml: str | None, says: str) -> None:
    by_hand("broken", toml)
    by_hand("whole")
    assert ids(store) == ["whole"]
    (problem,) = store.list().problems
    assert problem.startswith("voice broken: ")
    assert says in problem
    with pytest.raises(errors.VoiceNotFound, match=r"(?s)broken"):
        store.read("broken", "a.wav")
    store.delete("broken")
    assert store.list().problems == ()


def test_what_is_no_voice_is_passed_over_or_told(store: FolderStore, by_hand: Callable[..., Path]) -> None:
    by_hand(".hidden")
    by_hand("no-clip", "", {})
    by_hand("Upper Case")
    by_hand(os.fsdecode(b"not-utf8-\xff"))
    (store.home / "file.txt").write_text("x")
    listing = store.list()
    assert listing.voices == ()
    assert len(listing.problems) == 3
    assert sum("lower-case letters" in problem for problem in listing.problems) == 2
    assert "no reference clip" in " ".join(listing.problems)
    assert all(problem.isprintable() for problem in listing.problems)


def test_what_is_no_file_is_no_clip(store: FolderStore, by_hand: Callable[..., Path], tmp_path: Path) -> None:
    folder = by_hand("odd", "", {})
    (folder / "a.wav").mkdir()
    (folder / "b.wav").symlink_to(tmp_path / "nowhere.wav")
    (folder / "d.wav").symlink_to("d.wav")
    os.mkfifo(folder / "e.wav")
    assert "no reference clip" in store.list().problems[0]
    (folder / "c.wav").write_bytes(b"clip")
    assert store.list().voices[0].references == ("c.wav",)


def test_links_lead_nowhere_outside(store: FolderStore, by_hand: Callable[..., Path], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.wav").write_bytes(b"secret")
    (outside / "voice.toml").write_text("")
    folder = by_hand("linked", "", {"real.wav": b"clip"})
    (folder / "stolen.wav").symlink_to(outside / "secret.wav")
    # As mounted configuration of Kubernetes looks: links to a folder beside them.
    (folder / "..data").mkdir()
    (folder / "..data" / "b.wav").write_bytes(b"inside")
    (folder / "b.wav").symlink_to("..data/b.wav")
    (store.home / "away").symlink_to(outside)
    (store.home / "same").symlink_to("linked")
    assert {voice.id: voice.references for voice in store.list().voices} == dict.fromkeys(
        ("linked", "same"), ("b.wav", "real.wav")
    )
    assert "leads out" in store.list().problems[0]
    for voice_id, name in (("linked", "stolen.wav"), ("away", "secret.wav")):
        with pytest.raises(errors.VoiceNotFound):
            store.read(voice_id, name)
    assert store.read("linked", "b.wav") == b"inside"
    store.delete("same")
    assert ids(store) == ["linked"]
    (folder / "voice.toml").unlink()
    (folder / "voice.toml").symlink_to(outside / "voice.toml")
    (store.home / "circle").symlink_to("circle")
    assert [problem.partition(":")[0] for problem in store.list().problems] == [
        "voice away",
        "voice circle",
        "voice linked",
    ]
    assert "no voice.toml" in store.list().problems[2]


def test_changes_by_hand_are_seen_at_once(store: FolderStore) -> None:
    store.write(ANN, CLIP)
    first = store.list().voices[0]
    (store.home / "ann" / "voice.toml").write_text('name = "Other name, longer"')
    assert store.list().voices[0] == msgspec.structs.replace(first, name="Other name, longer")
    versions = {first.version}
    for change in (
        lambda path: path.write_bytes(b"longer clip"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.with_name("b.wav").write_bytes(b""),
        lambda path: path.rename(path.with_name("c.wav")),
    ):
        change(store.home / "ann" / "reference-01.wav")
        versions.add(store.list().voices[0].version)
    assert len(versions) == 5


def test_what_stays_is_parsed_once(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(ANN, CLIP)
    first = store.list().voices[0]
    monkeypatch.setattr("more_server.voice_toml.parsed", None)
    assert store.list().voices[0] is first


def test_a_folder_that_cannot_be_read(store: FolderStore) -> None:
    store.home.write_text("a file")
    with pytest.raises(errors.StorageError, match="Not a directory"):
        store.list()


# -- voices that came with the program


def test_the_stores_of_an_installation(tmp_path: Path) -> None:
    own, bundled = more_voice_folder.voice_stores(context(tmp_path, bundled_dir()))
    assert [(one.name, one.writable) for one in (own, bundled)] == [("folder", True), ("bundled", False)]
    assert {voice.id for voice in bundled.list().voices} >= more_voice_folder.SHIPPED
    assert all(voice.fixed and voice.store == "bundled" for voice in bundled.list().voices)
    assert own.list().voices == ()
    for refused in (
        lambda: bundled.write(ANN, CLIP),
        lambda: bundled.update(bundled.list().voices[0]),
        lambda: bundled.delete("linden"),
    ):
        with pytest.raises(errors.BadInput, match="can be neither changed nor removed"):
            refused()
    bundled.write_derived("0" * 64, b"latents")
    assert own.read_derived("0" * 64) == b"latents"
    assert (tmp_path / "cache" / "latents" / f"{'0' * 64}.bin").read_bytes() == b"latents"
    shutil.copytree(bundled_dir() / "voices" / "rowan", tmp_path / "voices" / "linden")
    own.delete("linden")  # one's own, whatever its name


def test_shipped_voices_stay_where_a_checkout_is_the_data_directory(tmp_path: Path) -> None:
    """A voice that is tracked must not go for a slip of the hand."""
    shutil.copytree(bundled_dir() / "voices" / "linden", tmp_path / "voices" / "linden")
    (tmp_path / "link").symlink_to(tmp_path)
    (store,) = more_voice_folder.voice_stores(context(tmp_path, tmp_path / "link"))
    store.write(ANN, CLIP)
    assert {voice.id: voice.fixed for voice in store.list().voices} == {"ann": False, "linden": True}
    linden = store.list().voices[1]
    for refused in (lambda: store.delete("linden"), lambda: store.update(linden)):
        with pytest.raises(errors.BadInput, match="it stays"):
            refused()
    with pytest.raises(errors.BadInput, match="exists already"):
        store.write(msgspec.structs.replace(ANN, id="linden"), CLIP)
    store.update(msgspec.structs.replace(ANN, name="Anna"))
    store.delete("ann")
    assert store.list().voices == (linden,)


# -- writing


def test_what_is_written_can_be_read_by_people(store: FolderStore) -> None:
    voice = msgspec.structs.replace(ANN, languages=("de",), consent="spoken\nyes", mix=(MixPart(0.5, ANN.references),))
    store.write(voice, CLIP)
    text = (store.home / "ann" / "voice.toml").read_text()
    assert tomllib.loads(text) == {
        "name": "Ann",
        "languages": ["de"],
        "consent": "spoken\nyes",
        "mix": [{"weight": 0.5, "references": ["reference-01.wav"]}],
    }
    assert written(voice) == text.encode()


@pytest.mark.parametrize("name", ["voice.toml", "a.exe", "a.txt", "a.WAV"])
def test_files_that_would_be_no_clips_are_refused(store: FolderStore, name: str) -> None:
    with pytest.raises(errors.BadInput, match="reference clip"):
        store.write(Voice(id="ann", name="Ann", references=(name,)), {name: b""})
    assert not store.home.exists()


def test_what_a_killed_process_left_does_not_matter(store: FolderStore) -> None:
    for left in (".ann.partial-0123", ".ann.partial-removed"):
        (store.home / left).mkdir(parents=True)
        (store.home / left / "reference-01.wav").write_bytes(b"half")
    (store.home / ".ann.partial-link").symlink_to("nowhere")
    assert store.list() == store.list().__class__(())
    store.write(ANN, CLIP)
    (store.home / "ann" / ".voice.toml.partial-4567").write_bytes(b"half")
    store.update(msgspec.structs.replace(ANN, name="Anna"))
    assert {path.name for path in (store.home / "ann").iterdir()} == {"voice.toml", "reference-01.wav"}
    store.delete("ann")
    assert {path.name for path in store.home.iterdir()} == {".locks"}


@pytest.mark.parametrize("half", [{"reference-01.wav"}, {"voice.toml"}, {"voice.toml", "reference-01.wav"}])
def test_a_voice_that_goes_while_it_is_looked_at(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, half: set[str]
) -> None:
    clips = CLIP | {"reference-02.wav": b"second"}
    store.write(msgspec.structs.replace(ANN, references=tuple(clips)), clips)
    look = store._files

    def removed(voice_id: str, descriptor: int) -> Any:
        gone = (store.home / "ann").rename(store.home / ".ann.partial-removed")
        for name in half:
            (gone / name).unlink()
        return look(voice_id, descriptor)

    monkeypatch.setattr(store, "_files", removed)
    listing = store.list()
    assert (listing.voices, listing.problems) == ((), ())


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_nothing(store: FolderStore, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(reason, os.strerror(reason), "file")

    store.write(ANN, CLIP)
    # Tests run as root, whom no permission stops; each of these stands for where a disk may say no.
    for target in ("pathlib.Path.mkdir", "pathlib.Path.write_bytes", "os.fsync", "pathlib.Path.rename"):
        with monkeypatch.context() as patched:
            patched.setattr(target, refuse)
            with pytest.raises(errors.StorageError, match=os.strerror(reason)):
                store.write(msgspec.structs.replace(ANN, id="bob"), CLIP)
    for target, work in (
        ("pathlib.Path.replace", lambda: store.update(ANN)),
        ("pathlib.Path.rename", lambda: store.delete("ann")),
        ("pathlib.Path.replace", lambda: store.write_derived("0" * 64, b"")),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(target, refuse)
            with pytest.raises(errors.StorageError, match=os.strerror(reason)):
                work()
    assert {path.name for path in store.home.iterdir()} == {".locks", "ann"}
    assert ids(store) == ["ann"]


def test_a_writer_that_does_not_end(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LOCK_SECONDS", 0.1)
    with files.locked(store.home / "ann"), pytest.raises(errors.StorageError, match="another process"):
        store.write(ANN, CLIP)
    store.write(ANN, CLIP)


# -- what was worked out


def keys(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    derived = DerivedFiles(tmp_path / "cache", 1000)
    for age, key in enumerate(keys(4)):
        derived.write(key, bytes(250))
        os.utime(tmp_path / "cache" / f"{key}.bin", (0, 1000 + age))
    assert derived.read(keys(1)[0]) == bytes(250)  # used: it is the newest now
    derived.write("f" * 64, bytes(400))
    assert [derived.read(key) is not None for key in keys(4)] == [True, False, False, True]
    assert derived.read("f" * 64) == bytes(400)
    derived.write("e" * 64, bytes(1001))
    assert derived.read("e" * 64) is None


def test_files_of_an_older_release_and_of_dead_writers_go_too(tmp_path: Path) -> None:
    derived = DerivedFiles(tmp_path / "cache", 1000)
    derived.write("0" * 64, bytes(500))
    for name, age in ((".x.bin.partial-1", 7200.0), (".y.bin.partial-2", 60.0), ("old.safetensors", 7200.0)):
        (tmp_path / "cache" / name).write_bytes(bytes(400))
        os.utime(tmp_path / "cache" / name, (0, time.time() - age))
    derived.write("1" * 64, bytes(500))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {
        f"{'0' * 64}.bin", f"{'1' * 64}.bin", ".y.bin.partial-2"
    }  # fmt: skip


def test_a_cached_file_that_cannot_be_read(tmp_path: Path) -> None:
    derived = DerivedFiles(tmp_path, 1000)
    (tmp_path / f"{'0' * 64}.bin").mkdir()
    with capture_logs() as logs:
        assert derived.read("0" * 64) is None
    assert logs[0]["reason"] == "Is a directory"
    (tmp_path / f"{'1' * 64}.bin").write_bytes(b"damaged")
    assert derived.read("1" * 64) == b"damaged"
