"""The panel of voices: heard, made of files and of a microphone, mixed, changed, removed and had back."""

import io
import json
import re
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, FloatRect, Locator, Page, expect

from tests.serving import Server

ADMIN = "/v1/admin/voices"
CONSENT = "Ann agreed by mail on 3 May"
PLAYED = """
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = async function () {
  await play.call(this);
  document.documentElement.dataset.played = this.duration;
};
null; // not the function, which would be called
"""
"""Seconds of what the page began to play last."""
NO_DEVICES = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined});"
UNABLE = {
    "insecure": (NO_DEVICES + "Object.defineProperty(window, 'isSecureContext', {value: false});", "opened by https"),
    "missing": (NO_DEVICES, "This browser cannot record"),
}
REFUSED = {
    "NotAllowedError": "does not let this page use the microphone",
    "NotFoundError": "There is no microphone",
    "NotReadableError": "perhaps another program uses it",
    "TypeError": "cannot be used: so it was",
}

Opens = Callable[..., Page]


@pytest.fixture
def bank(studio: Server) -> Iterator[Server]:
    """The server, whose voices are afterwards as they were."""
    before = voices(studio)
    yield studio
    for added in voices(studio).keys() - before.keys():
        studio.http.delete(f"{ADMIN}/{added}").raise_for_status()


@pytest.fixture
def panel(open_page: Opens) -> Page:
    return open_page("#voices")


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with keys, and with a voice that cannot be used."""
    data = tmp_path_factory.mktemp("keyed") / "data"
    broken = data / "voices" / "torn"
    broken.mkdir(parents=True)
    (broken / "voice.toml").write_text("name = ", "utf-8")
    server = Server(data)
    server.http.headers["authorization"] = f"Bearer {key(server, 'admin')}"
    yield server
    server.stop()


def key(server: Server, *scopes: str) -> str:
    body = {"name": "-".join(scopes), "scopes": scopes}
    return str(server.http.post("/v1/admin/keys", json=body).raise_for_status().json()["key"])


def voices(server: Server) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in server.http.get(ADMIN).raise_for_status().json()["data"]}


def voice(server: Server, voice_id: str) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get(f"{ADMIN}/{voice_id}").raise_for_status().json()
    return found


def clip_of(server: Server, voice_id: str, name: str) -> bytes:
    return server.http.get(f"{ADMIN}/{voice_id}/references/{name}").raise_for_status().content


def made(server: Server, voice_id: str, clip: Path, **told: str) -> dict[str, Any]:
    sent = {"audio_sample": (clip.name, clip.read_bytes())}
    answer = server.http.post(ADMIN, data={"name": voice_id, "consent": CONSENT, **told}, files=sent)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def box(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("textbox", name=name, exact=True)


def press(page: Page | Locator, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def line(page: Page, name: str) -> Locator:
    return page.locator("li.voice", has=page.get_by_role("heading", name=name, exact=True))


def details(page: Page, name: str) -> Locator:
    press(page, f"Details of {name}")
    return line(page, name)


def tell_of(page: Page, name: str) -> None:
    press(page, "New voice")
    box(page, "Id").fill(name)
    box(page, "Who agreed, and how?").fill(CONSENT)


def pick(page: Page, *files: FilePayload) -> None:
    page.get_by_label("Drop recordings here").set_input_files(files)


def payload(clip: Path, name: str = "") -> FilePayload:
    return {"name": name or clip.name, "mimeType": "audio/wav", "buffer": clip.read_bytes()}


def takes(page: Page) -> Locator:
    return page.get_by_role("list", name="Recordings").get_by_role("listitem")


def until_recorded(page: Page) -> None:
    """Three of Chromium's beeps, one a second: silence before and after does not count."""
    expect(page.get_by_label("Recorded")).to_have_text("0:03")


def record(page: Page, button: str) -> None:
    press(page, button)
    until_recorded(page)
    press(page, "Stop")


def played(page: Page) -> float:
    """Seconds of what is being played, once it is."""
    root = page.locator("html")
    expect(root).to_have_attribute("data-played", re.compile("."))
    return float(root.get_attribute("data-played") or 0)


# -- seen and heard


