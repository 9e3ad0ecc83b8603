"""An original XTTS-v2 folder into the serving format, without running anything that it contains."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from more_server.errors import ModelError
from more_server.files import staged_folder
from more_server.xtts.checkpoint import fold_weight_norm, is_plain, read_checkpoint, state_dict
from more_server.xtts.config import (
    OUTPUT_SAMPLE_RATE,
    SUPPORTED_FORMAT,
    ConditioningConfig,
    DecoderConfig,
    GptConfig,
    SpeakerEncoderConfig,
    XttsConfig,
    read_config,
)
from more_server.xtts.layout import CONDITIONING_LATENTS, Progress, brief, check_shapes
from more_server.xtts.vocabulary import read_vocabulary, vocabulary_problems

ORIGINAL_FILES = ("model.pth", "config.json", "vocab.json")

SEGMENT_TOKENS = 140
"""About coqui's own limit of 250 English characters (word spaces are tokens too): 17 to 20 s, two thirds of
the 605 codes that a segment may have, so that a slow speaker still ends inside them. Not measured on XTTS-v2."""

# Left by coqui's trainer and by its preparation for inference; none of it belongs to the model.
EXTRAS = re.compile(
    r"(torch_mel_spectrogram_style_encoder|torch_mel_spectrogram_dvae|dvae|gpt\.gpt_inference)\."
    r"|gpt\.gpt\.wte\.weight$|gpt\.gpt\.h\.\d+\.attn\.(bias|masked_bias)$"
)
STORED_TYPES = (torch.float32, torch.float16, torch.bfloat16)


class OriginalArgs(msgspec.Struct, frozen=True):
    """`model_args` of coqui's config.json, as far as they shape the model."""

    gpt_layers: int
    gpt_n_model_channels: int
    gpt_n_heads: int
    gpt_max_text_tokens: int
    gpt_max_audio_tokens: int
    gpt_max_prompt_tokens: int
    gpt_num_audio_tokens: int
    gpt_start_audio_token: int
    gpt_stop_audio_token: int
    gpt_code_stride_len: int
    gpt_use_perceiver_resampler: bool
    input_sample_rate: int
    output_sample_rate: int
    output_hop_length: int
    decoder_input_dim: int
    d_vector_dim: int
    cond_d_vector_in_each_upsampling_layer: bool
    gpt_number_text_tokens: int | None = None
    gpt_start_text_token: int | None = None
    gpt_stop_text_token: int | None = None


class OriginalConfig(msgspec.Struct, frozen=True):
    """coqui's config.json; its hundred other fields are about training."""

    model_args: OriginalArgs
    languages: tuple[str, ...]
    gpt_cond_len: Annotated[int, Meta(gt=0)] = 30
    """Seconds of reference that condition the GPT."""
    gpt_cond_chunk_len: Annotated[int, Meta(gt=0)] = 4
    """Seconds of one chunk of it."""


def convert(
    source: Path,
    target: Path,
    *,
    name: str,
    licence: str,
    licence_address: str = "",
    warning: str = "",
    extras: Mapping[str, bytes] | None = None,
    on_progress: Progress | None = None,
) -> XttsConfig:
    """Write the model of an original folder to `target`, whole or not at all.

    `source` holds coqui's model.pth, config.json and vocab.json, and may hold mel_stats.pth,
    speakers_xtts.pth (studio voices) and dvae.pth (training). Weights keep their type.
    `extras` are further files of the new folder, such as provenance.toml.
    Raises ModelError naming the file and the reason: a missing file, a pickle that holds more than
    data, tensors that are missing, unexpected, of another size or not finite, another vocabulary.
    """
    report = on_progress or (lambda _what, _done, _total: None)
    missing = [file for file in ORIGINAL_FILES if not (source / file).is_file()]
    if missing:
        raise ModelError(f"{source} is not an original XTTS folder: {', '.join(missing)} missing")
    vocabulary = read_vocabulary(source / "vocab.json")
    config = _config(source, vocabulary, name, licence, warning)
    problems = vocabulary_problems(vocabulary, config)
    if problems:
        raise ModelError(f"{source / 'vocab.json'} does not fit {source / 'config.json'}: " + brief(problems))
    tensors = {"model.safetensors": _weights(source, config)}
    if (source / "speakers_xtts.pth").is_file():
        tensors["speakers.safetensors"] = _speakers(source / "speakers_xtts.pth", config)
    if (source / "dvae.pth").is_file():
        tensors["dvae.safetensors"] = _dvae(source / "dvae.pth", config)
    _check_values(tensors, report)
    with staged_folder(target) as stage:
        _write(stage, config, source, tensors, report)
        card = _card(config, tensors["model.safetensors"], licence_address)
        for file, content in {"README.md": card.encode(), **(extras or {})}.items():
            (stage / file).write_bytes(content)
        try:
            return read_config(stage)
        except ModelError as error:
            text = error.message.replace(str(stage), str(target)).replace(stage.name, name)
            raise ModelError(text) from error


