"""How long a request for speech may take: until its first audio, and beyond what a listener needs to hear it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from more_server.errors import OutOfTime
from more_server.speech import Audio, Utterance
from more_server.tables import LimitSettings

RETRY_SECONDS = 10.0


async def in_time(
    chunks: AsyncGenerator[Audio, None], utterance: Utterance, limits: LimitSettings
) -> AsyncGenerator[Audio, None]:
    """The same audio, as long as it comes in time and is taken in time; a job has all the time there is.

    Whoever plays what he gets while it is made takes as long as it lasts, so that does not count. Raises OutOfTime.
    """
    loop, heard, seconds = asyncio.get_running_loop(), False, 0.0
    began = loop.time()
    async with aclosing(chunks):
        while True:
            end = began + limits.total_seconds + seconds / utterance.speed
            first = began + limits.first_audio_seconds
            try:
                async with asyncio.timeout_at(None if utterance.priority else end if heard else min(first, end)):
                    audio = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise OutOfTime(_reason(limits, heard=heard or first > end), retry_after=RETRY_SECONDS) from None
            heard, seconds = heard or len(audio.samples) > 0, seconds + audio.seconds
            yield audio


def _reason(limits: LimitSettings, *, heard: bool) -> str:
    if heard:
        return f"it took {limits.total_seconds:g} s longer than its audio is (limits.total_seconds)"
    return f"there was no audio for {limits.first_audio_seconds:g} s (limits.first_audio_seconds)"