def test_voices_are_found_by_name_alias_and_language(panel: Page) -> None:
    search = panel.get_by_role("searchbox")
    for text, found in {"ROWAN": "Rowan", "nova": "Rowan", "male-sounding english onyx": "Linden"}.items():
        search.fill(text)
        expect(panel.get_by_role("status").filter(has_text="1 voice")).to_be_visible()
        expect(line(panel, found)).to_be_visible()
    search.fill("klingon")
    expect(panel.get_by_text("No voice matches “klingon”.")).to_be_visible()
    search.fill("")
    expect(line(panel, "Linden")).to_be_visible()
    expect(line(panel, "Rowan")).to_be_visible()


def test_a_recording_is_played(open_page: Opens, studio: Server) -> None:
    page = open_page("#voices")
    page.evaluate(PLAYED)
    press(page, "Play a recording of Linden: reference.wav")
    assert played(page) == pytest.approx(voice(studio, "linden")["report"]["seconds"], abs=0.05)
    assert page.get_by_role("button", pressed=True).count() == 1


def test_the_report_is_readable(panel: Page, studio: Server) -> None:
    row = details(panel, "Rowan")
    report = voice(studio, "rowan")["report"]
    shown = row.locator(".report")
    expect(shown.locator("div", has_text="Loudness")).to_contain_text(f"{report['loudness']:g} LUFS")
    expect(shown.locator("div", has_text="Speech")).to_contain_text(f"{report['speech_seconds']:g} of")
    expect(shown.get_by_text("good", exact=True)).to_have_count(7)
    expect(row).to_contain_text("No person's voice: a formant synthesiser.")
    expect(row).to_contain_text("CC0-1.0")


def test_what_stays_says_so(panel: Page) -> None:
    row = details(panel, "Linden")
    expect(row.get_by_text("neither changed nor deleted")).to_be_visible()
    expect(row.get_by_role("button", name="Export")).to_be_visible()
    assert row.get_by_role("button", name="Delete").count() == 0
    assert row.get_by_role("button", name="Change").count() == 0


def test_an_address_shows_a_voice(open_page: Opens) -> None:
    page = open_page("#voices/rowan")
    expect(line(page, "Rowan").locator(".report")).to_be_visible()


# -- made


def test_a_voice_is_made_of_files(panel: Page, bank: Server, clip: Path) -> None:
    tell_of(panel, "ann")
    box(panel, "Name").fill("Ann")
    pick(panel, payload(clip), payload(clip, "other.wav"))
    expect(takes(panel)).to_have_count(2)
    panel.get_by_text("Description, licence, source").click()
    box(panel, "Licence").fill("CC0-1.0")
    press(panel, "Make the voice")
    expect(panel.get_by_role("heading", name="Ann is ready, as ann")).to_be_visible()
    ann = voice(bank, "ann")
    told = {field: ann[field] for field in ("title", "consent", "licence", "languages")}
    assert told == {"title": "Ann", "consent": CONSENT, "licence": "CC0-1.0", "languages": ["en"]}
    assert [clip_of(bank, "ann", name) for name in ann["references"]] == [clip.read_bytes()] * 2
    expect(line(panel, "Ann")).to_be_visible()
    panel.get_by_role("button", name="Speak with it").filter(visible=True).first.click()
    expect(panel.get_by_role("combobox", name="Voice", exact=True).filter(visible=True)).to_have_value("ann")


def test_files_are_dropped(panel: Page, clip: Path) -> None:
    press(panel, "New voice")
    dropped = panel.evaluate_handle(
        "(name) => { const all = new DataTransfer(); all.items.add(new File(['RIFF'], name)); return all; }", clip.name
    )
    panel.locator(".drop").dispatch_event("drop", {"dataTransfer": dropped})
    expect(takes(panel)).to_contain_text(clip.name)
    press(panel, f"Remove {clip.name}")
    expect(takes(panel)).to_have_count(0)


