"""Consents kept by OpenAI's own client, over the real server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from more_server.audio.encode import encode_file
from more_server.errors import BadInput, ConsentNotFound, StorageError
from more_server.files import locked
from more_server.voicebank import consents as kept
from more_server.voicebank.consents import Consents, FolderShelf, new_consent
from tests.web.conftest import Server, running
from tests.web.test_custom_voices import CLIP, actions, make, settings
from tests.web.voicedesk import TONE, tone, wrong

CONSENTS = "/v1/audio/voice_consents"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests that remove the consents which they make."""
    with running(settings(tmp_path_factory.mktemp("data"))) as made:
        yield made


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return server.client()


def give(client: openai.OpenAI, **fields: Any) -> Any:
    return client.audio.voice_consents.create(**{"name": "Ann", "language": "en-US", "recording": CLIP} | fields)


def silence() -> bytes:
    return encode_file(np.zeros(24_000, np.float32), 24_000, "wav")


# -- through the client


def test_the_life_of_a_consent(server: Server, client: openai.OpenAI) -> None:
    made = give(client, name=" Ann Müller ", recording=("yes.mp3", tone(kind="mp3"), "audio/mpeg"))
    shape = {
        "id": made.id,
        "object": "audio.voice_consent",
        "created_at": made.created_at,
        "language": "en-US",
        "name": "Ann Müller",
    }
    assert made.to_dict() == shape
    assert re.fullmatch("cons_[0-9a-f]{24}", made.id)
    assert client.audio.voice_consents.retrieve(made.id).to_dict() == shape
    folder = server.settings.admin_dir / "consents" / made.id
    assert {path.name for path in folder.iterdir()} == {"consent.json", "recording.mp3"}
    assert (folder / "recording.mp3").read_bytes() == tone(kind="mp3")
    assert folder.stat().st_mode & 0o077 == 0

    renamed = client.audio.voice_consents.update(made.id, name="Ann M.")
    assert renamed.to_dict() == shape | {"name": "Ann M."}
    assert [one.to_dict() for one in client.audio.voice_consents.list()] == [renamed.to_dict()]

    gone = client.audio.voice_consents.delete(made.id)
    assert gone.to_dict() == {"id": made.id, "object": "audio.voice_consent", "deleted": True}
    assert not folder.exists()
    for again in ("retrieve", "delete"):
        with pytest.raises(openai.NotFoundError) as error:
            getattr(client.audio.voice_consents, again)(made.id)
        assert (error.value.code, error.value.param) == ("consent_not_found", "consent")
    with pytest.raises(openai.NotFoundError):
        client.audio.voice_consents.update(made.id, name="Nobody")
    changes = ("consents.create", "consents.change", "consents.delete")
    assert actions(server, 3) == [(change, made.id, "allowed") for change in changes]


def test_a_voice_keeps_the_words_of_its_consent(server: Server, client: openai.OpenAI) -> None:
    consent = give(client)
    voice = make(client, consent=consent.id)
    client.audio.voice_consents.delete(consent.id)
    told = server.http().get(f"/v1/admin/voices/{voice.id}").json()["consent"]
    assert re.fullmatch(rf"Ann \(en-US\), recording {consent.id} of \d{{4}}-\d\d-\d\d", told)
    with pytest.raises(openai.BadRequestError) as error:
        make(client, "bea", consent=consent.id)
    assert error.value.param == "consent"
    client.audio.voices.delete(voice.id)


async def test_pages(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        consents = client.audio.voice_consents
        made = [(await consents.create(name=f"{n}", language="de", recording=CLIP)).id for n in range(23)]
        made.sort(reverse=True)
        assert [one.id async for one in consents.list(limit=5)] == made
        assert [one.id async for one in consents.list()] == made

        first = await consents.list()
        assert (len(first.data), first.has_more) == (20, True)
        # One that others remove between two pages costs nobody else his place.
        await consents.delete(first.data[-1].id)
        assert [one.id for one in (await first.get_next_page()).data] == made[20:]
        rest = await consents.list(after=made[20])
        assert ([one.id for one in rest.data], rest.has_more) == (made[21:], False)
        whole = await consents.list(limit=22)
        assert (len(whole.data), whole.has_more) == (22, False)
        assert (await consents.list(after=made[-1])).data == []
        for one in whole.data:
            await consents.delete(one.id)
    assert server.http().get(CONSENTS).json() == {"data": [], "has_more": False, "object": "list"}


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"name": " "}, "name", "1 to 100"),
        ({"name": "a\nb"}, "name", "visible"),
        ({"language": ""}, "language", "BCP-47"),
        ({"language": "en_US; rm"}, "language", "BCP-47"),
        ({"recording": ("yes.wav", b"no audio", "audio/wav")}, "recording", "damaged or no audio"),
        ({"recording": ("yes.wav", b"", "audio/wav")}, "recording", "empty"),
        ({"recording": ("yes.wav", silence(), "audio/wav")}, "recording", "silent"),
        ({"recording": ("run.exe", TONE, "application/x-msdownload")}, "recording", "cannot be a '.exe' file"),
        ({"extra_body": {"mood": "glad"}}, "mood", "there is no field"),
    ],
)
def test_what_does_not_fit(
    server: Server, client: openai.OpenAI, fields: dict[str, Any], param: str, says: str
) -> None:
    before = actions(server, 100)
    with pytest.raises(openai.BadRequestError) as error:
        give(client, **fields)
    assert (error.value.param, error.value.code) == (param, "invalid_value")
    assert says in error.value.message
    assert client.audio.voice_consents.list().data == []
    assert actions(server, 100) == before


