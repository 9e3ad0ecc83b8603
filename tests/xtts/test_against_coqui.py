"""Our XTTS against coqui's own functions on the same weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from more_server.testing import tiny_config, tiny_xtts, xtts_v2_config
from more_server.xtts.load import Xtts, load
from tests.xtts.reference import coqui_xtts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CPU = torch.device("cpu")


@dataclass
class Pair:
    ours: Xtts
    coqui: Any


@pytest.fixture(
    scope="module", params=["tiny", "nano", pytest.param("full", marks=pytest.mark.slow)], ids=lambda name: name
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if request.param == "nano":
        folder = Path("models/nano")
    else:
        config = tiny_config() if request.param == "tiny" else xtts_v2_config()
        folder = tiny_xtts(tmp_path_factory.mktemp("model") / request.param, config=config)
    yield Pair(load(folder, CPU), coqui_xtts(folder))
    if request.param == "full":
        (folder / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """Five seconds of a voiced sound with moving formants."""
    time = np.arange(5 * 22_050) / 22_050
    glide = np.sin(2 * np.pi * (120 + 20 * np.sin(2 * np.pi * 0.7 * time)) * time)
    noise = np.random.default_rng(0).normal(size=time.size)
    return (0.3 * np.sign(glide) * (1 + np.sin(2 * np.pi * 3 * time)) / 2 + 0.01 * noise).astype(np.float32)


@torch.inference_mode()
def teacher_forced(model: Xtts, conditioning: torch.Tensor, tokens: tuple[int, ...], codes: list[int]) -> torch.Tensor:
    """Our latents at START and at each code, one position at a time."""
    passes, prompt = model.passes(2), model.gpt.prompt(conditioning, tokens)
    latents = [passes.prefill([prompt], [1], [conditioning])[0]]
    for place, code in enumerate(codes, start=1):
        row = [torch.tensor([number]) for number in (code, place, 1, len(prompt) + place - 1)]
        latents.append(passes.step(*row, (2, passes.positions))[0])
    return torch.cat(latents)


def draw_codes(pair: Pair, count: int) -> list[int]:
    stop = pair.ours.config.gpt.num_audio_tokens - 2
    return [int(code) for code in np.random.default_rng(3).integers(0, stop, count)]


def conditioning(pair: Pair) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(32, pair.ours.config.gpt.model_dim, generator=generator) * 0.3


TOKENS = (3, 8, 12, 9, 15, 4, 20, 7)


def test_conditioning_latents(pair: Pair, reference: np.ndarray) -> None:
    ours = pair.ours.conditioner.latents(torch.from_numpy(reference))
    theirs = coqui_conditioning(pair, torch.from_numpy(reference)[None])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def coqui_conditioning(pair: Pair, audio: torch.Tensor) -> torch.Tensor:
    sizes = pair.ours.config.conditioning
    if sizes.n_fft == 2048:
        latents: torch.Tensor = pair.coqui.get_gpt_cond_latents(audio, 22_050, 30, int(sizes.chunk_seconds))[0]
        return latents
    # That method types XTTS-v2's mel sizes; nano was trained with others, so its steps are called one by one.
    from TTS.tts.models.xtts import wav_to_mel_cloning

    chunks = audio.split(round(sizes.chunk_seconds * 22_050), dim=1)
    styles = [
        pair.coqui.gpt.get_style_emb(
            wav_to_mel_cloning(
                chunk,
                mel_norms=pair.coqui.mel_stats,
                n_fft=sizes.n_fft,
                hop_length=sizes.hop_length,
                win_length=sizes.win_length,
            )
        )
        for chunk in chunks
        if chunk.shape[1] >= 0.33 * 22_050
    ]
    return torch.stack(styles).mean(dim=0).transpose(1, 2)[0]


def test_speaker_embedding(pair: Pair, reference: np.ndarray) -> None:
    ours = pair.ours.conditioner.speaker_embedding(torch.from_numpy(reference))
    theirs = pair.coqui.get_speaker_embedding(torch.from_numpy(reference)[None].clone(), 16_000)
    torch.testing.assert_close(ours, theirs[0, :, 0], atol=1e-5, rtol=1e-4)


def test_latents_and_logits(pair: Pair) -> None:
    codes, prompt = draw_codes(pair, 20), conditioning(pair)
    ours = teacher_forced(pair.ours, prompt, TOKENS, codes)
    length = torch.tensor([len(TOKENS)])
    # coqui's second pass wants the stop code at the end, as its `generate` returns it.
    with_stop = torch.tensor([[*codes, pair.ours.config.gpt.stop_audio_token]])
    with torch.inference_mode():
        theirs = pair.coqui.gpt(
            torch.tensor([TOKENS]),
            length,
            with_stop,
            torch.tensor([with_stop.shape[1] * pair.ours.config.gpt.code_stride_len]),
            cond_latents=prompt[None],
            return_latent=True,
        )[0]
        their_logits = pair.coqui.gpt.mel_head(theirs)
    assert theirs.shape == ours.shape
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(pair.ours.gpt.code_head(ours), their_logits, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_greedy_codes(pair: Pair) -> None:
    """Coqui's `generate` and our loop choose the same codes; the penalty is off, as coqui also penalises code 1."""
    pair.coqui.gpt.init_gpt_for_inference()
    pair.coqui.gpt.eval()
    prompt, stop = conditioning(pair), pair.ours.config.gpt.stop_audio_token
    theirs = pair.coqui.gpt.generate(
        cond_latents=prompt[None],
        text_inputs=torch.tensor([TOKENS]),
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        max_new_tokens=24,
    )[0].tolist()
    codes: list[int] = []
    while len(codes) < 24 and (not codes or codes[-1] != stop):
        latents = teacher_forced(pair.ours, prompt, TOKENS, codes)
        codes.append(int(pair.ours.gpt.code_head(latents[-1]).argmax()))
    assert codes == theirs


@torch.inference_mode()
def test_waveform(pair: Pair) -> None:
    latents = teacher_forced(pair.ours, conditioning(pair), TOKENS, draw_codes(pair, 30))
    embedding = torch.nn.functional.normalize(
        torch.randn(pair.ours.config.decoder.cond_channels, generator=torch.Generator().manual_seed(1)), dim=0
    )
    ours = pair.ours.decoder.decode(latents, embedding)
    theirs = pair.coqui.hifigan_decoder(latents[None], g=embedding[None, :, None])[0, 0]
    assert ours.shape == theirs.shape
    assert len(ours) == pair.ours.decoder.frame_count(31) * 256
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("window", [5, 16, 50])
def test_windows_equal_the_whole(pair: Pair, window: int) -> None:
    """Streamed windows, each made when its latents have just settled, are the whole decode."""
    decoder = pair.ours.decoder
    latents = teacher_forced(pair.ours, conditioning(pair), TOKENS, draw_codes(pair, 40))
    embedding = torch.randn(pair.ours.config.decoder.cond_channels, generator=torch.Generator().manual_seed(1)) * 0.04
    whole = decoder.decode(latents, embedding)
    pieces, start = [], 0
    for count in range(1, len(latents) + 1):
        settled = decoder.settled_frames(count) - decoder.context_frames
        if settled - start >= window:
            pieces.append(decoder.decode(latents[:count], embedding, start, settled))
            start = settled
    pieces.append(decoder.decode(latents, embedding, start))
    assert len(pieces) > 2
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5, rtol=1e-4)
