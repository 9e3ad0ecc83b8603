"""The bundled model says what it is asked to say, in the voice that it is asked to say it in.

Content is found by readings of espeak-ng, voices by the model's own speaker encoder.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from more_train.evaluate.content import Cepstra, cepstra, distance

from more_server.app import create_speaker
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import Audio, Samples, SpeechRequest
from more_server.tables import EngineSettings
from more_server.xtts.load import Xtts, load
from tests.espeak import SAMPLE_RATE, espeak

SENTENCES = (
    "The kitchen window is open and it is raining outside",
    "Please turn off the lights in the living room tonight",
    "My brother works in a small office near the station",
    "The train to the city leaves at seven in the morning",
    "We should buy some bread and milk on the way home",
    "Her old bicycle was standing against the garden wall",
    "Nobody knew why the music had stopped so suddenly",
    "The children are playing football behind the school",
    "There is a letter for you on the table by the door",
    "I would like to visit the museum again next weekend",
)
STRANGERS = ("en-us+m7", "en-us+f4", "en-us+croak", "en-us+f1")
"""Variants of espeak-ng whose speech is cloned."""
HOUSE = ("linden", "rowan")


@asynccontextmanager
async def speaking(folder: Path, precision: str = "fp32") -> AsyncIterator[Speaker]:
    speaker = create_speaker(Settings(data_dir=folder, engine=EngineSettings(device="cpu", precision=precision)))
    speaker.engine.start()
    try:
        await speaker.open()
        yield speaker
    finally:
        speaker.engine.stop()


async def say(speaker: Speaker, sentence: str, voice: str, seed: int) -> Samples:
    asked = SpeechRequest(text=sentence, voice=voice, quality="balanced", seed=seed)
    utterance = await speaker.resolve(asked, "test")
    return np.concatenate([audio.samples async for audio in speaker.speak(utterance)])


def heard(samples: Samples, sample_rate: int) -> Cepstra:
    found = cepstra(Audio(samples, sample_rate))
    assert found is not None
    return found


@pytest.mark.parametrize(("voice", "precision"), [("linden", "fp32"), ("rowan", "fp32"), ("linden", "int8")])
async def test_sentences_are_nearest_to_their_own_reading(tmp_path: Path, voice: str, precision: str):
    if precision == "int8" and "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("int8 needs an x86-64 CPU")
    readings = [heard(espeak().say(sentence), SAMPLE_RATE) for sentence in SENTENCES]
    async with speaking(tmp_path, precision) as speaker:
        said = [await say(speaker, sentence, voice, 507 + index) for index, sentence in enumerate(SENTENCES)]
    spoken = [heard(samples, 24_000) for samples in said]
    found = [int(np.argmin([distance(one, reading) for reading in readings])) for one in spoken]
    assert sum(place == index for index, place in enumerate(found)) >= 9
    assert all(0.6 < one.shape[1] / own.shape[1] < 1.6 for one, own in zip(spoken, readings, strict=True))


def embedding(model: Xtts, samples: Samples, sample_rate: int) -> torch.Tensor:
    at_16_khz = soxr.resample(samples, sample_rate, 16_000).astype(np.float32)
    return model.conditioner.speaker_embedding(torch.from_numpy(at_16_khz))


async def voiceprint(speaker: Speaker, model: Xtts, voice: str) -> torch.Tensor:
    """Of what a voice says."""
    said = [await say(speaker, sentence, voice, index) for index, sentence in enumerate(SENTENCES[:4])]
    return torch.stack([embedding(model, samples, 24_000) for samples in said]).mean(dim=0)


async def test_the_two_voices_are_told_apart_and_each_is_like_its_reference(tmp_path: Path):
    model = load(Path("models/nano"), torch.device("cpu"))
    references = {voice: embedding(model, *soundfile.read(f"voices/{voice}/reference.wav")) for voice in HOUSE}
    async with speaking(tmp_path) as speaker:
        said = {voice: await voiceprint(speaker, model, voice) for voice in HOUSE}
    for voice, other in (HOUSE, HOUSE[::-1]):
        assert said[voice] @ references[voice] > said[voice] @ references[other] + 0.1, voice


async def test_a_cloned_voice_moves_towards_its_reference(tmp_path: Path):
    model = load(Path("models/nano"), torch.device("cpu"))
    prints: dict[str, torch.Tensor] = {}
    for number, variant in enumerate(STRANGERS):
        clip = np.concatenate([espeak().say(sentence, variant) for sentence in SENTENCES[6:]])
        folder = tmp_path / "voices" / f"stranger{number}"
        folder.mkdir(parents=True)
        soundfile.write(folder / "reference.wav", clip, SAMPLE_RATE)
        (folder / "voice.toml").write_text(f'name = "{variant}"\nconsent = "Made by a formant synthesiser."\n')
        prints[folder.name] = embedding(model, clip, SAMPLE_RATE)
    async with speaking(tmp_path) as speaker:
        said = {voice: await voiceprint(speaker, model, voice) for voice in (*HOUSE, *prints)}
    moved = {
        voice: float(said[voice] @ one - max(said[house] @ one for house in HOUSE)) for voice, one in prints.items()
    }
    assert np.mean(list(moved.values())) > 0, moved
    # Whoever is cloned is nearer to their own reference than the others who were cloned are.
    own = [said[voice] @ prints[voice] for voice in prints]
    others = [said[one] @ prints[other] for one, other in product(prints, prints) if one != other]
    assert torch.stack(own).mean() > torch.stack(others).mean()
