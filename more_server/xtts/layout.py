"""The serving format on disk: which tensors a config means, and what a safetensors file holds. No torch."""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from more_server.errors import ModelError
from more_server.xtts.config import DecoderConfig, GptConfig, SpeakerEncoderConfig, XttsConfig

MODEL_FILES = ("config.json", "vocab.json", "model.safetensors")
"""What every model folder holds."""
OPTIONAL_FILES = ("dvae.safetensors", "speakers.safetensors", "README.md", "LICENSE.txt", "provenance.toml")

GENERATOR = "hifigan_decoder.waveform_decoder."
SPEAKER_ENCODER = "hifigan_decoder.speaker_encoder."

# Fixed in coqui's GPT (layers/xtts/gpt.py and autoregressive.py), not in any config.
CONDITIONING_BLOCKS = 6
CONDITIONING_LATENTS = 32
PERCEIVER_DEPTH = 2
PERCEIVER_WIDTH = 8 * 64
ATTENTION_CHANNELS = 128
SQUEEZE = 8

# A header of nano is 40 kB, of XTTS-v2 130 kB; a length beyond this is not a safetensors file.
MOST_HEADER_BYTES = 20_000_000
BYTES_OF = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

Shape = tuple[int, ...]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the bytes done, and the bytes in all (0: not known)."""


class TensorInfo(msgspec.Struct, frozen=True):
    """One tensor as the header names it."""

    dtype: str
    """safetensors' own name: F32, F16, BF16, I64 …"""
    shape: Shape


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Names, types and shapes of a safetensors file, without its data; a cut-off file is noticed.

    Raises ModelError naming the file and the reason.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MOST_HEADER_BYTES, size - 8):
                raise ModelError(f"{path} is not a complete safetensors file")
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        header, end = _parse(entries)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} has a broken safetensors header: {error!r}") from error
    if size != 8 + length + end:
        raise ModelError(f"{path} has {size} bytes, its header means {8 + length + end}; it was cut off")
    return header


def _parse(entries: dict[str, dict[str, object]]) -> tuple[dict[str, TensorInfo], int]:
    header, end = {}, 0
    for name, entry in entries.items():
        begin, stop = msgspec.convert(entry["data_offsets"], tuple[int, int])
        info = msgspec.convert({"dtype": entry["dtype"], "shape": entry["shape"]}, TensorInfo)
        if stop - begin != math.prod(info.shape) * BYTES_OF[info.dtype]:
            raise ValueError(f"{name} has offsets {begin}, {stop} that do not fit its shape")
        header[name], end = info, max(end, stop)
    return header, end


def check_shapes(found: Mapping[str, Shape], config: XttsConfig) -> list[str]:
    """Every tensor that is missing, unexpected or of another size than the config means, in words."""
    expected = expected_shapes(config)
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unexpected" for name in found if name not in expected]
    problems += [
        f"{name} has shape {list(found[name])}, config.json means {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != shape
    ]
    return problems


def brief(problems: list[str], most: int = 4) -> str:
    """The first problems in one line, and how many more there are."""
    rest = len(problems) - most
    return "; ".join(problems[:most]) + (f"; and {rest} more" if rest > 0 else "")


def expected_shapes(config: XttsConfig) -> dict[str, Shape]:
    """Every tensor of model.safetensors by its name in coqui's `Xtts`, weight norm folded."""
    shapes: dict[str, Shape] = {"mel_stats": (config.conditioning.n_mels,)}
    shapes.update(_gpt(config.gpt))
    shapes.update(_conditioning(config.gpt.model_dim, config.conditioning.n_mels))
    shapes.update((GENERATOR + name, shape) for name, shape in _generator(config.decoder, config.gpt.model_dim))
    shapes.update((SPEAKER_ENCODER + name, shape) for name, shape in _speaker_encoder(config.speaker_encoder))
    return shapes


def _affine(name: str, *shape: int, bias: int = 0) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", (bias or shape[0],)


def _gpt(gpt: GptConfig) -> Iterator[tuple[str, Shape]]:
    dim = gpt.model_dim
    yield "gpt.text_embedding.weight", (gpt.number_text_tokens, dim)
    yield "gpt.mel_embedding.weight", (gpt.num_audio_tokens, dim)
    # coqui's GPT adds room for start and stop, and for one conditioning input before the codes.
    yield "gpt.text_pos_embedding.emb.weight", (gpt.max_text_tokens + 2, dim)
    yield "gpt.mel_pos_embedding.emb.weight", (gpt.max_mel_tokens + 3, dim)
    yield from _affine("gpt.text_head", gpt.number_text_tokens, dim)
    yield from _affine("gpt.mel_head", gpt.num_audio_tokens, dim)
    for norm in ("gpt.final_norm", "gpt.gpt.ln_f"):
        yield from _affine(norm, dim)
    for layer in range(gpt.layers):
        block = f"gpt.gpt.h.{layer}"
        yield from _affine(f"{block}.ln_1", dim)
        yield from _affine(f"{block}.ln_2", dim)
        # GPT-2's Conv1D keeps (in, out).
        yield from _affine(f"{block}.attn.c_attn", dim, 3 * dim, bias=3 * dim)
        yield from _affine(f"{block}.attn.c_proj", dim, dim)
        yield from _affine(f"{block}.mlp.c_fc", dim, 4 * dim, bias=4 * dim)
        yield from _affine(f"{block}.mlp.c_proj", 4 * dim, dim, bias=dim)


