"""What tests share: a tiny model, an engine that speaks with it, and utterances for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from more_server.engine.engine import Engine
from more_server.engine.guards import Bounds, bounds
from more_server.speech import Profile, Segment, Utterance, Voice, VoiceLatents
from more_server.tables import EngineSettings
from more_server.testing import tiny_config, tiny_xtts


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model, which speaks as long as it may."""
    return tiny_xtts(tmp_path_factory.mktemp("models") / "tiny", talkative=True)


@pytest.fixture(scope="session")
def latents() -> VoiceLatents:
    """Latents of nobody's voice, of the tiny model's sizes."""
    random = np.random.default_rng(11)
    embedding = random.normal(size=512)
    return VoiceLatents(
        conditioning=(0.3 * random.normal(size=(32, tiny_config().gpt.model_dim))).astype(np.float32),
        speaker_embedding=(embedding / np.linalg.norm(embedding)).astype(np.float32),
    )


@pytest.fixture(scope="session")
def utterance(latents: VoiceLatents) -> Callable[..., Utterance]:
    """Makes utterances for the tiny model: `utterance("hello there", seed=3, temperature=0.7)`."""

    def make(*texts: str, seed: int = 0, priority: int = 0, **profile: Any) -> Utterance:
        return Utterance(
            id=f"test-{seed}",
            # Letters of the tiny vocabulary begin behind its special tokens.
            segments=tuple(Segment(text, (3, *(25 + ord(c) % 26 for c in text))) for text in texts),
            voice=Voice(id="nobody", name="Nobody"),
            latents=latents,
            language="en",
            profile=Profile(name="test", **({"temperature": 0.8, "top_p": 0.9} | profile)),
            speed=1.0,
            seed=seed,
            priority=priority,
        )

    return make


@pytest.fixture
def make_engine(tiny_model: Path) -> Iterator[Callable[..., Engine]]:
    """Starts engines on the tiny model and stops them: `make_engine(slots=2)`."""
    engines = []

    def make(*, bounds: Callable[[Segment, str, int], Bounds] = bounds, **settings: Any) -> Engine:
        engine = Engine(tiny_model, EngineSettings(device="cpu", threads=1, **settings), bounds)
        engines.append(engine)
        engine.start()
        return engine

    yield make
    for engine in engines:
        engine.stop()