def test_forms_lists_and_names_that_cannot_be(server: Server, client: openai.OpenAI) -> None:
    http, told = server.http(), {"name": "Ann", "language": "en"}
    assert "0 recordings" in wrong(http.post(CONSENTS, files={"name": (None, "Ann")}), "recording")
    assert "2 recordings" in wrong(http.post(CONSENTS, data=told, files=[("recording", CLIP)] * 2), "recording")
    assert "multipart/form-data" in wrong(http.post(CONSENTS, json=told), None)
    for limit in (0, 101):
        wrong(http.get(CONSENTS, params={"limit": limit}), "limit")
    assert "int" in wrong(http.get(CONSENTS, params={"limit": "many"}), "limit")
    wrong(http.get(CONSENTS, params={"after": "voice_1"}), "after")
    consent = give(client)
    for body, param in (({}, "name"), ({"name": " "}, "name"), ({"name": 5}, "name"), ([], None)):
        wrong(http.post(f"{CONSENTS}/{consent.id}", json=body), param)
    wrong(http.post(f"{CONSENTS}/{consent.id}", content=b"{"), None)
    client.audio.voice_consents.delete(consent.id)
    for odd in ("cons_1234", "..%2Fkeys.json", "%2e%2e", "cons_" + "0" * 24):
        assert http.get(f"{CONSENTS}/{odd}").status_code == 404


def test_what_is_too_large(client: openai.OpenAI) -> None:
    for size, param, says in ((300_001, "recording", "300000 bytes"), (4_000_000, None, "a recording of 300000 bytes")):
        with pytest.raises(openai.APIStatusError) as error:
            give(client, recording=("yes.wav", b"\0" * size, "audio/wav"))
        assert (error.value.status_code, error.value.param, error.value.code) == (413, param, "payload_too_large")
        assert says in error.value.message


# -- on the disk


@pytest.fixture
def store(tmp_path: Path) -> Consents:
    return Consents(FolderShelf(tmp_path))


def test_a_damaged_consent_is_left_out_and_can_be_removed(server: Server, client: openai.OpenAI) -> None:
    broken, whole = give(client), give(client)
    path = server.settings.admin_dir / "consents" / broken.id / "consent.json"
    path.write_bytes(b'{"id": "\xff')
    assert [one.id for one in client.audio.voice_consents.list()] == [whole.id]
    with pytest.raises(openai.InternalServerError) as error:
        client.audio.voice_consents.retrieve(broken.id)
    assert error.value.code == "storage_error"
    for one in (broken, whole):
        assert client.audio.voice_consents.delete(one.id).deleted


def test_what_killed_processes_leave_is_never_listed_and_goes(store: Consents, tmp_path: Path) -> None:
    left = tmp_path / "consents" / f".cons_{'0' * 24}.partial-0123abcd"
    left.mkdir(parents=True)
    (tmp_path / "consents" / f"cons_{'0' * 24}").mkdir()  # without anything in it
    (tmp_path / "consents" / "notes.txt").write_text("mine")
    assert store.page("", 20) == ([], False)
    made = new_consent("Ann", "en", ".wav")
    store.add(made, TONE)
    assert store.page("", 20) == ([made], False)
    assert not left.exists()
    changed = store.rename(made.id, "Bea")
    assert json.loads((tmp_path / "consents" / made.id / "consent.json").read_text())["name"] == "Bea"
    assert store.find(made.id) == changed


def test_one_writer_at_a_time(store: Consents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PATIENCE_SECONDS", 0.05)
    made = new_consent("Ann", "en", ".wav")
    store.add(made, TONE)
    with locked(tmp_path / "consents"):
        for change in (
            lambda: store.add(made, TONE),
            lambda: store.remove(made.id),
            lambda: store.rename(made.id, "B"),
        ):
            with pytest.raises(StorageError, match="another process"):
                change()
        assert store.find(made.id) == made
    store.remove(made.id)
    with pytest.raises(ConsentNotFound):
        store.remove(made.id)
    with pytest.raises(ConsentNotFound):
        store.rename(made.id, "Bea")


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "consents").write_text("a file where the folder should be")
    store, made = Consents(FolderShelf(tmp_path)), new_consent("Ann", "en", ".wav")
    for work in (lambda: store.page("", 1), lambda: store.find(made.id), lambda: store.add(made, TONE)):
        with pytest.raises(StorageError, match="consents"):
            work()


def test_consents_sort_by_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for second in (1, 2_000_000_000, 1_700_000_000):
        monkeypatch.setattr(kept.time, "time", lambda second=second: second)
        ids.append(new_consent("Ann", "en", ".wav").id)
    assert sorted(ids) == [ids[0], ids[2], ids[1]]
    with pytest.raises(BadInput):
        new_consent("Ann", "e", ".wav")