def _conditioning(dim: int, n_mels: int) -> Iterator[tuple[str, Shape]]:
    yield from _affine("gpt.conditioning_encoder.init", dim, n_mels, 1)
    for block in range(CONDITIONING_BLOCKS):
        name = f"gpt.conditioning_encoder.attn.{block}"
        yield from _affine(f"{name}.norm", dim)
        yield from _affine(f"{name}.qkv", 3 * dim, dim, 1)
        yield from _affine(f"{name}.proj_out", dim, dim, 1)
    yield "gpt.conditioning_perceiver.latents", (CONDITIONING_LATENTS, dim)
    yield "gpt.conditioning_perceiver.norm.gamma", (dim,)
    inner = int(dim * 4 * 2 / 3)
    for layer in range(PERCEIVER_DEPTH):
        name = f"gpt.conditioning_perceiver.layers.{layer}"
        yield f"{name}.0.to_q.weight", (PERCEIVER_WIDTH, dim)
        yield f"{name}.0.to_kv.weight", (2 * PERCEIVER_WIDTH, dim)
        yield f"{name}.0.to_out.weight", (dim, PERCEIVER_WIDTH)
        yield from _affine(f"{name}.1.0", 2 * inner, dim)
        yield from _affine(f"{name}.1.2", dim, inner)


def _generator(decoder: DecoderConfig, dim: int) -> Iterator[tuple[str, Shape]]:
    first, cond, kernels = decoder.upsample_initial_channel, decoder.cond_channels, decoder.resblock_kernel_sizes
    yield from _affine("conv_pre", first, dim, 7)
    yield from _affine("cond_layer", first, cond, 1)
    for stage, width in enumerate(decoder.upsample_kernel_sizes):
        before, channels = first >> stage, first >> (stage + 1)
        # A transposed convolution keeps (in, out, kernel).
        yield from _affine(f"ups.{stage}", before, channels, width, bias=channels)
        if decoder.cond_in_each_up_layer:
            yield from _affine(f"conds.{stage}", channels, cond, 1)
        blocks = zip(kernels, decoder.resblock_dilation_sizes, strict=False)
        for number, (kernel, dilations) in enumerate(blocks, stage * len(kernels)):
            for part in ("convs1", "convs2") if decoder.resblock_type == "1" else ("convs",):
                for index in range(len(dilations)):
                    yield from _affine(f"resblocks.{number}.{part}.{index}", channels, channels, kernel)
    yield "conv_post.weight", (1, first >> len(decoder.upsample_factors), 7)


def _speaker_encoder(encoder: SpeakerEncoderConfig) -> Iterator[tuple[str, Shape]]:
    filters = encoder.num_filters
    yield from _affine("conv1", filters[0], 1, 3, 3)
    yield from _batch_norm("bn1", filters[0])
    for number, (count, channels) in enumerate(zip(encoder.layers, filters, strict=False), 1):
        for index in range(count):
            name, before = f"layer{number}.{index}", channels if index or number == 1 else filters[number - 2]
            yield f"{name}.conv1.weight", (channels, before, 3, 3)
            yield f"{name}.conv2.weight", (channels, channels, 3, 3)
            yield from _batch_norm(f"{name}.bn1", channels)
            yield from _batch_norm(f"{name}.bn2", channels)
            yield from _affine(f"{name}.se.fc.0", channels // SQUEEZE, channels)
            yield from _affine(f"{name}.se.fc.2", channels, channels // SQUEEZE)
            if number > 1 and index == 0:
                yield f"{name}.downsample.0.weight", (channels, before, 1, 1)
                yield from _batch_norm(f"{name}.downsample.1", channels)
    width = filters[-1] * (encoder.input_dim // 8)
    yield from _affine("attention.0", ATTENTION_CHANNELS, width, 1)
    yield from _batch_norm("attention.2", ATTENTION_CHANNELS)
    yield from _affine("attention.3", width, ATTENTION_CHANNELS, 1)
    yield from _affine("fc", encoder.proj_dim, 2 * width)
    yield "torch_spec.0.filter", (1, 1, 2)
    yield "torch_spec.1.spectrogram.window", (encoder.win_length,)
    yield "torch_spec.1.mel_scale.fb", (encoder.fft_size // 2 + 1, encoder.num_mels)


def _batch_norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield from _affine(name, channels)
    yield f"{name}.running_mean", (channels,)
    yield f"{name}.running_var", (channels,)
    yield f"{name}.num_batches_tracked", ()