def _read_original(path: Path) -> OriginalConfig:
    try:
        # json, not msgspec: coqui writes Infinity, which is not JSON.
        original = msgspec.convert(json.loads(path.read_bytes()), OriginalConfig)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not coqui's config.json of an XTTS model: {error}") from error
    args = original.model_args
    if not args.gpt_use_perceiver_resampler:
        raise ModelError(f"{path} describes XTTS v1 (no perceiver); this server speaks with v2")
    if args.decoder_input_dim != args.gpt_n_model_channels:
        raise ModelError(
            f"{path}: decoder_input_dim {args.decoder_input_dim} differs from gpt_n_model_channels "
            f"{args.gpt_n_model_channels}"
        )
    if args.output_sample_rate != OUTPUT_SAMPLE_RATE:
        raise ModelError(
            f"{path}: output_sample_rate is {args.output_sample_rate}, clients expect {OUTPUT_SAMPLE_RATE}"
        )
    return original


def _config(source: Path, vocabulary: Mapping[str, int], name: str, licence: str, warning: str) -> XttsConfig:
    path = source / "config.json"
    original = _read_original(path)
    args = original.model_args
    config = XttsConfig(
        format=SUPPORTED_FORMAT,
        name=name,
        languages=original.languages,
        licence=licence,
        warning=warning,
        sample_rate=args.input_sample_rate,
        output_sample_rate=args.output_sample_rate,
        max_segment_tokens=min(SEGMENT_TOKENS, args.gpt_max_text_tokens),
        gpt=_gpt(args, vocabulary),
        decoder=_decoder(args),
        # ResNetSpeakerEncoder's defaults, and what coqui's HifiDecoder passes to it.
        speaker_encoder=SpeakerEncoderConfig(
            input_dim=64,
            proj_dim=512,
            layers=(3, 4, 6, 3),
            num_filters=(32, 64, 128, 256),
            sample_rate=16_000,
            fft_size=512,
            win_length=400,
            hop_length=160,
            preemphasis=0.97,
            num_mels=64,
        ),
        # The mel sizes are typed into coqui's Xtts.get_gpt_cond_latents; the published config has 30 s in chunks of 4.
        conditioning=ConditioningConfig(
            n_fft=2048,
            hop_length=256,
            win_length=1024,
            n_mels=80,
            f_min=0.0,
            f_max=8000.0,
            chunk_seconds=float(original.gpt_cond_chunk_len),
            max_seconds=float(max(original.gpt_cond_len, original.gpt_cond_chunk_len)),
        ),
    )
    if config.hop_length != args.output_hop_length:
        raise ModelError(
            f"{path}: output_hop_length is {args.output_hop_length}, XTTS's decoder has {config.hop_length}"
        )
    return config


def _gpt(args: OriginalArgs, vocabulary: Mapping[str, int]) -> GptConfig:
    # coqui leaves the text tokens to the vocabulary: XTTS-v2's config.json says null for start and stop.
    start, stop, count = args.gpt_start_text_token, args.gpt_stop_text_token, args.gpt_number_text_tokens
    return GptConfig(
        layers=args.gpt_layers,
        model_dim=args.gpt_n_model_channels,
        heads=args.gpt_n_heads,
        number_text_tokens=max(vocabulary.values()) + 1 if count is None else count,
        start_text_token=vocabulary.get("[START]", -1) if start is None else start,
        stop_text_token=vocabulary.get("[STOP]", -1) if stop is None else stop,
        max_text_tokens=args.gpt_max_text_tokens,
        num_audio_tokens=args.gpt_num_audio_tokens,
        start_audio_token=args.gpt_start_audio_token,
        stop_audio_token=args.gpt_stop_audio_token,
        max_mel_tokens=args.gpt_max_audio_tokens,
        max_prompt_tokens=args.gpt_max_prompt_tokens,
        code_stride_len=args.gpt_code_stride_len,
    )


