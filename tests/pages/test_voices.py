"""The panel of voices: heard, mixed, changed, removed and had back."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Page, expect

from tests.pages.voicedesk import (
    ADMIN,
    CONSENT,
    PLAYED,
    Opens,
    box,
    clip_of,
    details,
    key,
    line,
    made,
    payload,
    pick,
    played,
    press,
    voice,
    voices,
)
from tests.serving import Server


@pytest.fixture
def panel(open_page: Opens) -> Page:
    return open_page("#voices")


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
    press(page, "Play a recording of Rowan: reference.wav")
    expect(page.get_by_role("button", pressed=True)).to_have_accessible_name(re.compile("Rowan"))


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
    expect(line(page, "Linden").get_by_role("button").first).to_be_focused()  # what is in its place
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
    for name in ("Import", "New voice"):
        assert page.get_by_role("button", name=name, exact=True).filter(visible=True).count() == 0


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
