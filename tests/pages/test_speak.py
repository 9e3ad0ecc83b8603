"""The first panel: a sentence is heard while it is made, and what can be done with it then."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Download, Locator, Page, expect

from tests.pages.cut import Cut
from tests.serving import Server

HEARD = """
window.heard = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  const samples = this.buffer.getChannelData(0);
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  heard.push({ when, length: samples.length, level: Math.sqrt(power), now: this.context.currentTime });
  return start.call(this, when, ...rest);
};
"""
"""What the page gives to the sound card, and when."""
DECODED = """async ([url, body]) => {
  const response = await fetch(url, {method: "POST", body});
  const sound = new OfflineAudioContext(1, 1, 24000);
  const audio = await sound.decodeAudioData(await response.arrayBuffer());
  const samples = audio.getChannelData(0);
  return {seconds: audio.duration, level: Math.sqrt(samples.reduce((sum, one) => sum + one * one, 0) / samples.length)};
}"""


def speak(page: Page, text: str = "The bread is still warm.") -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Speak", exact=True).click()


def settings(page: Page, name: str = "Settings") -> Locator:
    return page.get_by_role("group", name=name, exact=True)


def until_done(page: Page, takes: int = 1) -> None:
    """Each take can be downloaded once all of it is there."""
    expect(page.locator(".take").get_by_role("button", name="Download")).to_have_count(takes)


def heard(page: Page) -> list[dict[str, float]]:
    found: list[dict[str, float]] = page.evaluate("heard")
    return found


def figure(page: Page, name: str) -> str:
    return page.locator(".take .figures div", has_text=name).locator("dd").first.inner_text()


@pytest.fixture
def ears(open_page: Callable[..., Page]) -> Page:
    """A page that tells what it gives to the sound card."""
    page = open_page()
    page.add_init_script(HEARD)
    page.reload()
    return page


def test_speech_is_heard_while_it_is_made(ears: Page) -> None:
    speak(ears, "The bread is still warm. " * 20)
    expect(ears.get_by_role("button", name="Pause")).to_be_visible()
    until_done(ears)
    pieces = heard(ears)
    assert len(pieces) > 5
    whole = sum(piece["length"] for piece in pieces) / 24_000
    assert whole > 20
    assert max(piece["level"] for piece in pieces) > 0.02
    # The first piece was put on the clock before the last one can have been heard out: it came as a stream.
    assert pieces[0]["when"] - pieces[0]["now"] < 0.5
    ends = [piece["when"] + piece["length"] / 24_000 for piece in pieces]
    gaps = [after["when"] - end for after, end in zip(pieces[1:], ends[:-1], strict=True)]
    assert min(gaps) > -1e-6  # nothing is spoken over something else
    assert figure(ears, "Length") == f"{whole:.1f}".removesuffix(".0") + " s"
    assert re.fullmatch(r"[\d,]+ ms", figure(ears, "First audio"))
    assert 0 < float(figure(ears, "Real-time factor").split()[0]) < 100


def test_the_browser_decodes_what_the_server_encodes(page: Page) -> None:
    for name in ("mp3", "opus", "flac", "wav"):
        body = json.dumps({"input": "The bread is still warm.", "response_format": name, "seed": 5})
        found = page.evaluate(DECODED, ["/v1/audio/speech", body])
        assert found["seconds"] > 1, name
        assert found["level"] > 0.02, name


def test_its_waveform_grows_and_can_be_moved_in_by_keys(ears: Page) -> None:
    speak(ears, "The bread is still warm. " * 3)
    until_done(ears)
    wave = ears.get_by_role("slider", name="Waveform")
    # Held down as a finger does, while it is drawn sixty times a second.
    ears.get_by_role("button", name="Pause").click(delay=200)
    ears.get_by_role("button", name="Play").click(delay=200)
    painted = wave.evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    )
    assert painted
    ears.get_by_role("button", name="Pause").click()
    wave.focus()
    ears.keyboard.press("End")
    end = float(wave.get_attribute("aria-valuenow") or 0)
    ears.keyboard.press("ArrowLeft")
    assert end - float(wave.get_attribute("aria-valuenow") or 0) == pytest.approx(2, abs=0.15)
    ears.keyboard.press("Home")
    assert float(wave.get_attribute("aria-valuenow") or 1) == 0
    ears.get_by_role("button", name="Play").click()
    wave.focus()
    ears.keyboard.press("End")
    expect(ears.get_by_role("button", name="Play")).to_be_visible()  # at its end it is over


def left(server: Server) -> float:
    """Requests whose listener has left, since the start."""
    lines = server.http.get("/metrics").text.splitlines()
    wanted = [line for line in lines if line.startswith("xtts_synthesis_total") and 'status="unfinished"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


def test_another_press_stops_it_and_the_server_stops_too(page: Page, studio: Server) -> None:
    before = left(studio)
    speak(page, "The bread is still warm. " * 100)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Speak it again")).to_be_visible()
    while any(studio.http.get("/health/detail").json()["queue"][name] for name in ("speaking", "slots_in_use")):
        page.wait_for_timeout(100)
    assert left(studio) == before + 1  # it was not spoken to its end


def test_a_download_in_any_format_is_the_same_speech(page: Page, tmp_path: Path) -> None:
    speak(page)
    until_done(page)
    for name, magic in {
        "wav": b"RIFF",
        "mp3": b"",
        "opus": b"OggS",
        "aac": b"\xff",
        "flac": b"fLaC",
        "pcm": b"",
    }.items():
        page.get_by_label("Format").select_option(name)
        with page.expect_download() as started:
            page.get_by_role("button", name="Download").click()
        download: Download = started.value
        assert download.suggested_filename == f"the-bread-is-still-warm.{name}"
        content = Path(download.path()).read_bytes()
        assert content.startswith(magic)
        assert len(content) > 3000
        if name == "pcm":
            assert np.abs(np.frombuffer(content, "<i2")).max() > 3000


@pytest.fixture
def copied(page: Page) -> Callable[[str], str]:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    def copy(button: str) -> str:
        page.get_by_role("button", name=button).click()
        expect(page.get_by_text("Copied.").first).to_be_visible()
        return str(page.evaluate("navigator.clipboard.readText()"))

    return copy


def test_the_copied_commands_run_and_make_the_same_audio(
    page: Page, copied: Callable[[str], str], tmp_path: Path
) -> None:
    settings(page).get_by_label("Quality").select_option("fast")
    speak(page, "It's Ann's bread, \"still\" warm.")
    until_done(page)
    page.get_by_label("Format").select_option("wav")
    curl = copied("Copy this request as a curl command")
    assert curl.startswith("curl http://127.0.0.1:")
    subprocess.run(["sh", "-c", curl + " -sS"], cwd=tmp_path, check=True)
    by_curl = (tmp_path / "speech.wav").read_bytes()
    assert len(by_curl) > 40_000
    (tmp_path / "speech.wav").unlink()
    subprocess.run([sys.executable, "-c", copied("Copy this request as Python")], cwd=tmp_path, check=True)
    assert (tmp_path / "speech.wav").read_bytes() == by_curl


def test_two_settings_side_by_side(ears: Page) -> None:
    ears.get_by_label("Compare with other settings").check()
    settings(ears, "Other settings").get_by_label("Quality").select_option("fast")
    speak(ears)
    until_done(ears, 2)
    cards = ears.locator(".take")
    assert cards.nth(0).get_attribute("aria-label") == "Settings"
    assert cards.nth(1).get_attribute("aria-label") == "Other settings"
    expect(cards.nth(0).get_by_role("button", name="Play")).to_be_visible()  # it has been heard out
    before = len(heard(ears))
    cards.nth(1).get_by_role("button", name="Play").click()
    ears.wait_for_function("before => heard.length > before", arg=before)


def test_what_was_spoken_is_kept_and_comes_back_with_its_settings(page: Page) -> None:
    settings(page).get_by_label("Voice", exact=True).select_option("rowan")
    speak(page, "Kept for later.")
    until_done(page)
    seed = figure(page, "Seed")
    page.reload()
    page.get_by_label("Text", exact=True).fill("Something else.")
    settings(page).get_by_label("Voice", exact=True).select_option("linden")
    line = page.locator(".history li", has_text="Kept for later.")
    line.get_by_role("button", name="Hear it again").click()
    until_done(page)
    assert figure(page, "Seed") == seed
    assert page.get_by_label("Text", exact=True).input_value() == "Kept for later."
    assert settings(page).get_by_label("Voice", exact=True).input_value() == "rowan"
    line.get_by_role("button", name="Forget this one").click()
    expect(page.locator(".history")).to_be_hidden()


def test_a_mistake_is_told_at_its_field(open_page: Callable[..., Page]) -> None:
    page = open_page(allowed=("400", "413"))
    speak(page, " ")
    expect(page.locator(".field.text .wrong")).to_contain_text("input")
    assert page.get_by_label("Text", exact=True).get_attribute("aria-invalid") == "true"
    speak(page, "word " * 60_000)
    expect(page.locator(".field.text .wrong, .desk .problem").first).to_be_visible()
    expect(page.locator(".take")).to_have_count(0)


def test_a_connection_that_is_lost_in_the_middle(open_page: Callable[..., Page], studio: Server) -> None:
    with Cut(studio.http.base_url.port or 80) as cut:
        page = open_page(url=cut.url, allowed=("ERR_",))
        expect(settings(page).get_by_label("Voice", exact=True).locator("option")).not_to_have_count(0)
        cut.after(bytes_down=150_000)
        speak(page, "The bread is still warm. " * 100)
        told = page.locator(".take .problem")
        expect(told).to_contain_text("The connection was lost in the middle")
        seconds = re.search(r"([\d.]+) seconds", told.inner_text())
        assert seconds is not None
        assert 0 < float(seconds[1]) < 4
        cut.heal()
        page.get_by_role("button", name="Speak it again").click()
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.get_by_role("button", name="Stop", exact=True).click()


def test_an_address_fills_the_panel_in(open_page: Callable[..., Page]) -> None:
    page = open_page("#speak/voice=rowan&speed=2&text=Good+evening.")
    expect(page.get_by_label("Text", exact=True)).to_have_value("Good evening.")
    expect(settings(page).get_by_label("Voice", exact=True)).to_have_value("rowan")
    expect(page.get_by_role("slider", name="Speed")).to_have_value("1")


def test_what_was_chosen_stays_when_the_server_is_asked_again(open_page: Callable[..., Page]) -> None:
    page = open_page("#speak/language=en&speed=2")
    language, speed = settings(page).get_by_label("Language"), settings(page).get_by_role("slider", name="Speed")
    expect(language).to_have_value("en")
    language.select_option("")
    speed.fill("0")
    page.route("**/v1/audio/voices", lambda route: route.fulfill(json={"voices": [{"id": "zed", "name": "Zed"}]}))
    page.get_by_role("button", name="Key of this server").click()
    page.get_by_role("button", name="Use this key").click()
    expect(settings(page).get_by_role("option", name="Zed")).to_have_count(1)
    expect(language).to_have_value("")
    expect(speed).to_have_value("0")


def test_a_text_that_was_not_spoken_is_still_there_after_a_reload(page: Page) -> None:
    page.get_by_label("Text", exact=True).fill("Not yet.")
    page.get_by_label("Language of this page").select_option("pt")
    expect(page.get_by_label("Texto", exact=True)).to_have_value("Not yet.")


def test_the_first_text_is_one_that_the_model_can_speak(open_page: Callable[..., Page]) -> None:
    page = open_page(locale="pt-BR")
    expect(page.get_by_label("Texto", exact=True)).to_have_value(re.compile("On quiet evenings"))


def test_a_voice_is_heard_before_it_speaks(page: Page) -> None:
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Hear this voice").first.click()
    expect(page.get_by_role("button", name="Hear this voice").first).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => document.querySelector('[aria-label=\"Hear this voice\"]').ariaPressed === 'false'")
    assert any("/references/" in url for url in asked)