def _decoder(args: OriginalArgs) -> DecoderConfig:
    """coqui's HifiDecoder by its defaults, which Xtts cannot change."""
    return DecoderConfig(
        resblock_type="1",
        resblock_kernel_sizes=(3, 7, 11),
        resblock_dilation_sizes=((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        upsample_factors=(8, 8, 2, 2),
        upsample_kernel_sizes=(16, 16, 4, 4),
        upsample_initial_channel=512,
        cond_channels=args.d_vector_dim,
        cond_in_each_up_layer=args.cond_d_vector_in_each_upsampling_layer,
    )


def _weights(source: Path, config: XttsConfig) -> dict[str, Tensor]:
    path = source / "model.pth"
    found: dict[str, Tensor] = {}
    for full_name, tensor in state_dict(path).items():
        name = full_name.removeprefix("xtts.")
        if name in found:
            raise ModelError(f"{path} holds {name} twice, with and without coqui's trainer prefix xtts.")
        found[name] = tensor
    found = fold_weight_norm({name: tensor for name, tensor in found.items() if not EXTRAS.match(name)}, path)
    if "mel_stats" not in found and (source / "mel_stats.pth").is_file():
        found["mel_stats"] = _tensor(read_checkpoint(source / "mel_stats.pth"), source / "mel_stats.pth")
    problems = check_shapes({name: tuple(tensor.shape) for name, tensor in found.items()}, config)
    if problems:
        raise ModelError(f"{path} does not fit {source / 'config.json'}: {brief(problems)}")
    return found


def _tensor(value: Any, path: Path) -> Tensor:
    if not isinstance(value, Tensor) or not is_plain(value):
        raise ModelError(f"{path} holds no tensor")
    return value.detach()


def _speakers(path: Path, config: XttsConfig) -> dict[str, Tensor]:
    voices = read_checkpoint(path)
    shapes = {
        "conditioning": ("gpt_cond_latent", (CONDITIONING_LATENTS, config.gpt.model_dim)),
        "speaker_embedding": ("speaker_embedding", (config.decoder.cond_channels,)),
    }
    tensors = {}
    for voice, parts in voices.items() if isinstance(voices, Mapping) else ():
        for part, (original, shape) in shapes.items():
            value = parts.get(original) if isinstance(parts, Mapping) else None
            if not isinstance(value, Tensor) or not is_plain(value) or tuple(value.squeeze().shape) != shape:
                raise ModelError(f"{path}: {original} of voice {voice!r} is not {list(shape)}")
            tensors[f"{voice}/{part}"] = value.detach().squeeze()
    if not tensors:
        raise ModelError(f"{path} holds no voices")
    return tensors


def _dvae(path: Path, config: XttsConfig) -> dict[str, Tensor]:
    tensors = state_dict(path)
    # Its codes are the model's audio tokens, less start and stop.
    codes = config.gpt.num_audio_tokens - 2
    codebook = tensors.get("codebook.embed")
    if codebook is None or codebook.dim() != 2 or codebook.shape[1] != codes:
        raise ModelError(f"{path} is not a DVAE of {codes} codes")
    return tensors


def _check_values(files: Mapping[str, Mapping[str, Tensor]], report: Progress) -> None:
    """Every value finite and of a type that is served; this reads the mapped files."""
    total = sum(tensor.nbytes for tensors in files.values() for tensor in tensors.values())
    done = 0
    for file, tensors in files.items():
        for name, tensor in tensors.items():
            report("checking the weights", done, total)
            if tensor.is_floating_point() and tensor.dtype not in STORED_TYPES:
                raise ModelError(f"{name} for {file} has type {tensor.dtype}; fp32, fp16 and bf16 are served")
            if not tensor.isfinite().all():
                raise ModelError(f"{name} for {file} holds values that are not finite (NaN or infinity)")
            done += tensor.nbytes
    report("checking the weights", total, total)


def _write(
    stage: Path, config: XttsConfig, source: Path, files: Mapping[str, Mapping[str, Tensor]], report: Progress
) -> None:
    (stage / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config)))
    shutil.copyfile(source / "vocab.json", stage / "vocab.json")
    if (source / "LICENSE.txt").is_file():
        shutil.copyfile(source / "LICENSE.txt", stage / "LICENSE.txt")
    for file, tensors in files.items():
        total = sum(tensor.nbytes for tensor in tensors.values())
        report(f"writing {file}", 0, total)
        try:
            save_file(_separate(tensors), stage / file)
            # safetensors makes files that only their owner can read; the server may be another user.
            (stage / file).chmod((stage / "config.json").stat().st_mode)
        except SafetensorError as error:
            raise ModelError(f"{file} cannot be written: {error}") from error
        report(f"writing {file}", total, total)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no storage, as safetensors demands; those of a mapped file are not copied."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        alone = storage.nbytes() == tensor.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        separate[name] = tensor.contiguous() if alone else tensor.clone(memory_format=torch.contiguous_format)
    return separate


def _card(config: XttsConfig, weights: Mapping[str, Tensor], licence_address: str) -> str:
    millions = sum(tensor.numel() for tensor in weights.values()) / 1e6
    return f"""# {config.name}

An XTTS model of {millions:.0f} million values, converted from coqui's original checkpoint.

- Licence: {config.licence}{f" ({licence_address})" if licence_address else ""}
- Languages: {", ".join(config.languages)}
"""
