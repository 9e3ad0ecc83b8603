"""Voices made of files and of what a microphone gives."""

import io
import re
import wave
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.pages.voicedesk import (
    CONSENT,
    PLAYED,
    Opens,
    box,
    clip_of,
    line,
    payload,
    pick,
    played,
    press,
    record,
    takes,
    tell_of,
    until_recorded,
    voice,
    voices,
)
from tests.serving import Server

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


@pytest.fixture
def panel(open_page: Opens) -> Page:
    return open_page("#voices")


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


def test_who_goes_away_before_the_browser_allows_it_is_not_recorded(panel: Page) -> None:
    panel.evaluate(
        """() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
          await new Promise((allow) => { window.allow = allow; });
          return (window.stream = await ask(wanted)); }; }"""
    )
    press(panel, "New voice")
    press(panel, "Record")
    panel.get_by_role("link", name="Connect").click()
    expect(panel.locator("#panel-voices")).to_be_hidden()
    ended = """async () => { allow(); for (;;) { await new Promise((done) => setTimeout(done, 50));
        if (window.stream?.getTracks()[0].readyState === "ended") return true; } }"""
    assert panel.evaluate(ended)
    panel.get_by_role("link", name="Voices").click()
    expect(takes(panel)).to_have_count(0)


def test_one_take_at_a_time(panel: Page) -> None:
    panel.evaluate(
        """() => { window.streams = []; const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
          const stream = await ask(wanted); streams.push(stream); return stream; }; }"""
    )
    press(panel, "New voice")
    record(panel, "Record")
    press(panel, "Record another take")
    until_recorded(panel)
    takes(panel).first.get_by_role("button", name="Record again").click()  # which ends the second
    expect(takes(panel)).to_have_text([re.compile("Take 2")])
    until_recorded(panel)
    live = "streams.filter((one) => one.getTracks()[0].readyState === 'live').length"
    assert (panel.evaluate("streams.length"), panel.evaluate(live)) == (3, 1)


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
