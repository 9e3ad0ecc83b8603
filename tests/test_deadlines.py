"""What is not made, or not taken, in time."""

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from more_server.deadlines import in_time
from more_server.errors import OutOfTime
from more_server.speech import Audio
from more_server.tables import LimitSettings

LIMITS = LimitSettings(first_audio_seconds=0.2, total_seconds=0.6)


class Made:
    """Audio that comes after so many seconds each, and whether its maker was let go."""

    def __init__(self, *waits: float, seconds: float = 0.1) -> None:
        self.waits, self.seconds, self.over = waits, seconds, False

    async def chunks(self) -> AsyncGenerator[Audio, None]:
        try:
            for wait in self.waits:
                await asyncio.sleep(wait)
                yield Audio(np.zeros(round(self.seconds * 1000), np.float32), 1000)
        finally:
            self.over = True


async def taken(made: Made, pause: float = 0.0, **utterance: Any) -> int:
    asked: Any = SimpleNamespace(**{"priority": 0, "speed": 1.0} | utterance)
    count = 0
    async for _ in in_time(made.chunks(), asked, LIMITS):
        count += 1
        await asyncio.sleep(pause)
    assert made.over
    return count


@pytest.mark.parametrize(
    ("made", "pause", "setting"),
    [
        (Made(5), 0, "limits.first_audio_seconds"),
        (Made(0, 5), 0, "limits.total_seconds"),
        (Made(*[0.05] * 200, seconds=0.01), 0, "limits.total_seconds"),  # slower than it can be heard
        (Made(*[0] * 200, seconds=0.01), 0.05, "limits.total_seconds"),  # taken more slowly
        (Made(0.0, 5, seconds=0), 0, "limits.first_audio_seconds"),  # what is no audio yet
    ],
)
async def test_what_takes_too_long(made: Made, pause: float, setting: str) -> None:
    with pytest.raises(OutOfTime, match=setting):
        await taken(made, pause)
    assert made.over


async def test_who_plays_it_while_it_comes_has_the_time_that_it_lasts() -> None:
    assert await taken(Made(*[0] * 10), 0.1) == 10
    assert await taken(Made(*[0] * 5), 0.2, speed=0.5) == 5


async def test_a_job_has_all_the_time_there_is() -> None:
    assert await taken(Made(0.5, 0.7), priority=1) == 2
