"""Coqui's own XTTS on the weights of a folder in our serving format: the reference of these tests."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from more_server.xtts import torchaudio_shim
from more_server.xtts.config import XttsConfig, read_config
from more_server.xtts.load import build, fold_weight_norm


def coqui_xtts(folder: Path) -> Any:
    """A coqui `Xtts` whose methods run as upstream wrote them, with modules of this model's sizes."""
    torchaudio_shim.install()
    from TTS.tts.configs.xtts_config import XttsArgs
    from TTS.tts.configs.xtts_config import XttsConfig as CoquiConfig
    from TTS.tts.models.xtts import Xtts

    config = read_config(folder)
    state = load_file(folder / "model.safetensors")
    arguments = XttsArgs(
        gpt_use_perceiver_resampler=True,
        gpt_max_text_tokens=config.gpt.max_text_tokens,
        input_sample_rate=config.sample_rate,
    )
    model = Xtts(CoquiConfig(model_args=arguments))
    model.gpt = _gpt(config)
    model.hifigan_decoder = _decoder(config)
    model.mel_stats = state.pop("mel_stats")
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"mel_stats", "gpt.text_head.weight", "gpt.text_head.bias", "gpt.gpt.wte.weight"}, missing
    model.float().eval()
    return model


def _gpt(config: XttsConfig) -> torch.nn.Module:
    from TTS.tts.layers.xtts.gpt import GPT

    sizes = config.gpt
    return GPT(
        layers=sizes.layers,
        model_dim=sizes.model_dim,
        heads=sizes.heads,
        start_text_token=sizes.start_text_token,
        stop_text_token=sizes.stop_text_token,
        max_text_tokens=sizes.max_text_tokens,
        max_mel_tokens=sizes.max_mel_tokens,
        max_prompt_tokens=sizes.max_prompt_tokens,
        number_text_tokens=sizes.number_text_tokens,
        num_audio_tokens=sizes.num_audio_tokens,
        start_audio_token=sizes.start_audio_token,
        stop_audio_token=sizes.stop_audio_token,
        use_perceiver_resampler=True,
        code_stride_len=sizes.code_stride_len,
    )


def _decoder(config: XttsConfig) -> torch.nn.Module:
    from TTS.tts.layers.xtts.hifigan_decoder import HifiDecoder

    sizes = config.decoder
    decoder = HifiDecoder(
        input_sample_rate=config.sample_rate,
        output_sample_rate=config.output_sample_rate,
        output_hop_length=config.hop_length,
        ar_mel_length_compression=config.gpt.code_stride_len,
        decoder_input_dim=config.gpt.model_dim,
        d_vector_dim=sizes.cond_channels,
        resblock_type_decoder=sizes.resblock_type,
        resblock_dilation_sizes_decoder=sizes.resblock_dilation_sizes,
        resblock_kernel_sizes_decoder=sizes.resblock_kernel_sizes,
        upsample_rates_decoder=sizes.upsample_factors,
        upsample_initial_channel_decoder=sizes.upsample_initial_channel,
        upsample_kernel_sizes_decoder=sizes.upsample_kernel_sizes,
        cond_d_vector_in_each_upsampling_layer=sizes.cond_in_each_up_layer,
    )
    # Coqui's class cannot be told the speaker encoder's sizes.
    decoder.speaker_encoder = build(config).speaker_encoder
    fold_weight_norm(decoder)
    return decoder
