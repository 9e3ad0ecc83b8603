"""Schedulers and streams for tests without a model."""

from collections.abc import Callable

import pytest
import torch

from more_server.engine.guards import Bounds
from more_server.engine.scheduler import Limits, Scheduler
from more_server.engine.sequence import Stream
from more_server.speech import Utterance
from more_server.xtts import load as load_module
from tests.engine.scheduling import RATE, Clock, MakeScheduler, MakeStream, Nobody


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> MakeScheduler:
    def make(
        slots: int = 2,
        concurrency: int = 0,
        queue: int = 5,
        ahead: float = 10.0,
        deadline: float = 30.0,
        prompts: int = 9,
    ) -> Scheduler:
        return Scheduler(Limits(slots, concurrency or slots, queue, ahead, deadline, prompts), clock)

    return make


@pytest.fixture
def stream(utterance: Callable[..., Utterance]) -> MakeStream:
    """Streams of one segment, or of as many as asked: `stream(3, priority=1)`."""

    def make(segments: int = 1, priority: int = 0) -> Stream:
        asked = utterance(*["hello"] * segments, priority=priority)
        return Stream(asked, Nobody(), lambda segment: Bounds(1, 10, 20, short=False), RATE)

    return make


@pytest.fixture(params=["fp32", "int8", "bf16", "bf16, as on a GPU"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """fp32 goes row by row, int8 through compiled rows, bf16 through static shapes: on a GPU the audio too."""
    if request.param == "int8" and "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("int8 needs an x86-64 CPU")
    if "GPU" in request.param:
        monkeypatch.setattr(load_module, "window_batch", lambda device: 4)
    return str(request.param).partition(",")[0]
