"""What is around the panels: keys, languages, themes, a server that is gone; and what a browser loads for it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, Response, expect

from tests.pages.cut import Cut
from tests.serving import Server

PANELS = ("speak", "voices", "jobs", "admin", "connect")
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, str]]:
    """A server with keys: an administrator's, and one that may speak alone."""
    server = Server(tmp_path_factory.mktemp("locked") / "data")
    admin = server.http.post("/v1/admin/keys", json={"name": "boss", "scopes": ["admin"]}).raise_for_status().json()
    server.http.headers["authorization"] = f"Bearer {admin['key']}"
    speech = server.http.post("/v1/admin/keys", json={"name": "guest", "scopes": ["speech"]}).raise_for_status().json()
    yield server, admin["key"], speech["key"]
    server.stop()


def show_key(page: Page, key: str, *, remember: bool = False, again: bool = False) -> None:
    """again: the server asks for another one."""
    dialog = page.get_by_role("dialog", name="Key of this server")
    dialog.get_by_label("Key", exact=True).fill(key)
    dialog.get_by_label("Remember it on this device").set_checked(remember)
    dialog.get_by_label("Key", exact=True).press("Enter")
    expect(dialog).to_have_count(1 if again else 0)


def test_a_server_with_keys_asks_for_one(open_page: Callable[..., Page], locked: tuple[Server, str, str]) -> None:
    server, admin, _ = locked
    page = open_page(url=str(server.http.base_url), allowed=("401",))
    page.get_by_role("button", name="Speak", exact=True).click()
    dialog = page.get_by_role("dialog", name="Key of this server")
    expect(dialog).to_contain_text("This server asks for a key.")
    show_key(page, "more_wrong", again=True)
    expect(dialog).to_contain_text("there is no such key")
    show_key(page, admin)  # and what was pressed is done
    expect(page.locator(".take").get_by_role("button", name="Download")).to_be_visible()
    # Not remembered: another window knows nothing of it.
    assert page.evaluate("localStorage.getItem('more.key')") is None


def test_a_key_that_was_remembered_is_still_there(
    open_page: Callable[..., Page], locked: tuple[Server, str, str]
) -> None:
    server, _, speech = locked
    page = open_page(url=str(server.http.base_url), allowed=("401", "403"))
    page.get_by_role("button", name="Key of this server").click()
    show_key(page, speech, remember=True)
    page.reload()
    page.get_by_role("button", name="Speak", exact=True).click()
    expect(page.locator(".take").get_by_role("button", name="Download")).to_be_visible()
    page.get_by_role("link", name="Admin").click()
    expect(page.locator("#panel-admin")).to_contain_text("this needs the scope admin")


def test_it_speaks_the_browsers_language_until_another_is_chosen(open_page: Callable[..., Page]) -> None:
    page = open_page(locale="pt-PT")
    expect(page.get_by_role("heading", level=1)).to_have_text("Diga alguma coisa")
    assert page.locator("html").get_attribute("lang") == "pt"
    page.get_by_label("Idioma desta página").select_option("en")
    expect(page.get_by_role("heading", level=1)).to_have_text("Say something")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Say something")


def test_light_and_dark(open_page: Callable[..., Page]) -> None:
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Light or dark").click()
    light = page.evaluate(background)
    assert dark != light
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate(background) == light


def test_a_server_that_is_gone_is_told_and_found_again(open_page: Callable[..., Page], studio: Server) -> None:
    with Cut(studio.http.base_url.port or 80) as cut:
        page = open_page(url=cut.url, allowed=("ERR_",))
        condition = page.locator(".condition")
        expect(condition).to_have_text("nano")
        page.wait_for_load_state("networkidle")  # else it is the panel that does not come
        cut.after(bytes_down=0)
        page.get_by_role("button", name="Speak", exact=True).click()
        expect(page.locator(".desk .problem")).to_have_text("The server does not answer")
        expect(condition).to_have_text("The server does not answer")
        cut.heal()
        expect(condition).to_have_text("nano")
        expect(page.locator(".desk .problem")).to_be_hidden()


def test_a_panel_that_did_not_come_can_be_asked_for_again(open_page: Callable[..., Page]) -> None:
    page = open_page(allowed=("ERR_FAILED",))
    page.route("**/ui/voices.js", lambda route: route.abort())
    page.get_by_role("link", name="Voices").click()
    expect(page.locator(".toast")).to_contain_text("The server does not answer")
    page.unroute("**/ui/voices.js")
    page.get_by_role("link", name="Connect").click()
    page.get_by_role("link", name="Voices").click()
    expect(page.get_by_role("heading", name="Voices", exact=True)).to_be_visible()


def test_the_panels_are_reached_by_keyboard(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the panel")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    for panel in PANELS:
        link = page.locator(f"#link-{panel}")
        link.focus()
        page.keyboard.press("Enter")
        expect(page.locator(f"#panel-{panel}").get_by_role("heading", level=1)).to_be_visible()
        expect(link).to_have_attribute("aria-current", "page")


def test_all_of_it_is_small_and_from_here(open_page: Callable[..., Page], studio: Server) -> None:
    page = open_page("#connect")
    sizes: dict[str, int] = {}
    """Of all that was sent for the page, and compressed, by its path."""

    def came(response: Response) -> None:
        address = urlsplit(response.url)
        if address.scheme in ("http", "https", "ws", "wss"):
            assert f"{address.scheme}://{address.netloc}" == str(studio.http.base_url)
        if address.path == "/" or address.path.startswith("/ui/"):
            sizes[address.path] = response.request.sizes()["responseBodySize"]

    page.context.on("requestfinished", lambda request: came(request.response()))
    page.goto(f"{studio.http.base_url}/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("networkidle")
    first = set(sizes)
    for panel in PANELS:
        page.locator(f"#link-{panel}").click()
        expect(page.locator(f"#panel-{panel}").get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_timeout(500)  # the last request of a panel may not have ended
    assert len(sizes) > 40
    assert sum(sizes.values()) < MOST_BYTES, sizes
    # Before it is compressed, what the first panel needs.
    unpacked = {path: len(studio.http.get(path).content) for path in first}
    assert sum(unpacked.values()) < MOST_BYTES, unpacked


def test_the_connect_panel_has_this_servers_address(page: Page, studio: Server, tmp_path: Path) -> None:
    page.locator("#link-connect").click()
    base = f"{studio.http.base_url}/v1"
    row = page.locator("article", has_text="Open WebUI").locator("tr", has_text="API Base URL")
    expect(row.locator("code")).to_have_text(base)
    code = page.get_by_label("OpenAI for Python", exact=True).inner_text()
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)  # as somebody pastes it
    assert (tmp_path / "hello.wav").read_bytes().startswith(b"RIFF")


def test_files_are_asked_for_again_and_come_only_when_they_changed(studio: Server) -> None:
    whole = studio.http.get("/ui/main.js")
    assert whole.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "unsafe" not in whole.headers["content-security-policy"]
    again = studio.http.get("/ui/main.js", headers={"if-none-match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/ui/../__init__.py", "/ui/%2e%2e/pages.py", "/ui/none.js", "/ui/"):
        missing = httpx.get(f"{studio.http.base_url}{path}")
        assert missing.status_code == 404, path
        assert missing.json()["error"]["code"] == "not_found"
