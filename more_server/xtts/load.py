"""A model folder in the serving format, loaded; the one place that imports coqui."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from more_server.errors import ModelError
from more_server.xtts import torchaudio_shim
from more_server.xtts.conditioning import Conditioner
from more_server.xtts.config import XttsConfig, read_config
from more_server.xtts.decoder import Decoder
from more_server.xtts.gpt import Gpt
from more_server.xtts.layout import GENERATOR, SPEAKER_ENCODER
from more_server.xtts.precision import choose, to_int8
from more_server.xtts.tokenizer import Tokenizer
from more_server.xtts.vocabulary import check_vocabulary

CONDITIONING_ENCODER = "gpt.conditioning_encoder."
PERCEIVER = "gpt.conditioning_perceiver."


@dataclass(frozen=True)
class Xtts:
    """A loaded model; stateless, so it may be shared."""

    config: XttsConfig
    tokenizer: Tokenizer
    gpt: Gpt
    decoder: Decoder
    conditioner: Conditioner
    device: torch.device
    dtype: torch.dtype
    """Of the activations and the key-value cache."""
    precision: str
    """`fp32` or `int8`."""


def load(folder: Path, device: torch.device, precision: str = "fp32") -> Xtts:
    """Load a model folder. precision: `fp32`, `int8`, or `auto` for what suits the device and the model's size.

    Raises ModelError with the file and the reason, SettingsError for a precision that the device lacks.
    """
    dtype = torch.float32
    config = read_config(folder)
    check_vocabulary(folder / "vocab.json", config)
    state = _read_weights(folder)
    # The GPT is built without memory of its own: 1.8 GB of random numbers for XTTS-v2, only to be overwritten.
    parts = build(config, gpt_device="meta")
    with torch.no_grad():
        _fill(folder, parts.gpt, parts.gpt.from_coqui(state), "gpt", assign=True)
        for prefix, module in parts.by_prefix().items():
            _fill(folder, module, _under(state, prefix), prefix.rstrip("."))
    mel_stats = state.get("mel_stats")
    if mel_stats is None or mel_stats.shape != (config.conditioning.n_mels,):
        raise ModelError(
            f"model {folder.name}: model.safetensors lacks mel_stats of {config.conditioning.n_mels} bands"
        )
    for module in (parts.gpt, parts.mel, *parts.by_prefix().values()):
        module.to(device=device, dtype=dtype).eval().requires_grad_(False)
    parameters = sum(parameter.numel() for parameter in parts.gpt.parameters())
    precision = choose(precision, device, parameters)
    if precision == "int8":
        to_int8(parts.gpt, parts.generator)
    return Xtts(
        config=config,
        tokenizer=Tokenizer(folder / "vocab.json"),
        gpt=parts.gpt,
        decoder=Decoder(parts.generator, config),
        conditioner=Conditioner(
            config,
            parts.conditioning_encoder,
            parts.perceiver,
            parts.speaker_encoder,
            parts.mel,
            # A copy: a single tensor of the file keeps all of it mapped, 1.9 GB of resident pages for XTTS-v2.
            mel_stats.to(device=device, dtype=dtype, copy=True),
        ),
        device=device,
        dtype=dtype,
        precision=precision,
    )


@dataclass(frozen=True)
class Parts:
    """The modules of a model with fresh weights, sized by its config; weight norm already folded."""

    gpt: Gpt
    generator: nn.Module
    speaker_encoder: nn.Module
    conditioning_encoder: nn.Module
    perceiver: nn.Module
    mel: nn.Module

    def by_prefix(self) -> dict[str, nn.Module]:
        """The modules that keep coqui's own names, by the prefix of their keys."""
        return {
            GENERATOR: self.generator,
            SPEAKER_ENCODER: self.speaker_encoder,
            CONDITIONING_ENCODER: self.conditioning_encoder,
            PERCEIVER: self.perceiver,
        }


