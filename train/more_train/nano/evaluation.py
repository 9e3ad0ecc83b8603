"""What the finished model can do, in figures: what it says, whether it ends, whose voice it has, whether it hums."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from more_server.audio.read import resample
from more_server.speech import Audio, Samples
from more_server.xtts.load import Xtts, load
from more_train import rates
from more_train.evaluate.content import Cepstra, cepstra, distance
from more_train.nano.config import Nano
from more_train.nano.features import at_speaker_rate
from more_train.nano.monotone import Sound
from more_train.nano.phrases import GRAMMARS
from more_train.nano.saying import Said, say
from more_train.nano.shards import Plans
from more_train.nano.speech import HOUSE, Espeak, Speaker, speakers

HOUSE_NAMES = ("linden", "rowan")
REFERENCE_SENTENCES = 3
CLONE_SENTENCES = 4
LENGTHS = (0.6, 1.6)
"""Of the reading's: shorter has words missing, longer has babble."""
TONE_WINDOW, TONE_AROUND = 8192, 12
"""Samples at 24 kHz, 0.34 s: bins of 3 Hz; and bins on either side that a tone stands out of."""

Told = Callable[[int, int], None]


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A bundled voice in a language."""

    voice: str
    language: str
    sentences: int
    found: float
    """Share that is nearer to its own reading than to all others' (mel-cepstra, time warping)."""
    stopped: float
    """Share that ended by itself."""
    length: float
    """Share whose length is within 0.6 and 1.6 of its reading."""
    own: float
    """Mean cosine with the voice's reference, by the model's own speaker encoder."""
    other: float
    """Mean cosine with the other bundled voice's."""
    pitch: float
    """Median hertz of what is voiced."""
    reference_pitch: float
    """The same of its reference."""
    tones: float
    """Decibels by which the worst multiple of the frame rate stands out of the mean spectrum around it."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model."""

    voices: list[Voice]
    clones: int
    """References of voices that training never heard."""
    moved: float
    """Share of them whose speech is nearer to their reference than both bundled voices' speech is."""
    clone: float
    """Mean cosine of such speech with its own reference."""
    unrelated: float
    """Mean cosine of the bundled voices' speech with those references."""


class Heard(NamedTuple):
    """A reference as the model keeps it."""

    conditioning: Tensor
    embedding: Tensor


