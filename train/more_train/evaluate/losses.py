"""How well a model foretells held-out recordings: the losses of its training, on recordings that training never saw."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from more_server.audio.read import resample, trim_silence
from more_server.engine.runner import pick_device
from more_server.errors import BadInput
from more_server.tables import EngineSettings
from more_server.xtts.conditioning import Conditioner
from more_server.xtts.config import read_config
from more_server.xtts.load import build
from more_server.xtts.tokenizer import Tokenizer
from more_server.xtts.weights import Weights
from more_train.dataset.format import Clip, read_dataset
from more_train.dvae import load_dvae
from more_train.evaluate.content import cepstra
from more_train.evaluate.exam import spread
from more_train.evaluate.recordings import HELD_OUT, clip_audio, voice_clips
from more_train.evaluate.report import Losses
from more_train.gpt_loss import STOPS, Row, counts, load_trained, make_batch
from more_train.inputs import tokens_of

MOST_CLIPS = 200
"""Held-out recordings: a mean over so many moves by a hundredth from one choice to the next."""
SHOW_TEXT_STOP = True
"""As a model is served: the text's STOP stands before the codes."""

Summed = Mapping[str, tuple[float, int]]
"""Losses by name, summed over so many tokens."""


def held_out_losses(model: Path, dataset: Path, engine: EngineSettings, on_done: Callable[[int, int], None]) -> Losses:
    """Mean losses over a dataset's held-out clips, spoken by their own speaker's voice.

    Raises ModelError where the model has no DVAE, which makes codes of recordings; BadInput where no clip fits.
    """
    _, clips = read_dataset(dataset)
    held_out = spread([clip for clip in clips if clip.split == HELD_OUT], MOST_CLIPS)
    judge = _Judge(model, pick_device(engine.device))
    sums, used = defaultdict[str, list[float]](lambda: [0.0, 0]), 0
    for number, clip in enumerate(held_out):
        own = [one for one in clips if one.speaker == clip.speaker]
        for name, (loss, tokens) in judge.losses(dataset, clip, own).items():
            sums[name][0] += loss
            sums[name][1] += tokens
            used += name == "codes"
        on_done(number + 1, len(held_out))
    if not used:
        raise BadInput("no held-out clip fits into a sequence of the model")
    return Losses(clips=used, values={name: round(loss / tokens, 4) for name, (loss, tokens) in sums.items()})


class _Judge:
    """A model with what makes codes of recordings."""

    def __init__(self, model: Path, device: torch.device) -> None:
        self._config = read_config(model)
        self._device = device
        statistics = Weights(model).read(["mel_stats"])["mel_stats"]
        self._dvae = load_dvae(model, self._config, statistics, device)
        self._trained = load_trained(model, device).eval()
        self._tokenizer = Tokenizer(model / "vocab.json")
        parts = build(self._config, gpt_device="meta")
        self._mel = Conditioner(
            self._config, parts.conditioning_encoder, parts.perceiver, parts.speaker_encoder, parts.mel, statistics
        ).mel
        self._references: dict[str, torch.Tensor | None] = {}

    @torch.inference_mode()
    def losses(self, dataset: Path, clip: Clip, own: Sequence[Clip]) -> Summed:
        """Summed losses of a clip; none where it is broken, silent or longer than the model."""
        config = self._config.gpt
        if clip.language not in self._config.languages:
            return {}
        reference = self._reference(dataset, clip.speaker, own)
        tokens = tokens_of(clip.text, clip.language, self._config, self._tokenizer)
        try:
            audio = clip_audio(dataset, clip)
        except BadInput:
            return {}
        if reference is None or tokens is None or cepstra(audio) is None:
            return {}
        codes = self._dvae.encode(resample(audio.samples, audio.sample_rate, self._config.sample_rate))
        if len(codes) > config.max_mel_tokens - STOPS:
            return {}
        row = Row(tokens, codes.tolist())
        batch = make_batch([row], reference, config, show_text_stop=SHOW_TEXT_STOP).to(self._device)
        text, spoken = self._trained(batch)
        text_tokens, code_tokens = counts(row)
        return {"codes": (float(spoken), code_tokens), "text": (float(text), text_tokens)}

    def _reference(self, dataset: Path, speaker: str, own: Sequence[Clip]) -> torch.Tensor | None:
        """Normalised mel (1, mels, frames) of one chunk of the speaker's training clips; None where he has none."""
        if speaker not in self._references:
            rate, conditioning = self._config.sample_rate, self._config.conditioning
            clips = voice_clips(dataset, own)
            self._references[speaker] = None
            if clips:
                samples = trim_silence(resample(clips[0].samples, clips[0].sample_rate, rate), rate)
                chunk = samples[: round(conditioning.chunk_seconds * rate)]
                self._references[speaker] = self._mel(torch.from_numpy(np.ascontiguousarray(chunk)))
        return self._references[speaker]