def build(config: XttsConfig, gpt_device: str = "cpu") -> Parts:
    """Modules for a config. Imports coqui: two to three seconds the first time."""
    torchaudio_shim.install()
    from torchaudio.transforms import MelSpectrogram
    from TTS.tts.layers.tortoise.autoregressive import ConditioningEncoder
    from TTS.tts.layers.xtts.perceiver_encoder import PerceiverResampler

    gpt, conditioning = config.gpt, config.conditioning
    with torch.device(gpt_device):
        own_gpt = Gpt(gpt)
    return Parts(
        gpt=own_gpt,
        generator=_generator(config),
        speaker_encoder=_speaker_encoder(config),
        conditioning_encoder=ConditioningEncoder(conditioning.n_mels, gpt.model_dim, num_attn_heads=gpt.heads),
        # Depth, latents and heads are fixed in coqui's GPT (layers/xtts/gpt.py), not in any config.
        perceiver=PerceiverResampler(
            dim=gpt.model_dim, depth=2, dim_context=gpt.model_dim, num_latents=32, dim_head=64, heads=8, ff_mult=4
        ),
        mel=MelSpectrogram(
            n_fft=conditioning.n_fft,
            hop_length=conditioning.hop_length,
            win_length=conditioning.win_length,
            power=2,
            normalized=False,
            sample_rate=config.sample_rate,
            f_min=conditioning.f_min,
            f_max=conditioning.f_max,
            n_mels=conditioning.n_mels,
            norm="slaney",
        ),
    )


def _generator(config: XttsConfig) -> nn.Module:
    from TTS.vocoder.models.hifigan_generator import HifiganGenerator

    decoder = config.decoder
    generator: nn.Module = HifiganGenerator(
        config.gpt.model_dim,
        1,
        decoder.resblock_type,
        decoder.resblock_dilation_sizes,
        decoder.resblock_kernel_sizes,
        decoder.upsample_kernel_sizes,
        decoder.upsample_initial_channel,
        decoder.upsample_factors,
        inference_padding=0,
        cond_channels=decoder.cond_channels,
        conv_pre_weight_norm=False,
        conv_post_weight_norm=False,
        conv_post_bias=False,
        cond_in_each_up_layer=decoder.cond_in_each_up_layer,
    )
    fold_weight_norm(generator)
    return generator


def _speaker_encoder(config: XttsConfig) -> nn.Module:
    from TTS.encoder.models.resnet import ResNetSpeakerEncoder

    encoder = config.speaker_encoder
    module: nn.Module = ResNetSpeakerEncoder(
        input_dim=encoder.input_dim,
        proj_dim=encoder.proj_dim,
        layers=list(encoder.layers),
        num_filters=list(encoder.num_filters),
        log_input=True,
        use_torch_spec=True,
        audio_config={
            "fft_size": encoder.fft_size,
            "win_length": encoder.win_length,
            "hop_length": encoder.hop_length,
            "sample_rate": encoder.sample_rate,
            "preemphasis": encoder.preemphasis,
            "num_mels": encoder.num_mels,
        },
    )
    return module


def fold_weight_norm(module: nn.Module) -> None:
    """Fold weight norm wherever it stands; coqui's own `remove_weight_norm` fails on this decoder,
    whose conv_pre has none."""
    from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

    for part in module.modules():
        if is_parametrized(part, "weight"):
            remove_parametrizations(part, "weight")


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / "model.safetensors"
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ModelError(f"model {folder.name}: {path} is missing") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"model {folder.name}: {path} cannot be read: {error}") from error


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _fill(folder: Path, module: nn.Module, weights: Mapping[str, Tensor], part: str, *, assign: bool = False) -> None:
    """Load weights strictly, with the first misfits in words; `assign` makes them the module's own."""
    own: dict[str, Any] = module.state_dict()
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} does not belong there" for name in weights if name not in own]
    problems += [
        f"{name} has shape {tuple(weights[name].shape)}, config.json means {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    problems += [f"{name} holds values that are not finite" for name in _not_finite(weights)] if not problems else []
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ModelError(
            f"model {folder.name}: {part} of model.safetensors does not fit: " + "; ".join(problems[:3]) + more
        )
    module.load_state_dict(dict(weights), assign=assign)


def _not_finite(weights: Mapping[str, Tensor]) -> Iterable[str]:
    return (name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all())
