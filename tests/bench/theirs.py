"""Coqui's `inference` and `inference_stream` as upstream wrote them, in a process of their own.

Its weights are those of our folder, in which the decoder's weight norm is folded. Upstream keeps it while it speaks
(`Xtts.load_checkpoint` never removes it) and computes it anew at every call, so it is put back.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from more_server.xtts.config import XttsConfig, read_config
from tests.bench.machine import memory_used
from tests.bench.workload import Heard, codes_in, forced_utterance, listening, milliseconds, random_latents

WARM_CODES = 8
RUNS = 2


class _Tokens:
    """In the tokenizer's place: our token ids, whatever the text."""

    def __init__(self, token_ids: tuple[int, ...]) -> None:
        self._token_ids = token_ids

    def encode(self, _text: str, lang: str) -> list[int]:
        return list(self._token_ids)


class _Stopwatch:
    """A function that adds up the time spent in it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return self._function(*arguments, **named)
        finally:
            self.seconds += time.perf_counter() - started


def measure(folder: Path, device: str, threads: int, codes: int, tokens: int) -> dict[str, object]:
    """Times and memory of one stream of so many codes; coqui serves no more at once."""
    import torch
    from transformers.utils.logging import set_verbosity_error

    from tests.xtts.reference import coqui_xtts

    set_verbosity_error()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    started = time.perf_counter()
    model = coqui_xtts(folder).to(device)
    _put_weight_norm_back(model.hifigan_decoder.waveform_decoder)
    # A single tensor of the file would keep all of it mapped, 1.9 GB.
    model.mel_stats = model.mel_stats.clone()
    load = time.perf_counter() - started
    config = read_config(folder)
    _speak(model, config, WARM_CODES, tokens)
    for _ in _stream(model, config, WARM_CODES, tokens):
        pass
    found: dict[str, object] = {"load_s": round(load, 2), "runs": RUNS, "codes": codes}
    print(f"· coqui: inference, {codes} codes, {RUNS} times", file=sys.stderr, flush=True)
    found["inference"] = _whole(model, config, codes, tokens)
    print(f"· coqui: inference_stream, {codes} codes, {RUNS} times", file=sys.stderr, flush=True)
    found["inference_stream"] = _streamed(model, config, codes, tokens)
    memory = memory_used()
    del memory["resident_peak_mb"]  # of the reference's own way to load, not of coqui's
    return found | memory


def _put_weight_norm_back(generator: Any) -> None:
    from torch.nn import Conv1d
    from torch.nn.utils.parametrizations import weight_norm

    inside = [layer for block in generator.resblocks for layer in block.modules() if isinstance(layer, Conv1d)]
    for layer in [*generator.ups, *inside]:
        weight_norm(layer)


def _whole(model: Any, config: XttsConfig, codes: int, tokens: int) -> dict[str, object]:
    generate = model.gpt.generate
    totals, generating = [], []
    for _ in range(RUNS):
        model.gpt.generate = _Stopwatch(generate)
        started = time.perf_counter()
        samples = _speak(model, config, codes, tokens)
        totals.append(time.perf_counter() - started)
        generating.append(model.gpt.generate.seconds)
        audio = _checked(config, len(samples) / config.output_sample_rate, codes)
    model.gpt.generate = generate
    return {
        "real_time_factor": round(statistics.median(totals) / audio, 4),
        "real_time_factor_best": round(min(totals) / audio, 4),
        "ms_per_code": milliseconds(statistics.median(totals) / codes),
        "ms_per_code_generating": milliseconds(statistics.median(generating) / codes),
    }


def _streamed(model: Any, config: XttsConfig, codes: int, tokens: int) -> dict[str, object]:
    heard, totals = [], []
    for _ in range(RUNS):
        one = Heard(time.perf_counter())
        for chunk in _stream(model, config, codes, tokens):
            one.chunk(len(chunk.cpu()) / config.output_sample_rate)
        totals.append(time.perf_counter() - one.asked)
        heard.append(one)
        audio = _checked(config, one.audio, codes)
    return {
        "real_time_factor": round(statistics.median(totals) / audio, 4),
        "real_time_factor_best": round(min(totals) / audio, 4),
        "ms_per_code": milliseconds(statistics.median(totals) / codes),
        **listening(heard),
    }


def _speak(model: Any, config: XttsConfig, codes: int, tokens: int) -> Any:
    forced = _forced(model, config, codes, tokens)
    return model.inference("text", config.languages[0], *forced, min_new_tokens=codes)["wav"]


def _stream(model: Any, config: XttsConfig, codes: int, tokens: int) -> Any:
    forced = _forced(model, config, codes, tokens)
    return model.inference_stream("text", config.languages[0], *forced, min_new_tokens=codes)


def _forced(model: Any, config: XttsConfig, codes: int, tokens: int) -> tuple[Any, Any]:
    """The voice; the model is told to end after so many codes, where its `generate` looks for its limit.

    `min_new_tokens`, an option of Hugging Face's `generate` that coqui passes on, keeps it from ending earlier.
    """
    import torch

    model.gpt.max_gen_mel_tokens = codes
    latents = random_latents(config)
    model.tokenizer = _Tokens(forced_utterance(config, codes, tokens, 0, latents).segments[0].token_ids)
    return torch.from_numpy(latents.conditioning)[None], torch.from_numpy(latents.speaker_embedding)[None, :, None]


def _checked(config: XttsConfig, seconds: float, codes: int) -> float:
    """The seconds; raises ValueError when coqui has spoken for longer or shorter than it was told to."""
    if codes_in(config, seconds) != codes:
        raise ValueError(f"coqui was to speak {codes} codes and spoke {codes_in(config, seconds)}")
    return seconds