def test_advice_is_given(panel: Page, bank: Server) -> None:
    tell_of(panel, "hum")
    silent = io.BytesIO()
    with wave.open(silent, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\x01\x00\xff\xff" * 8000)
    pick(panel, {"name": "hum.wav", "mimeType": "audio/wav", "buffer": silent.getvalue()})
    press(panel, "Make the voice")
    expect(panel.get_by_text("What would make it better:")).to_be_visible()
    for sentence in voice(bank, "hum")["report"]["advice"]:
        expect(panel.get_by_text(sentence, exact=True)).to_be_visible()
    expect(panel.locator(".report").get_by_text("quiet", exact=True).first).to_be_visible()


def test_what_is_missing_is_told_at_its_place(open_page: Opens, bank: Server, clip: Path) -> None:
    page = open_page("#voices/new", allowed=("400",))
    press(page, "Make the voice")
    expect(page.locator(".recordings .wrong")).to_contain_text("Add a recording first")
    pick(page, {"name": "letter.wav", "mimeType": "audio/wav", "buffer": b"Dear Ann"})
    press(page, "Make the voice")
    expect(box(page, "Id")).to_have_accessible_description(
        "What programs call it: small letters, digits, - and _ Say what the voice is called."
    )
    box(page, "Id").fill("Ann Lee")
    press(page, "Make the voice")
    expect(page.locator("[data-param=consent] .wrong").first).to_contain_text("Say who agreed")
    box(page, "Who agreed, and how?").fill(CONSENT)
    press(page, "Make the voice")
    expect(page.locator("[data-param=name] .wrong").first).to_contain_text("'Ann Lee' cannot be a voice's name")
    box(page, "Id").fill("ann")
    press(page, "Make the voice")
    expect(page.locator(".recordings .wrong")).to_contain_text("damaged or no audio")
    assert "ann" not in voices(bank)


def test_a_file_too_large_is_told(open_page: Opens, bank: Server) -> None:
    page = open_page("#voices", allowed=("413",))
    tell_of(page, "ann")
    pick(page, {"name": "long.wav", "mimeType": "audio/wav", "buffer": bytes(11_000_000)})
    press(page, "Make the voice")
    expect(page.locator(".recordings .wrong")).to_contain_text("larger than the 10485760 bytes")


def test_a_lost_server_is_told(open_page: Opens, clip: Path) -> None:
    page = open_page("#voices", allowed=("ERR_FAILED",))
    tell_of(page, "ann")
    pick(page, payload(clip))
    page.route("**/v1/admin/voices", lambda route: route.abort())
    press(page, "Make the voice")
    expect(page.get_by_text("The server does not answer").filter(visible=True)).to_be_visible()
    expect(takes(page)).to_have_count(1)


# -- recorded


def test_a_voice_is_recorded(open_page: Opens, bank: Server) -> None:
    page = open_page("#voices")
    page.evaluate(PLAYED)
    tell_of(page, "beeps")
    expect(page.locator("blockquote")).to_contain_text("Hello, this is how I sound.")
    record(page, "Record")
    expect(takes(page)).to_have_count(1)
    expect(takes(page)).to_contain_text("Too loud")  # Chromium's beeps are
    press(page, "Play Take 1")
    assert played(page) > 0.5
    record(page, "Record another take")
    expect(takes(page)).to_have_count(2)
    takes(page).first.get_by_role("button", name="Record again").click()
    until_recorded(page)
    expect(takes(page)).to_have_count(1)
    press(page, "Make the voice")  # which ends the take
    expect(page.get_by_text("is ready, as beeps")).to_be_visible()
    names = voice(bank, "beeps")["references"]
    assert len(names) == 2
    with wave.open(io.BytesIO(clip_of(bank, "beeps", names[0]))) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert file.getnframes() / file.getframerate() > 1
        assert any(file.readframes(file.getnframes()))


def test_nothing_is_done_to_what_the_microphone_gives(panel: Page) -> None:
    panel.evaluate(
        """() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (wanted) => { window.wanted = wanted.audio; return ask(wanted); }; }"""
    )
    press(panel, "New voice")
    record(panel, "Record")
    wanted = panel.evaluate("wanted")
    assert [wanted[one] for one in ("echoCancellation", "noiseSuppression", "autoGainControl")] == [False] * 3


def test_recording_ends_with_the_look_at_it(panel: Page) -> None:
    press(panel, "New voice")
    press(panel, "Record")
    until_recorded(panel)
    panel.get_by_role("link", name="Connect").click()
    panel.get_by_role("link", name="Voices").click()
    expect(takes(panel)).to_have_count(1)


@pytest.mark.parametrize("why", UNABLE)
def test_a_browser_without_microphones_says_so(open_page: Opens, why: str) -> None:
    script, told = UNABLE[why]
    page = open_page("")
    page.add_init_script(script)
    page.reload()
    page.get_by_role("link", name="Voices").click()
    press(page, "New voice")
    expect(page.get_by_text(told)).to_be_visible()
    assert page.get_by_role("button", name="Record", exact=True).count() == 0


@pytest.mark.parametrize("name", REFUSED)
def test_a_microphone_that_is_refused_says_why(panel: Page, name: str) -> None:
    panel.evaluate(
        """(name) => { navigator.mediaDevices.getUserMedia = async () => {
          throw Object.defineProperty(new Error("so it was"), "name", {value: name}); }; }""",
        name,
    )
    press(panel, "New voice")
    press(panel, "Record")
    expect(panel.get_by_text(REFUSED[name])).to_be_visible()


# -- mixed, changed, removed


def test_a_mixture_is_heard_and_kept(panel: Page, bank: Server) -> None:
    panel.evaluate(PLAYED)
    press(panel, "Mix voices")
    panel.get_by_label("Mixed with").select_option("rowan")
    panel.get_by_label("Shares").fill("25")
    expect(panel.get_by_text("Linden 75 % · Rowan 25 %")).to_be_visible()
    with panel.expect_request("**/v1/audio/speech") as asked:
        press(panel, "Listen")
    assert json.loads(asked.value.post_data or "")["voice"] == "linden(75)+rowan(25)"
    assert played(panel) > 0.5
    box(panel, "Id").fill("birch")
    press(panel, "Keep the mixture")
    expect(panel.get_by_text("Birch is kept.")).to_be_visible()
    assert [part["weight"] for part in voice(bank, "birch")["mix"]] == [75, 25]
    expect(line(panel, "Birch")).to_contain_text("75 %: linden-reference.wav")


def test_one_voice_is_no_mixture(open_page: Opens, bank: Server) -> None:
    page = open_page("#voices/mix", allowed=("400",))
    page.get_by_label("Mixed with").select_option("linden")
    box(page, "Id").fill("birch")
    press(page, "Keep the mixture")
    expect(page.locator("[data-param=parts]")).to_contain_text("a mixture has 2 to 8")


def test_a_voice_is_called_something_else(open_page: Opens, bank: Server, clip: Path) -> None:
    made(bank, "ann", clip)
    page = open_page("#voices/ann", allowed=("400",))
    line(page, "Ann").get_by_role("button", name="Change").click()
    dialog = page.get_by_role("dialog")
    box(dialog, "Id").fill("Ann")
    press(dialog, "Save")
    expect(dialog.locator("[data-param=name] .wrong")).to_contain_text("cannot be a voice's name")
    box(dialog, "Id").fill("annabel")
    box(dialog, "Languages").fill("en")
    box(dialog, "Also called").fill("bella, ann")
    box(dialog, "Description").fill("A friend")
    press(dialog, "Save")
    expect(line(page, "Annabel")).to_contain_text("A friend")
    expect(line(page, "Annabel")).to_contain_text("bella, ann")
    assert "ann" not in voices(bank)
    told = {field: voice(bank, "annabel")[field] for field in ("languages", "aliases", "description", "consent")}
    assert told == {"languages": ["en"], "aliases": ["bella", "ann"], "description": "A friend", "consent": CONSENT}


def test_a_deleted_voice_can_be_had_back(open_page: Opens, bank: Server, clip: Path) -> None:
    before = made(bank, "ann", clip, description="A friend")
    page = open_page("#voices/ann")
    line(page, "Ann").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Ann is deleted.")).to_be_visible()
    expect(line(page, "Ann")).to_have_count(0)
    assert "ann" not in voices(bank)
    press(page, "Undo")
    expect(line(page, "Ann")).to_be_visible()
    assert voice(bank, "ann") == before
    assert clip_of(bank, "ann", before["references"][0]) == clip.read_bytes()


def test_what_cannot_be_kept_is_asked_about(open_page: Opens, bank: Server, clip: Path) -> None:
    made(bank, "ann", clip)
    page = open_page("#voices/ann", allowed=("500",))
    page.route("**/export", lambda route: route.fulfill(status=500, json={"error": {"message": "it is torn"}}))
    line(page, "Ann").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text("cannot be undone")
    expect(page.get_by_text("it is torn")).to_be_visible()
    press(page, "Cancel")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "ann" in voices(bank)


def test_a_voice_goes_out_and_comes_in(open_page: Opens, bank: Server, clip: Path, tmp_path: Path) -> None:
    made(bank, "ann", clip)
    page = open_page("#voices/ann", allowed=("400",))
    with page.expect_download() as download:
        line(page, "Ann").get_by_role("button", name="Export").click()
    archive = tmp_path / download.value.suggested_filename
    assert archive.name == "ann.zip"
    download.value.save_as(archive)
    press(page, "Import")
    dialog = page.get_by_role("dialog")
    press(dialog, "Import")
    expect(dialog.get_by_text("Choose an archive first.")).to_be_visible()
    dialog.get_by_label("Zip archive").set_input_files(archive)
    press(dialog, "Import")
    expect(dialog.locator("[data-param=name] .wrong")).to_contain_text("exists already")
    box(dialog, "Its id here").fill("bea")
    press(dialog, "Import")
    expect(line(page, "Bea").or_(line(page, "Ann"))).to_have_count(2)
    assert clip_of(bank, "bea", voice(bank, "bea")["references"][0]) == clip.read_bytes()


# -- keys


def test_without_the_scope_a_voice_says_a_sentence(open_page: Opens, keyed: Server) -> None:
    page = open_page("#connect", url=str(keyed.http.base_url).rstrip("/"), allowed=("401", "403"))
    page.evaluate(f"sessionStorage.setItem('more.key', '{key(keyed, 'speech')}'); {PLAYED}")
    page.get_by_role("link", name="Voices").click()
    expect(page.get_by_text("this needs the scope admin").first).to_be_visible()
    with page.expect_request("**/v1/audio/speech") as asked:
        press(page, "Let Rowan say a sentence")
    body = json.loads(asked.value.post_data or "")
    assert (body["voice"], body["language"]) == ("rowan", "en")
    assert played(page) > 0.5
    assert page.get_by_role("button", name="Import", exact=True).filter(visible=True).count() == 0


def test_a_key_for_voices_makes_and_removes_one(open_page: Opens, keyed: Server, clip: Path) -> None:
    page = open_page("#connect", url=str(keyed.http.base_url).rstrip("/"), allowed=("401", "403"))
    page.evaluate(f"sessionStorage.setItem('more.key', '{key(keyed, 'speech', 'voices')}')")
    page.get_by_role("link", name="Voices").click()
    press(page, "New voice")
    box(page, "Name").filter(visible=True).fill("Ann Lee")
    box(page, "Who agreed, and how?").fill(CONSENT)
    pick(page, payload(clip))
    press(page, "Make the voice")
    expect(page.get_by_text("Ann Lee is ready, as ann-lee")).to_be_visible()
    assert voice(keyed, "ann-lee")["consent"] == CONSENT
    row = details(page, "Ann Lee")
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Ann Lee is deleted.")).to_be_visible()
    assert "ann-lee" not in voices(keyed)


def test_what_cannot_be_used_is_told(open_page: Opens, keyed: Server) -> None:
    page = open_page("#voices", url=str(keyed.http.base_url).rstrip("/"), allowed=("401",))
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key", exact=True).fill(key(keyed, "admin"))
    press(dialog, "Use this key")
    (problem,) = keyed.http.get(ADMIN).raise_for_status().json()["problems"]
    expect(page.get_by_text("One voice or store cannot be used:")).to_be_visible()
    expect(page.get_by_text(problem)).to_be_visible()


# -- looks


def test_nothing_scrolls_sideways(open_page: Opens) -> None:
    page = open_page("#voices/new", viewport={"width": 360, "height": 740}, locale="pt-BR")
    press(page, "Detalhes de Linden")
    expect(page.locator(".report")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for part in (page.locator(".drop"), page.locator(".report"), page.get_by_role("button", name="Criar a voz")):
        frame: FloatRect | None = part.bounding_box()
        assert frame is not None
        assert 0 <= frame["x"] <= frame["x"] + frame["width"] <= 360
