"""Disks that are full or take nothing: every store refuses in words and keeps what it has, and speaking goes on."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from more_voice_folder.derived import DerivedFiles
from more_voice_folder.store import FolderStore

from more_server import Voice, models
from more_server.audit import COMMAND_LINE, AuditLog
from more_server.errors import MoreError
from more_server.jobs.records import Job
from more_server.jobs.store import Store
from more_server.keys import KeyRing, new_key
from more_server.lessons.datasets import Datasets
from more_server.lessons.uploads import Uploads
from more_server.profiles import ProfileBook
from more_server.registry import Snapshot
from more_server.registry.choices import Choice, Choices
from more_server.settings import Settings
from more_server.speech import Profile
from more_server.voicebank.consents import Consents, FolderShelf, new_consent
from tests.disks import fill, read_only, small
from tests.web.conftest import Server, nano_settings, running
from tests.web.resuming import BYTES, TUS, UPLOADS, said
from tests.web.voicedesk import TONE

CLIPS = {"reference-01.wav": TONE}
NO_MORE = r"No space left|0 that are free on the disk|the disk is full|Read-only file system"
LARGE = "x" * 8192
"""More than what is left of the last block of a full disk."""


def voice(voice_id: str, **told: Any) -> Voice:
    return Voice(id=voice_id, name=voice_id, references=tuple(CLIPS), **told)


class Stores:
    """Every store of a data directory, and what a request writes into it."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir)
        admin = self.settings.admin_dir
        self.derived = DerivedFiles(data_dir / "cache" / "latents", 10**6)
        self.voices = FolderStore("folder", data_dir / "voices", self.derived)
        self.keys, self.choices = KeyRing(self.settings), Choices(self.settings)
        self.profiles = ProfileBook(self.settings)
        self.audit, self.consents = AuditLog(admin), Consents(FolderShelf(admin))
        self.uploads, self.datasets = Uploads(self.settings), Datasets(self.settings)

    def fill(self) -> None:
        """Something of each."""
        self.voices.write(voice("ann"), CLIPS)
        self.key, self.secret = new_key("first", ["admin"])
        self.keys.add(self.key)
        self.profile("calm")
        self.choices.write("more_loudness", Choice(enabled=True), Choice())
        self.audit.record(COMMAND_LINE, "plugins.enable", "more_loudness")
        self.upload = self.uploads.create("a.wav", 100_000).id
        self.consent = new_consent("Ann", "en", ".wav")
        self.consents.add(self.consent, TONE)
        self.dataset()
        self.derived.write("0" * 64, b"latents")
        models.use(self.settings, "nano")

    def dataset(self) -> Path:
        """One that a job has made and not yet placed."""
        made = self.settings.jobs_dir / "job_1" / "dataset"
        made.mkdir(parents=True)
        about = {"name": "x", "language": "en", "speakers": ["a"], "clips": 1, "seconds": 1.0, "held_out": 0}
        (made / "dataset.json").write_bytes(msgspec.json.encode(about))
        return made

    def profile(self, name: str) -> None:
        base = Profile(name="balanced", temperature=0.75, top_p=0.9)
        self.profiles.create(name, base.name, {"speed": 1.25}, Snapshot(profiles={base.name: base}))

    def send(self) -> None:
        with self.uploads.opened(self.upload, 0) as sink:
            sink.write(bytes(100_000))

    def use_key(self) -> None:
        assert self.keys.authenticate(self.secret)
        self.keys.flush()

    def writers(self) -> dict[str, Callable[[], object]]:
        """What writes, by name."""
        made = self.settings.jobs_dir / "job_1" / "dataset"
        return {
            "voices.write": partial(self.voices.write, voice("bea"), CLIPS),
            "voices.update": partial(self.voices.update, voice("ann", description=LARGE)),
            "latents": partial(self.derived.write, "1" * 64, LARGE.encode()),
            "keys": lambda: self.keys.add(new_key("second", ["speech"])[0]),
            "keys.used": self.use_key,
            "profiles": partial(self.profile, "slow"),
            "plugins": partial(self.choices.write, "more_silence", Choice(settings={"word": LARGE}), Choice()),
            "audit": partial(self.audit.record, COMMAND_LINE, "plugins.enable", LARGE),
            "uploads.create": partial(self.uploads.create, "b.wav", 10, LARGE),
            "uploads.send": self.send,
            "consents.add": partial(self.consents.add, new_consent("Bea", "en", ".wav"), TONE),
            "consents.rename": partial(self.consents.rename, self.consent.id, "Annie"),
            "datasets": partial(self.datasets.add, made, "reader", "job_1"),
            "models.use": partial(models.use, self.settings, "nano"),
        }

    def kept(self) -> dict[str, bytes]:
        """Every file but locks, by path; of uploads, what counts."""
        paths = [path for path in self.settings.data_dir.rglob("*") if path.is_file() and ".locks" not in path.parts]
        return {
            str(path.relative_to(self.settings.data_dir)): b"" if path.name == "data" else path.read_bytes()
            for path in paths
            if path.name != "full"
        }