class Examiner:
    """Speaks with a model folder and measures."""

    def __init__(self, nano: Nano, folder: Path, device: torch.device, check: Callable[[], None]) -> None:
        self.nano, self.check = nano, check
        self.model: Xtts = load(folder, device)
        self._plans, self._espeak = Plans(nano, self.model.tokenizer), Espeak()

    def results(self, told: Told) -> Results:
        """Everything; told: sentences done and in all."""
        each, languages = self.nano.evaluation.sentences, self.nano.languages
        total, done = each * len(HOUSE) * len(languages), 0
        house = [self._reference(speaker, languages[0]) for speaker in HOUSE]
        voices, spoken = list[Voice](), list[Tensor]()
        for number in range(len(HOUSE)):
            for language in languages:
                voice, embeddings = self._voice(number, language, house)
                voices.append(voice)
                spoken += embeddings if language == languages[0] else []
                done += each
                told(done, total)
        return self._cloned(voices, torch.stack(spoken))

    def _voice(self, number: int, language: str, house: Sequence[Heard]) -> tuple[Voice, list[Tensor]]:
        texts = self._plans.corpora[language].held_out_sentences(self.nano.evaluation.sentences, self.nano.seed)
        readings = [self._said_by_espeak(text, language, HOUSE[number]) for text in texts]
        said = self._say(texts, language, house[number])
        known = [cepstra(Audio(samples, rates.MEL)) for samples in readings]
        heard = [cepstra(Audio(one.audio.numpy(), rates.STORED)) for one in said]
        lengths = [one.codes * 1024 / max(1, len(samples)) for one, samples in zip(said, readings, strict=True)]
        embeddings = [self._embedding(one) for one in said]
        voice = Voice(
            voice=HOUSE_NAMES[number],
            language=language,
            sentences=len(texts),
            found=fmean(_nearest(one, known, self.check) == index for index, one in enumerate(heard)),
            stopped=fmean(one.stopped for one in said),
            length=fmean(LENGTHS[0] < length < LENGTHS[1] for length in lengths),
            own=fmean(float(one @ house[number].embedding) for one in embeddings),
            other=fmean(float(one @ house[1 - number].embedding) for one in embeddings),
            pitch=_pitch([Audio(one.audio.numpy(), rates.STORED) for one in said]),
            reference_pitch=_pitch([Audio(samples, rates.MEL) for samples in readings]),
            tones=tones([one.audio.numpy() for one in said], self.model.config.output_sample_rate),
        )
        return voice, embeddings

    def _cloned(self, voices: list[Voice], house: Tensor) -> Results:
        """house: embeddings of the bundled voices' speech, (n, width)."""
        language, evaluation = self.nano.languages[0], self.nano.evaluation
        settings = msgspec.structs.replace(self.nano.voices, speakers=evaluation.clones + len(HOUSE))
        texts = self._plans.corpora[language].held_out_sentences(CLONE_SENTENCES, self.nano.seed)
        own, unrelated = list[float](), list[float]()
        for speaker in speakers(settings, self.nano.seed + 1)[len(HOUSE) :]:
            heard = self._reference(speaker, language)
            said = torch.stack([self._embedding(one) for one in self._say(texts, language, heard)])
            own.append(float((said @ heard.embedding).mean()))
            unrelated.append(float((house @ heard.embedding).mean()))
        return Results(
            voices=voices,
            clones=evaluation.clones,
            moved=fmean(one > other for one, other in zip(own, unrelated, strict=True)),
            clone=fmean(own),
            unrelated=fmean(unrelated),
        )

    def _say(self, texts: Sequence[str], language: str, voice: Heard) -> list[Said]:
        evaluation, said = self.nano.evaluation, list[Said]()
        for start in range(0, len(texts), evaluation.batch):
            said += say(
                self.model,
                [(text, language) for text in texts[start : start + evaluation.batch]],
                voice.conditioning,
                voice.embedding,
                temperature=evaluation.temperature,
                top_k=evaluation.top_k,
                seed=self.nano.seed + start,
                check=self.check,
            )
        return said

    def _reference(self, speaker: Speaker, language: str) -> Heard:
        random = Random(f"{self.nano.seed}/reference")  # noqa: S311 - no secret
        texts = [self._plans.corpora[language].sentence(random) for _ in range(REFERENCE_SENTENCES)]
        samples = np.concatenate([self._said_by_espeak(text, language, speaker) for text in texts])
        device = self.model.device
        return Heard(
            self.model.conditioner.latents(torch.from_numpy(samples).to(device)),
            self.model.conditioner.speaker_embedding(torch.from_numpy(at_speaker_rate(samples)).to(device)),
        )

    def _said_by_espeak(self, text: str, language: str, speaker: Speaker) -> Samples:
        clip = self._espeak.say(text, GRAMMARS[language].voice, speaker)
        return np.asarray(clip.samples, dtype=np.float32) / np.float32(32768)

    def _embedding(self, said: Said) -> Tensor:
        samples = resample(said.audio.numpy(), rates.STORED, rates.SPEAKER)
        # The encoder's convolutions halve time three times: of less than 0.2 s nothing is left.
        samples = np.pad(samples, (0, max(0, rates.SPEAKER // 5 - len(samples))))
        return self.model.conditioner.speaker_embedding(torch.from_numpy(samples).to(self.model.device))


def _pitch(clips: Sequence[Audio]) -> float:
    found = [Sound(clip.samples, clip.sample_rate).pitch() for clip in clips if len(clip.samples)]
    return median([pitch for pitch in found if pitch] or [0.0])


def _nearest(heard: Cepstra | None, known: Sequence[Cepstra | None], check: Callable[[], None]) -> int:
    check()
    if heard is None:
        return -1
    return int(np.argmin([distance(heard, reading) if reading is not None else np.inf for reading in known]))


def tones(clips: Sequence[Samples], sample_rate: int, frame_rate: float = 93.75) -> float:
    """Decibels by which the worst multiple of the frame rate stands out of the median around it, in the mean spectrum.

    The hum of transposed convolutions is steady and speech is not: over many sentences speech leaves a smooth spectrum.
    """
    audio = np.concatenate([*clips, np.zeros(TONE_WINDOW, np.float32)])
    audio = audio[: len(audio) // TONE_WINDOW * TONE_WINDOW].reshape(-1, TONE_WINDOW)
    power = np.square(np.abs(np.fft.rfft(audio * np.hanning(TONE_WINDOW)))).mean(axis=0)
    levels = 10 * np.log10(power + 1e-12)
    found = []
    for multiple in range(1, int(sample_rate / 2 / frame_rate)):
        bin_ = round(multiple * frame_rate * TONE_WINDOW / sample_rate)
        around = levels[max(0, bin_ - TONE_AROUND) : bin_ + TONE_AROUND + 1]
        found.append(float(levels[bin_] - np.median(around)))
    return max(found)


def evaluate(nano: Nano, folder: Path, device: torch.device, check: Callable[[], None], told: Told) -> Results:
    """Figures of a model folder."""
    return Examiner(nano, folder, device, check).results(told)
