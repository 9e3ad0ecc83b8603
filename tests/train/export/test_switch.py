"""A running server takes up an exported model: streams end on the weights that they began with, nothing is dropped."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import torch
from more_train.export import Origin, Switched, Trained, export_model, register_and_switch
from safetensors.torch import load_file

from more_server.errors import ModelError
from more_server.keys import KeyRing, new_key
from more_server.models import use
from more_server.settings import Settings
from more_server.testing import tiny_xtts
from tests.web.conftest import nano_settings, running

TEXT = "The weather is nice today."
LONG = 9 * "We are going for a long walk in the park this afternoon. "
SMALL_BUFFER = 65_536
AHEAD_SECONDS = 2.0
BUFFERED_BYTES = 400_000
"""More than what the engine makes ahead and the sockets hold between it and a listener who has stopped to read."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a server that speaks with a tiny model, as long as it may."""
    tiny_xtts(tmp_path / "models" / "base", talkative=True)
    settings = nano_settings(tmp_path, ahead_seconds=AHEAD_SECONDS)
    use(settings, "base")
    return settings


def tuned(settings: Settings) -> Trained:
    """The base with a GPT that says something else."""
    base = settings.data_dir / "models" / "base"
    torch.manual_seed(4)
    tensors = load_file(base / "model.safetensors")
    changed = {
        name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in tensors.items() if name.startswith("gpt.gpt.")
    }
    return Trained(base=base, tensors=changed, origin=Origin(recipe="test"))


@contextmanager
def stream(url: str, text: str) -> Iterator[Iterator[bytes]]:
    """Audio as it comes, to a listener who holds the rest back."""
    transport = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)])
    asked = {"input": text, "response_format": "pcm", "seed": 3, "voice": "linden"}
    with (
        httpx.Client(base_url=url, timeout=60, transport=transport) as http,
        http.stream("POST", "/v1/audio/speech", json=asked) as answer,
    ):
        assert answer.status_code == 200
        yield answer.iter_bytes(4096)


def said(url: str, text: str = TEXT) -> bytes:
    with stream(url, text) as pieces:
        return b"".join(pieces)


def serving(http: httpx.Client) -> dict[str, bool]:
    return {one["id"]: one["serving"] for one in http.get("/v1/admin/models").json()["data"]}


def test_a_stream_ends_on_the_weights_that_it_began_with(settings: Settings) -> None:
    with running(settings) as server:
        old, whole = said(server.url), said(server.url, LONG)
        asked: list[bytes] = []
        switched = threading.Event()

        def ask_on() -> None:
            while not switched.is_set():
                asked.append(said(server.url))

        with ThreadPoolExecutor() as pool, stream(server.url, LONG) as pieces:
            first = next(pieces)
            asking = pool.submit(ask_on)
            try:
                info = export_model(settings, "tuned", tuned(settings))
                assert serving(server.http()) == {"base": True, "nano": False, "tuned": False}
                outcome = register_and_switch(server.url, None, info.id)
                new = said(server.url)
            finally:
                switched.set()
            asking.result()  # raises where one of the requests was dropped
            rest = b"".join(pieces)
        assert len(rest) > 2 * BUFFERED_BYTES  # so that most of it was spoken after the switch
        assert outcome == Switched("tuned", "base", info.warning)
        assert serving(server.http()) == {"base": False, "nano": False, "tuned": True}
        assert first + rest == whole
        assert new != old
        assert {*asked} <= {old, new}
        assert old in asked
        assert said(server.url) == new
        with pytest.raises(ModelError, match="exists already"):
            export_model(settings, "tuned", tuned(settings))
    with running(settings) as server:  # and after a restart
        assert said(server.url) == new


def test_a_switch_that_cannot_be(settings: Settings, tmp_path: Path) -> None:
    ring, secrets = KeyRing(settings), {}
    for scope in ("admin", "speech"):
        key, secrets[scope] = new_key(scope, (scope,))
        ring.add(key)
    with running(settings) as server:
        for key in (None, "more-wrong", secrets["speech"]):
            with pytest.raises(ModelError, match=r"refuses \(40[13]\)"):
                register_and_switch(server.url, key, "tuned")
        export_model(msgspec.structs.replace(settings, data_dir=tmp_path / "elsewhere"), "tuned", tuned(settings))
        with pytest.raises(ModelError, match="another data directory"):
            register_and_switch(server.url, secrets["admin"], "tuned")
        with pytest.raises(ModelError, match=r"refuses \(404\): there is no"):
            register_and_switch(f"{server.url}/voices", secrets["admin"], "tuned")
        export_model(settings, "tuned", tuned(settings))
        assert register_and_switch(server.url, secrets["admin"], "tuned").before == "base"
    for url in (server.url, "no address", "http://[::"):
        with pytest.raises(ModelError, match="cannot be asked"):
            register_and_switch(url, None, "tuned")