WRITERS = (
    *("voices.write", "voices.update", "latents", "keys", "keys.used", "profiles", "plugins", "audit"),
    *("uploads.create", "uploads.send", "consents.add", "consents.rename", "datasets", "models.use"),
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with small(tmp_path_factory.mktemp("disks") / "full") as folder:
        stores = Stores(folder)
        stores.fill()
        yield stores


@pytest.fixture(scope="module")
def unwritable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("disks") / "data"
    before = Stores(folder)
    before.fill()
    with read_only(folder) as place:
        stores = Stores(place)
        stores.secret, stores.upload, stores.consent = before.secret, before.upload, before.consent
        yield stores


def refuses(stores: Stores, name: str) -> None:
    before = stores.kept()
    with pytest.raises(MoreError, match=NO_MORE) as refusal:
        stores.writers()[name]()
    assert refusal.value.code in ("storage_error", "disk_full")
    assert stores.kept() == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(full: Stores, name: str) -> None:
    filler = full.settings.data_dir / "full"
    fill(filler)
    refuses(full, name)
    filler.unlink()
    full.writers()[name]()  # what was refused harms nothing that comes later


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_takes_nothing(unwritable: Stores, name: str) -> None:
    refuses(unwritable, name)


# -- a whole server


def asked(http: httpx.Client) -> dict[str, httpx.Response]:
    """Every request that writes."""
    clip = ("clip.wav", TONE, "audio/wav")
    about = TUS | {"upload-length": "10", "upload-metadata": said(filename="a.wav")}
    return {
        "voice": http.post("/v1/admin/voices", data={"name": "bea"}, files=[("audio_sample", clip)]),
        "change": http.patch("/v1/admin/voices/ann", json={"title": "Annie"}),
        "cloned": http.post("/v1/audio/voices", data={"name": "c", "consent": "yes"}, files=[("audio_sample", clip)]),
        "consent": http.post(
            "/v1/audio/voice_consents", data={"name": "Bea", "language": "en"}, files=[("recording", clip)]
        ),
        "profile": http.post("/v1/admin/profiles", json={"name": "slow", "base": "fast"}),
        "plugin": http.post("/v1/admin/plugins/more_marytts/disable"),
        "job": http.post("/v1/jobs", json={"kind": "speech", "input": "Warm. " * 1000, "voice": "ann"}),
        "upload": http.post(UPLOADS, headers=BYTES | about, content=b"1234567890"),
        # The last: from then on nothing is answered without it.
        "key": http.post("/v1/admin/keys", json={"name": "admin", "scopes": ["admin"]}),
    }


def refused(server: Server) -> None:
    for name, answer in asked(server.http()).items():
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) in ((500, "storage_error"), (507, "disk_full")), (name, error)
        assert error["message"], name


def spoken(server: Server) -> bytes:
    body = {"input": "The bread is still warm.", "voice": "ann", "response_format": "pcm", "seed": 5}
    return server.http().post("/v1/audio/speech", json=body).raise_for_status().content


def taught(data_dir: Path) -> None:
    FolderStore("folder", data_dir / "voices", DerivedFiles(data_dir / "cache", 10**6)).write(voice("ann"), CLIPS)


def stocked(data_dir: Path) -> tuple[str, ...]:
    """Fill a data directory with something of each kind that can be deleted; their addresses."""
    stores, job = Stores(data_dir), Job(id="job_1", kind="speech", status="queued", created=0, request={})
    stores.voices.write(voice("cat"), CLIPS)
    stores.profile("calm")
    consent = new_consent("Cat", "en", ".wav")
    stores.consents.add(consent, TONE)
    stores.datasets.add(stores.dataset(), "reader", job.id)
    database = Store(stores.settings)
    database.queue = SimpleNamespace(run=lambda *_: None)
    database.open()
    database.insert(job, 0)
    database.cancel(job.id)
    database.close()
    (stores.settings.jobs_dir / job.id / "speech.wav").write_bytes(bytes(100_000))
    upload = stores.uploads.create("a.wav", 100_000).id
    return (
        *("/v1/admin/profiles/calm", f"/v1/jobs/{job.id}", "/v1/admin/voices/cat"),
        *(f"/v1/audio/voice_consents/{consent.id}", f"{UPLOADS}/{upload}", "/v1/admin/datasets/reader"),
    )


def test_a_server_whose_disk_gets_full(tmp_path: Path) -> None:
    with small(tmp_path / "disk", 8) as folder:
        taught(folder)
        there = stocked(folder)
        with running(nano_settings(folder)) as server:
            http = server.http()
            http.get("/v1/jobs").raise_for_status()
            http.patch("/v1/admin/profiles/calm", json={"speed": 1.5}).raise_for_status()
            full = [folder / "full"]
            fill(full[0])
            refused(server)
            heard = spoken(server)
            # Or else nobody could make room but on the machine itself.
            for path in there:
                full.append(folder / f"full-{len(full)}")
                fill(full[-1])  # what the last one has left
                answer = http.delete(path, headers=TUS)
                assert answer.is_success, (path, answer.text)
                assert http.delete(path, headers=TUS).json()["error"]["code"].endswith(("not_found", "invalid_value"))
            for filler in full:
                filler.unlink()
            answers = asked(http)
            assert {name: one.text for name, one in answers.items() if not one.is_success} == {}
            http.headers["authorization"] = f"Bearer {answers['key'].json()['key']}"
            assert spoken(server) == heard
            stolen = http.post("/v1/admin/keys", json={"name": "stolen", "scopes": ["speech"]}).json()["id"]
            fill(full[0])
            assert http.delete(f"/v1/admin/keys/{stolen}").is_success


def test_a_server_on_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    taught(tmp_path / "data")
    there = stocked(tmp_path / "data")
    before = Stores(tmp_path / "data").kept()
    with read_only(tmp_path / "data") as folder, running(nano_settings(folder)) as server:
        refused(server)
        for path in there:
            answer = server.http().delete(path, headers=TUS)
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "storage_error"), (path, answer.text)
        assert spoken(server)
        assert server.http().get("/health/ready").json()["ready"]
    assert Stores(tmp_path / "data").kept() == before
