"""The bundled model says what it is asked to say: content retrieval against readings by espeak-ng."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soxr
import torch

from more_server.app import create_speaker
from more_server.settings import EngineSettings, Settings
from more_server.speech import SpeechRequest
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


def cepstra(samples: np.ndarray) -> np.ndarray:
    """Mel-cepstra without the level, each coefficient normalised over the sentence."""
    trimmed, _ = librosa.effects.trim(librosa.util.normalize(samples), top_db=35)
    mfcc = librosa.feature.mfcc(y=trimmed, sr=SAMPLE_RATE, n_mfcc=20, n_fft=1024, hop_length=256)[1:]
    return (mfcc - mfcc.mean(axis=1, keepdims=True)) / mfcc.std(axis=1, keepdims=True)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Cost per step of the best time warping."""
    cost, path = librosa.sequence.dtw(one, other, metric="cosine")
    return float(cost[-1, -1] / len(path))


@pytest.mark.parametrize(("voice", "precision"), [("linden", "fp32"), ("rowan", "fp32"), ("linden", "int8")])
async def test_sentences_are_nearest_to_their_own_reading(tmp_path: Path, voice: str, precision: str) -> None:
    if precision == "int8" and "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("int8 needs an x86-64 CPU")
    readings = [cepstra(espeak().say(sentence)) for sentence in SENTENCES]
    speaker = create_speaker(Settings(data_dir=tmp_path, engine=EngineSettings(device="cpu", precision=precision)))
    speaker.engine.start()
    try:
        await speaker.open()
        found, lengths = 0, []
        for index, sentence in enumerate(SENTENCES):
            asked = SpeechRequest(text=sentence, voice=voice, quality="balanced", seed=507 + index)
            utterance = await speaker.resolve(asked, "test")
            samples = np.concatenate([audio.samples async for audio in speaker.speak(utterance)])
            spoken = cepstra(soxr.resample(samples, 24_000, SAMPLE_RATE))
            found += int(np.argmin([distance(spoken, reading) for reading in readings])) == index
            lengths.append(spoken.shape[1] / readings[index].shape[1])
    finally:
        speaker.engine.stop()
    # Over six seeds 54 of 60, 7 to 10 in each. Chance would find one of ten; eight have odds below 1e-6.
    assert found >= 8
    assert all(0.6 < length < 1.6 for length in lengths)
