"""A model folder in the serving format, loaded; the one place that imports coqui."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from more_server.errors import ModelError
from more_server.xtts import torchaudio_shim
from more_server.xtts.conditioning import Conditioner
from more_server.xtts.config import XttsConfig, read_config
from more_server.xtts.decoder import Decoder
from more_server.xtts.gpt import Gpt, cache_bytes, coqui_name
from more_server.xtts.kernel import Int8Gpt
from more_server.xtts.layout import GENERATOR, SPEAKER_ENCODER
from more_server.xtts.passes import KernelPasses, Passes, RowPasses, SlotPasses
from more_server.xtts.precision import choose, decoder_dtype, fill_gpt
from more_server.xtts.tokenizer import Tokenizer
from more_server.xtts.vocabulary import check_vocabulary
from more_server.xtts.weights import Weights

CONDITIONING_ENCODER = "gpt.conditioning_encoder."
PERCEIVER = "gpt.conditioning_perceiver."


@dataclass(frozen=True)
class Xtts:
    """A loaded model; stateless, so it may be shared."""

    config: XttsConfig
    tokenizer: Tokenizer
    gpt: Gpt
    """Its blocks are empty where the compiled kernel has them."""
    decoder: Decoder
    conditioner: Conditioner
    device: torch.device
    precision: str
    """`fp32`, `bf16` or `int8`."""
    kernel: Int8Gpt | None
    """The blocks, compiled, of a model in int8 where the CPU has what that needs."""

    @property
    def cache_dtype(self) -> torch.dtype:
        """Of keys and values."""
        if self.kernel is not None:
            return torch.float16
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def slot_bytes(self) -> int:
        """Of what is kept of one sequence at its longest."""
        return cache_bytes(self.config.gpt, self.cache_dtype) + 4 * self.gpt.most_codes * self.config.gpt.model_dim

    def passes(self, slots: int) -> Passes:
        """Its way through the GPT, with a cache of so many slots and one behind them that is nobody's."""
        if self.kernel is not None:
            return KernelPasses(self.gpt, self.kernel, slots)
        if self.device.type == "cuda" or self.precision == "bf16":
            return SlotPasses(self.gpt, slots, prompts=4 if self.device.type == "cuda" else 1)
        return RowPasses(self.gpt, slots, together=self.precision == "int8")


def load(folder: Path, device: torch.device, precision: str = "fp32") -> Xtts:
    """Load a model folder. precision: `fp32`, `bf16`, `int8`, or `auto` for what suits the device and the model's size.

    Raises ModelError with the file and the reason, SettingsError for a precision that the device lacks.
    """
    config = read_config(folder)
    check_vocabulary(folder / "vocab.json", config)
    weights = Weights(folder)
    # The GPT is built without memory of its own: 1.8 GB of random numbers for XTTS-v2, only to be overwritten.
    parts = build(config, gpt_device="meta")
    precision = choose(precision, device, sum(parameter.numel() for parameter in parts.gpt.parameters()))
    weights.refuse("gpt", weights.misfits(parts.gpt.file_shapes(), coqui_name))
    if weights.shapes.get("mel_stats") != (config.conditioning.n_mels,):
        raise ModelError(
            f"model {folder.name}: model.safetensors lacks mel_stats of {config.conditioning.n_mels} bands"
        )
    with torch.no_grad():
        for prefix, module in parts.by_prefix().items():
            weights.fill(module, prefix)
        for module in (parts.mel, *parts.by_prefix().values()):
            module.to(device=device).eval().requires_grad_(False)
        kernel = fill_gpt(parts.gpt, weights, device, precision)
    parts.generator.to(decoder_dtype(precision, device))
    return Xtts(
        config=config,
        tokenizer=Tokenizer(folder / "vocab.json"),
        gpt=parts.gpt,
        decoder=Decoder(parts.generator, config, window_batch(device)),
        conditioner=Conditioner(
            config,
            parts.conditioning_encoder,
            parts.perceiver,
            parts.speaker_encoder,
            parts.mel,
            weights.read(["mel_stats"])["mel_stats"].to(device),
        ),
        device=device,
        precision=precision,
        kernel=kernel,
    )


def window_batch(device: torch.device) -> int:
    """Windows of audio that are decoded together: a GPU's eight take hardly longer than one, a CPU is busy with one."""
    return 8 if device.type == "cuda" else 1


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
