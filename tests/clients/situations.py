"""What clients must bear: speech that takes its time, a server that is busy, fails, loads, or asks for a key."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from more_server.engine import engine as engine_module
from more_server.engine.runner import Runner
from more_server.keys import KeyRing, new_key
from tests.web.conftest import Server, nano_settings, running

TEXT = "It is raining outside."
LONG = " ".join(["The kitchen window is open, and it is raining outside."] * 4)
SPEECH = "/v1/audio/speech"
STEPS = 60
"""Steps of the engine after which the beginning of a text has been sent, and most of LONG has not."""


@contextmanager
def narrow(folder: Path) -> Iterator[Server]:
    """A server that speaks to one at a time and lets nobody wait."""
    with running(nano_settings(folder, threads=1, slots=1, queue=0)) as server:
        yield server


@contextmanager
def paused() -> Iterator[threading.Event]:
    """Speech stops after its beginning until the event is set: who hears only whole answers hears nothing."""
    original, steps, heard = Runner.step, count(), threading.Event()

    def step(runner: Runner, sequences: object) -> object:
        if next(steps) >= STEPS:
            assert heard.wait(30), "nobody has heard the beginning"
        return original(runner, sequences)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "step", step)
        try:
            yield heard
        finally:
            heard.set()


@contextmanager
def failing(after: int = 0) -> Iterator[None]:
    """Speaking fails, after so many steps."""
    original, steps = Runner.step, count()

    def step(runner: Runner, sequences: object) -> object:
        if next(steps) >= after:
            raise RuntimeError("the device is gone")
        return original(runner, sequences)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "step", step)
        yield


@contextmanager
def busy(server: Server) -> Iterator[Callable[[], None]]:
    """A narrow server speaks to somebody else, until what is given is called."""
    body = {"input": LONG, "response_format": "pcm"}
    with paused() as heard, server.fresh() as holder, holder.stream("POST", SPEECH, json=body) as held:
        chunks = held.iter_raw()  # a generator that nobody keeps closes the connection
        next(chunks)

        def leave() -> None:
            held.close()
            heard.set()
            while "xtts_slots_in_use 0.0" not in server.http().get("/metrics").text:
                pass

        yield leave


@contextmanager
def loading(folder: Path) -> Iterator[tuple[Server, Callable[[], None]]]:
    """A server whose model is not loaded until what is given is called."""
    original: Callable[..., object] = engine_module.load
    go_on = threading.Event()

    def load(*arguments: object) -> object:
        assert go_on.wait(60)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "load", load)
        with running(nano_settings(folder, threads=1), wait=False) as server:

            def finish() -> None:
                go_on.set()
                while server.http().get("/health/ready").status_code != 200:
                    pass

            try:
                yield server, finish
            finally:
                go_on.set()


@contextmanager
def keyed(server: Server) -> Iterator[str]:
    """The server asks for keys as long as the block lasts; the secret of one for speech is given."""
    ring = KeyRing(server.settings)
    (admin, _), (key, secret) = new_key("admin", ["admin"]), new_key("speech", ["speech"])
    try:
        for one in (admin, key):
            ring.add(one)
        yield secret
    finally:
        for one in (key, admin):
            ring.revoke(one.id)
