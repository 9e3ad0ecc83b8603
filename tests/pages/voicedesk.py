"""What tests of the voices' panel do and look at."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import FilePayload, Locator, Page, expect

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

Opens = Callable[..., Page]


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
