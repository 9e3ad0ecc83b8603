"""From audio as it is made to bytes as they can be sent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing

import numpy as np

from more_server.audio.encode import Encoder, encode_file, make_encoder
from more_server.speech import Audio


async def encoded(chunks: AsyncGenerator[Audio, None], format_name: str) -> AsyncGenerator[bytes, None]:
    """Encoded audio of one sample rate, as early as the codec lets it out. Raises BadInput as `find_format` does."""
    encoder: Encoder | None = None
    with ExitStack() as stack:
        async with aclosing(chunks):
            async for audio in chunks:
                encoder = encoder or stack.enter_context(make_encoder(format_name, audio.sample_rate))
                if data := encoder.feed(audio.samples):
                    yield data
        if encoder is not None and (data := encoder.finish()):
            yield data


async def encoded_whole(chunks: AsyncGenerator[Audio, None], format_name: str) -> AsyncGenerator[bytes, None]:
    """A whole file in one piece, whose header tells its length; there must be audio."""
    async with aclosing(chunks):
        pieces = [audio async for audio in chunks]
    samples = np.concatenate([audio.samples for audio in pieces])
    yield await asyncio.to_thread(encode_file, samples, pieces[0].sample_rate, format_name)
