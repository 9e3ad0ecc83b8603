"""config.json of a model in the serving format: every size of every part, and nothing typed elsewhere."""

from pathlib import Path

import msgspec

from more_server.errors import ModelError

OUTPUT_SAMPLE_RATE = 24_000
"""Hertz. OpenAI's clients play `pcm` at this rate without asking (openai.helpers.LocalAudioPlayer)."""


class GptConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The autoregressive model: text tokens in, audio codes out."""

    layers: int
    model_dim: int
    heads: int
    number_text_tokens: int
    start_text_token: int
    stop_text_token: int
    max_text_tokens: int
    """Longest text in tokens, the language token included, start and stop not."""
    num_audio_tokens: int
    """Codes plus start and stop."""
    start_audio_token: int
    stop_audio_token: int
    max_mel_tokens: int
    """Most codes of one segment."""
    max_prompt_tokens: int
    code_stride_len: int
    """Samples at `sample_rate` that one code stands for."""


class DecoderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HiFi-GAN generator that turns latents into audio."""

    resblock_type: str
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    upsample_factors: tuple[int, ...]
    """Their product is the hop: samples per frame."""
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    cond_channels: int
    """Width of the speaker embedding."""
    cond_in_each_up_layer: bool


class SpeakerEncoderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The H/ASP ResNet that maps audio to a speaker embedding."""

    input_dim: int
    proj_dim: int
    layers: tuple[int, ...]
    num_filters: tuple[int, ...]
    sample_rate: int
    """Hertz."""
    fft_size: int
    win_length: int
    hop_length: int
    preemphasis: float
    num_mels: int


class ConditioningConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mel spectrograms of the reference, and how much of it is used."""

    n_fft: int
    hop_length: int
    win_length: int
    n_mels: int
    f_min: float
    f_max: float
    chunk_seconds: float
    """The reference is encoded in chunks of this length and the latents averaged."""
    max_seconds: float = 30.0
    """Reference audio used for the conditioning latents."""


class XttsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model. `format` is raised when an older file could no longer be read."""

    format: int
    name: str
    languages: tuple[str, ...]
    licence: str
    sample_rate: int
    """Hertz of the mels and codes."""
    output_sample_rate: int
    """Hertz of the audio."""
    max_segment_tokens: int
    """Longest segment in text tokens that the model speaks well, at most `gpt.max_text_tokens`."""
    gpt: GptConfig
    decoder: DecoderConfig
    speaker_encoder: SpeakerEncoderConfig
    conditioning: ConditioningConfig
    warning: str = ""
    """Shown at start and wherever the model is listed, such as that its weights are random."""

    @property
    def hop_length(self) -> int:
        """Output samples per decoder frame."""
        hop = 1
        for factor in self.decoder.upsample_factors:
            hop *= factor
        return hop

    @property
    def seconds_per_code(self) -> float:
        return self.gpt.code_stride_len / self.sample_rate


SUPPORTED_FORMAT = 1


def read_config(folder: Path) -> XttsConfig:
    """Read and check `config.json` of a model folder.

    Raises ModelError with the file, the field and the reason.
    """
    path = folder / "config.json"
    try:
        config = msgspec.json.decode(path.read_bytes(), type=XttsConfig)
    except OSError as error:
        raise ModelError(f"model {folder.name}: {path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"model {folder.name}: {path} does not fit: {error}") from error
    problems = list(_problems(config))
    if problems:
        raise ModelError(f"model {folder.name}: {path} does not fit: " + "; ".join(problems))
    return config


def _problems(config: XttsConfig) -> list[str]:
    gpt, decoder = config.gpt, config.decoder
    checks = {
        f"format is {config.format}, this server reads {SUPPORTED_FORMAT}": config.format == SUPPORTED_FORMAT,
        f"output_sample_rate is {config.output_sample_rate}, clients expect {OUTPUT_SAMPLE_RATE}": (
            config.output_sample_rate == OUTPUT_SAMPLE_RATE
        ),
        f"gpt.model_dim {gpt.model_dim} is not a multiple of gpt.heads {gpt.heads}": gpt.model_dim % gpt.heads == 0,
        "gpt.start_audio_token and gpt.stop_audio_token must differ and lie below gpt.num_audio_tokens": (
            gpt.start_audio_token != gpt.stop_audio_token
            and max(gpt.start_audio_token, gpt.stop_audio_token) < gpt.num_audio_tokens
        ),
        "gpt.start_text_token and gpt.stop_text_token must lie below gpt.number_text_tokens": (
            max(gpt.start_text_token, gpt.stop_text_token) < gpt.number_text_tokens
        ),
        f"gpt.code_stride_len {gpt.code_stride_len} is not a multiple of the decoder's hop {config.hop_length}": (
            gpt.code_stride_len % config.hop_length == 0
        ),
        "decoder.upsample_factors and decoder.upsample_kernel_sizes differ in length": (
            len(decoder.upsample_factors) == len(decoder.upsample_kernel_sizes)
        ),
        f"max_segment_tokens {config.max_segment_tokens} is not between 4 and gpt.max_text_tokens "
        f"{gpt.max_text_tokens}": 4 <= config.max_segment_tokens <= gpt.max_text_tokens,
        "languages is empty": bool(config.languages),
        f"decoder.cond_channels {decoder.cond_channels} differs from speaker_encoder.proj_dim "
        f"{config.speaker_encoder.proj_dim}": decoder.cond_channels == config.speaker_encoder.proj_dim,
    }
    return [problem for problem, holds in checks.items() if not holds]
