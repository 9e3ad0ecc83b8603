"""Folders in coqui's own layout, with random weights, made by coqui's own classes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models

from more_server.xtts import torchaudio_shim

LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi")
SPECIAL = ("[STOP]", "[START]", "[UNK]", *(f"[{language}]" for language in LANGUAGES), "[SPACE]")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz'.,?!-"
TEXT_TOKENS = len(SPECIAL) + len(CHARACTERS)

TINY = {
    "gpt_layers": 2,
    "gpt_n_model_channels": 64,
    "gpt_n_heads": 2,
    "gpt_max_text_tokens": 80,
    "gpt_max_audio_tokens": 60,
    "gpt_num_audio_tokens": 34,
    "gpt_start_audio_token": 32,
    "gpt_stop_audio_token": 33,
    "decoder_input_dim": 64,
}
FULL = {"gpt_num_audio_tokens": 1026, "gpt_start_audio_token": 1024, "gpt_stop_audio_token": 1025}


def write_vocabulary(path: Path, languages: tuple[str, ...] = LANGUAGES) -> None:
    special = [token for token in SPECIAL if token.strip("[]") in languages or token.isupper()]
    tokens = {token: index for index, token in enumerate([*special, *CHARACTERS])}
    vocabulary = Tokenizer(models.BPE(vocab=tokens, merges=[], unk_token="[UNK]"))
    vocabulary.add_special_tokens(special)
    vocabulary.save(str(path))


def coqui_model(**sizes: Any) -> Any:
    """coqui's Xtts with fresh weights; importing it takes three seconds."""
    torchaudio_shim.install()
    from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
    from TTS.tts.models.xtts import Xtts

    args = {
        "gpt_use_perceiver_resampler": True,
        "gpt_number_text_tokens": TEXT_TOKENS,
        "gpt_start_text_token": 1,
        "gpt_stop_text_token": 0,
        **sizes,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Xtts(XttsConfig(model_args=XttsArgs(**args)))
        model.mel_stats = torch.linspace(1.0, 5.0, 80)
    return model


@contextmanager
def _saved_as_then() -> Iterator[None]:
    """Where coqui kept these classes when XTTS-v2 was saved."""
    from TTS.tts.configs import xtts_config

    classes = (xtts_config.XttsArgs, xtts_config.XttsAudioConfig)
    try:
        for kind in classes:
            kind.__module__ = "TTS.tts.models.xtts"
        yield
    finally:
        for kind in classes:
            kind.__module__ = xtts_config.__name__


def old_spelling(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weight norm as torch spelled it when XTTS-v2 was saved."""
    return {
        name.replace(".parametrizations.weight.original0", ".weight_g").replace(
            ".parametrizations.weight.original1", ".weight_v"
        ): tensor
        for name, tensor in state.items()
    }


def write_original(folder: Path, model: Any) -> Path:
    """model.pth with coqui's pickled config beside the weights, config.json and vocab.json as published."""
    folder.mkdir(parents=True, exist_ok=True)
    with _saved_as_then():
        torch.save({"config": model.config, "model": old_spelling(model.state_dict())}, folder / "model.pth")
    config = model.config.to_dict()
    # As published: the text tokens are left to the vocabulary, and Infinity stands where JSON has no word.
    config["model_args"] |= {"gpt_start_text_token": None, "gpt_stop_text_token": None}
    config["max_audio_len"] = float("inf")
    (folder / "config.json").write_text(json.dumps(config))
    write_vocabulary(folder / "vocab.json")
    return folder


def write_studio_voices(folder: Path, dim: int, names: tuple[str, ...] = ("Ana Florence", "Damien Black")) -> None:
    voices = {
        name: {"gpt_cond_latent": torch.randn(1, 32, dim), "speaker_embedding": torch.randn(1, 512, 1)}
        for name in names
    }
    torch.save(voices, folder / "speakers_xtts.pth")
