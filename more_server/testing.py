"""A tiny real XTTS with random weights, for our tests and for plugin authors."""

from pathlib import Path

import msgspec
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from more_server.text import LANGUAGES
from more_server.xtts.config import (
    ConditioningConfig,
    DecoderConfig,
    GptConfig,
    SpeakerEncoderConfig,
    XttsConfig,
)
from more_server.xtts.load import build

CHARACTERS = "abcdefghijklmnopqrstuvwxyz'.,?!-"


def tiny_config(languages: tuple[str, ...] = LANGUAGES) -> XttsConfig:
    """A complete XTTS of 0.9 million parameters: every part, no part large."""
    return XttsConfig(
        format=1,
        name="tiny",
        languages=languages,
        licence="Apache-2.0",
        sample_rate=22_050,
        output_sample_rate=24_000,
        max_segment_tokens=60,
        warning="random weights: it makes noise, not speech",
        gpt=GptConfig(
            layers=2,
            model_dim=64,
            heads=2,
            number_text_tokens=5 + len(LANGUAGES) + len(CHARACTERS),
            start_text_token=1,
            stop_text_token=0,
            max_text_tokens=80,
            num_audio_tokens=34,
            start_audio_token=32,
            stop_audio_token=33,
            max_mel_tokens=60,
            max_prompt_tokens=40,
            code_stride_len=1024,
        ),
        decoder=DecoderConfig(
            resblock_type="1",
            resblock_kernel_sizes=(3, 7, 11),
            resblock_dilation_sizes=((1, 3, 5), (1, 3, 5), (1, 3, 5)),
            upsample_factors=(8, 8, 2, 2),
            upsample_kernel_sizes=(16, 16, 4, 4),
            upsample_initial_channel=32,
            cond_channels=512,
            cond_in_each_up_layer=True,
        ),
        speaker_encoder=SpeakerEncoderConfig(
            input_dim=64,
            proj_dim=512,
            layers=(1, 1, 1, 1),
            num_filters=(8, 8, 8, 8),
            sample_rate=16_000,
            fft_size=512,
            win_length=400,
            hop_length=160,
            preemphasis=0.97,
            num_mels=64,
        ),
        conditioning=ConditioningConfig(
            n_fft=2048, hop_length=256, win_length=1024, n_mels=80, f_min=0.0, f_max=8000.0, chunk_seconds=2.0
        ),
    )


def xtts_v2_config() -> XttsConfig:
    """XTTS-v2's own sizes (its config.json; HifiDecoder's and ResNetSpeakerEncoder's defaults), for random weights."""
    tiny = tiny_config()
    gpt = msgspec.structs.replace(
        tiny.gpt,
        layers=30,
        model_dim=1024,
        heads=16,
        number_text_tokens=6681,
        max_text_tokens=402,
        num_audio_tokens=1026,
        start_audio_token=1024,
        stop_audio_token=1025,
        max_mel_tokens=605,
        max_prompt_tokens=70,
    )
    return msgspec.structs.replace(
        tiny,
        name="xtts-v2-random",
        max_segment_tokens=140,
        gpt=gpt,
        decoder=msgspec.structs.replace(tiny.decoder, upsample_initial_channel=512),
        speaker_encoder=msgspec.structs.replace(
            tiny.speaker_encoder, layers=(3, 4, 6, 3), num_filters=(32, 64, 128, 256)
        ),
        conditioning=msgspec.structs.replace(tiny.conditioning, chunk_seconds=4.0),
    )


def tiny_xtts(folder: Path, seed: int = 0, config: XttsConfig | None = None, *, talkative: bool = False) -> Path:
    """Write a model with random weights in the serving format; the same seed writes the same model.

    talkative: it never draws the stop code, so every segment lasts as long as its limit allows.
    """
    config = config or tiny_config()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config)))
    write_vocabulary(folder / "vocab.json", config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = random_weights(config)
    if talkative:
        state["gpt.mel_head.bias"][config.gpt.stop_audio_token] = -100.0
    save_file(state, folder / "model.safetensors")
    return folder


def random_weights(config: XttsConfig) -> dict[str, torch.Tensor]:
    """A state dict under coqui's names with fresh weights."""
    parts = build(config)
    state = {
        prefix + name: tensor.contiguous()
        for prefix, module in parts.by_prefix().items()
        for name, tensor in module.state_dict().items()
    }
    state |= {name: tensor.contiguous() for name, tensor in parts.gpt.to_coqui().items()}
    # Speaking does not need it, training does: a model in the serving format carries it.
    text_head = torch.nn.Linear(config.gpt.model_dim, config.gpt.number_text_tokens)
    state |= {f"gpt.text_head.{name}": tensor for name, tensor in text_head.state_dict().items()}
    state["mel_stats"] = torch.full((config.conditioning.n_mels,), 4.0)
    return state


def write_vocabulary(path: Path, config: XttsConfig) -> None:
    """A character vocabulary with the special tokens where the config expects them."""
    special = ["[STOP]", "[START]", "[UNK]", *(f"[{language}]" for language in LANGUAGES), "[SPACE]"]
    tokens = {token: index for index, token in enumerate([*special, *CHARACTERS])}
    assert tokens["[STOP]"] == config.gpt.stop_text_token
    assert tokens["[START]"] == config.gpt.start_text_token
    vocabulary = Tokenizer(models.BPE(vocab=tokens, merges=[], unk_token="[UNK]"))  # noqa: S106 - a token of text
    vocabulary.add_special_tokens(special)
    vocabulary.save(str(path))
