"""Each panel as people see it: pictures to be looked at in `screens/`, and what axe-core finds in their way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.serving import Server

SCREENS = Path(__file__).with_name("screens")
PLACES = (
    *("speak", "voices", "jobs", "connect"),
    *("admin/overview", "admin/plugins", "admin/profiles", "admin/models", "admin/keys", "admin/log"),
)
DESKTOP = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "pt-BR", "has_touch": True}
KINDS: dict[str, dict[str, Any]] = {"desktop": DESKTOP, "phone": PHONE}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def lived_in(studio: Server) -> Iterator[Server]:
    """A server on which something has been done: a job, a voice that was mixed."""
    studio.done(
        studio.asked(kind="speech", input="# One\n\nThe bread is still warm.\n\n# Two\n\nIt is good.", voice="linden")
    )
    parts = [{"voice": "linden", "weight": 2}, {"voice": "rowan", "weight": 1}]
    studio.http.post("/v1/admin/voices/mix", json={"name": "birch", "parts": parts}).raise_for_status()
    yield studio
    studio.http.delete("/v1/admin/voices/birch").raise_for_status()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_panels_look_and_read_well(open_page: Callable[..., Page], lived_in: Server, place: str, kind: str) -> None:
    page = open_page(f"#{place}", **KINDS[kind])
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("networkidle") if place == "speak" else page.wait_for_timeout(1500)
    if place == "speak":
        page.locator(".desk .go").click()
        expect(page.locator(".take select")).to_be_visible()
        expect(page.locator(".history li")).to_have_count(1)
    SCREENS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENS / f"{place.replace('/', '-')}-{kind}.png", full_page=True)
    overhang = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overhang <= 0, f"{overhang} pixels have to be scrolled to sideways"
    found = Axe().run(page).response["violations"]
    told = [
        f"{one['id']}: {one['help']} {[node['html'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in SERIOUS
    ]
    assert not told, "\n".join(told)
