"""Hooks, their documentation and their users hold together; and the README's example of each does what it says."""

import ast
import asyncio
import re
import wave
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import numpy as np
import pytest
from litestar.testing import create_test_client

from more_server import Samples, Server, SpeechRequest, Voice, errors
from more_server.chain import Chain
from more_server.profiles import ProfileBook
from more_server.registry import Registry
from more_server.registry.discover import distinct, in_folder
from more_server.registry.plugin import KINDS
from more_server.services import Services
from more_server.settings import Settings
from more_server.voices import VoiceLibrary
from tests import docs
from tests.plugins.stages import speech, stage

README = Path("plugins/README.md").read_text("utf-8")
HOOKS = docs.hook_headings()
every_hook = pytest.mark.parametrize("hook", HOOKS)


def section(hook: str) -> str:
    """What stands under the heading of a hook."""
    return README.partition(f"\n## {HOOKS[hook]}\n")[2].partition("\n## ")[0]


def test_headings_are_the_signatures() -> None:
    assert re.findall(r"^## (\w+\(.*)$", README, flags=re.MULTILINE) == list(HOOKS.values())


def test_the_registry_asks_for_every_hook() -> None:
    assert [name for name, _ in KINDS] == list(HOOKS)


@every_hook
def test_a_shipped_plugin_uses_the_hook(hook: str) -> None:
    users = [name for name, plugin in docs.shipped().items() if hook in docs.hooks_of(plugin)]
    assert users
    assert all(f"[{name}](#{name})" in section(hook) for name in users)


@every_hook
def test_the_hook_has_a_test(hook: str) -> None:
    tests = {
        node.name
        for path in Path("tests").rglob("test_*.py")
        if not any(part[0] == "." for part in path.parts)  # what tests/clients/install.py fetched
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert f"test_hook_{hook}" in tests


def test_links_lead_somewhere() -> None:
    anchors = {re.sub(r"[^\w -]", "", line).strip().replace(" ", "-").lower() for line in README.splitlines()}
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (target[1:] in anchors) if target.startswith("#") else Path("plugins", target).exists(), target


# -- the README's examples, in a registry of their own


class Speaking:
    """A server that is asked and does not speak."""

    def __init__(self) -> None:
        self.asked: list[SpeechRequest] = []

    async def spoken(self, request: SpeechRequest, _request_id: str, format_name: str) -> AsyncGenerator[bytes, None]:
        self.asked.append(request)
        for piece in (b"some ", format_name.encode()):
            yield piece


def opened(folder: Path, hook: str, server: Any = None, name: str = "mine") -> Registry:
    """A registry whose only plugin is the example of a hook."""
    (folder / "plugins").mkdir()
    (example,) = re.findall(r"```python\n(.*?)```", section(hook), flags=re.DOTALL)
    (folder / "plugins" / f"{name}.py").write_text(example)
    settings = Settings(data_dir=folder / "data", plugin_dir=str(folder / "plugins"))
    registry = Registry(settings, lambda _: distinct(in_folder(folder / "plugins")))
    registry.open(cast(Server, server))
    (row,) = registry.rows()
    assert (row.state, row.error, row.hooks) == ("active", None, (hook,))
    return registry


def test_hook_profiles(tmp_path: Path) -> None:
    registry = opened(tmp_path, "profiles")
    book = ProfileBook(Settings(data_dir=tmp_path))
    profile = book.find("lively", registry.snapshot)
    assert (profile.temperature, profile.post_processors) == (0.9, ("more_silence",))
    registry.disable("mine")
    with pytest.raises(errors.BadInput, match="there is no quality 'lively'"):
        book.find("lively", registry.snapshot)


def test_hook_voice_stores(tmp_path: Path) -> None:
    recordings = tmp_path / "data" / "recordings"
    recordings.mkdir(parents=True)
    with wave.open(str(recordings / "ann.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(bytes(4))
    registry = opened(tmp_path, "voice_stores")
    library = VoiceLibrary(registry, 5.0)
    (voice,) = library.view().voices
    assert (voice.id, voice.store, voice.references) == ("ann", "recordings", ("ann.wav",))
    assert library.clips(voice) == {"ann.wav": (recordings / "ann.wav").read_bytes()}
    library.write_derived(voice, "0" * 64, b"latents")
    assert library.read_derived(voice, "0" * 64) == b"latents"
    with pytest.raises(errors.BadInput, match="no store can be written"):
        library.add(Voice(id="bob", name="Bob", references=("a.wav",)), {"a.wav": b""})
    with pytest.raises(errors.BadInput, match="it stays"):
        library.remove("ann")
    (recordings / "ann.wav").rename(recordings / "eve.wav")
    assert [voice.id for voice in library.view().voices] == ["eve"]


def test_hook_post_processors(tmp_path: Path) -> None:
    registry = opened(tmp_path, "post_processors", name="half")
    (link,) = registry.snapshot.post_processors.values()
    assert (link.id, link.plugin) == ("half", "half")
    samples = speech(0.2)
    assert np.array_equal(heard(registry, samples), samples / 2)
    registry.disable("half")
    assert np.array_equal(heard(registry, samples), samples)


def heard(registry: Registry, samples: Samples) -> Samples:
    """Samples after the chain of a profile that names half."""
    utterance = stage(".").utterance
    profile = msgspec.structs.replace(utterance.profile, post_processors=("half",))
    steps = registry.snapshot.chain(profile)
    chain = Chain(msgspec.structs.replace(utterance, post_processors=steps), 24_000)
    pieces = [*chain.begin(), *chain.process(samples[:999], False), *chain.process(samples[999:], True)]
    return np.concatenate([piece for piece, _ in [*pieces, *chain.finish()]])


def test_hook_routes(tmp_path: Path) -> None:
    server = Speaking()
    registry = opened(tmp_path, "routes", server)
    ((plugin, handler),) = registry.snapshot.routes
    assert plugin == "mine"
    with create_test_client([handler]) as client:
        answer = cast(httpx.Response, client.get("/greet/Ann%20B"))
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "audio/mpeg", b"some mp3")
    assert server.asked == [SpeechRequest(text="Hello Ann B, how are you?", whole=True)]
    registry.disable("mine")
    assert registry.snapshot.routes == ()


async def test_hook_services(tmp_path: Path) -> None:
    registry = opened(tmp_path, "services")
    running, file = Services(registry, 5.0), tmp_path / "data" / "heartbeat"
    file.parent.mkdir(exist_ok=True)
    await running.follow(registry.snapshot)
    assert file.exists()
    await asyncio.to_thread(registry.disable, "mine")
    await running.follow(registry.snapshot)
    assert not file.exists()
    await asyncio.to_thread(registry.enable, "mine")
    await running.follow(registry.snapshot)
    assert file.exists()
    await running.stop()
    assert not file.exists()
    assert registry.row("mine").error is None
