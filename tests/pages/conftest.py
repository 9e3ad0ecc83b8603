"""The page in Debian's Chromium, on a real server that speaks with nano."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.pages.voicedesk import ADMIN, key, voices
from tests.serving import Server

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # tests may run as root
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
PATIENCE_MS = 60_000
"""Of whatever is waited for: two cores may have much else to do."""


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys, whoever asks it is an administrator."""
    server = Server(tmp_path_factory.mktemp("studio") / "data")
    yield server
    server.stop()


# For a file, not for the session: playwright keeps an event loop running, beside which no coroutine test can run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium is installed; apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser, studio: Server) -> Iterator[Callable[..., Page]]:
    """Opens pages on the server, each in a context of its own: `open_page("#voices", locale="pt-BR")`.

    What a page says that no test expects fails the test: errors of scripts, and whatever the policy keeps it from.
    `allowed`: parts of lines that are expected, such as `404`.
    """
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def make(place: str = "", *, url: str = "", allowed: tuple[str, ...] = (), **more: Any) -> Page:
        context = browser.new_context(**({"locale": "en-US", "viewport": {"width": 1280, "height": 800}} | more))
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()

        def heard(text: str) -> None:
            if not any(part in text for part in allowed):
                said.append(text)

        page.on("pageerror", lambda error: heard(f"{error.name}: {error.message}\n{error.stack}"))
        page.on("console", lambda line: heard(line.text) if line.type in ("error", "warning") else None)
        page.goto(f"{url or studio.http.base_url}/{place}")
        return page

    yield make
    for context in contexts:
        context.close()
    assert not said, "\n".join(said)


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """The page as most people see it first."""
    return open_page()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A recording, as somebody would have one: speech of the bundled voice."""
    source = Path(__file__).resolve().parents[2] / "voices" / "rowan"
    found = next(path for path in sorted(source.iterdir()) if path.suffix in (".wav", ".flac", ".mp3", ".ogg"))
    return Path(shutil.copy(found, tmp_path / found.name))


@pytest.fixture
def bank(studio: Server) -> Iterator[Server]:
    """The server, whose voices are afterwards as they were."""
    before = voices(studio)
    yield studio
    for added in voices(studio).keys() - before.keys():
        studio.http.delete(f"{ADMIN}/{added}").raise_for_status()


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
