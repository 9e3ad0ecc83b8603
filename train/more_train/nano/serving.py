"""What the recipe's settings mean in the serving format: config.json, and the modules that serve."""

from more_server.xtts.config import (
    ConditioningConfig,
    DecoderConfig,
    GptConfig,
    SpeakerEncoderConfig,
    XttsConfig,
)
from more_server.xtts.layout import CONDITIONING_LATENTS
from more_train import rates
from more_train.nano.config import Nano
from more_train.nano.speech import CODE_SAMPLES
from more_train.nano.tokenizer import START, STOP, vocabulary

LICENCE = "Apache-2.0"
SPARE_TOKENS = 10
"""Of text beyond the longest segment: the server counts once more after it has joined a short tail."""
SPARE_PROMPT = 8


def xtts_config(nano: Nano) -> XttsConfig:
    """config.json of the model."""
    speaker, decoder, gpt = nano.speaker, nano.decoder, nano.gpt
    segment = nano.corpus.max_characters + 1
    return XttsConfig(
        format=1,
        name=nano.name,
        languages=nano.languages,
        licence=LICENCE,
        sample_rate=rates.MEL,
        output_sample_rate=rates.STORED,
        max_segment_tokens=segment,
        gpt=GptConfig(
            layers=gpt.layers,
            model_dim=gpt.width,
            heads=gpt.heads,
            number_text_tokens=len(vocabulary(nano.languages)),
            start_text_token=START,
            stop_text_token=STOP,
            max_text_tokens=segment + SPARE_TOKENS,
            num_audio_tokens=nano.dvae.codes + 2,
            start_audio_token=nano.dvae.codes,
            stop_audio_token=nano.dvae.codes + 1,
            max_mel_tokens=gpt.max_codes,
            max_prompt_tokens=CONDITIONING_LATENTS + SPARE_PROMPT,
            code_stride_len=CODE_SAMPLES,
        ),
        decoder=DecoderConfig(
            resblock_type=decoder.resblock,
            resblock_kernel_sizes=decoder.kernels,
            resblock_dilation_sizes=decoder.dilations,
            upsample_factors=decoder.factors,
            upsample_kernel_sizes=decoder.factor_kernels,
            upsample_initial_channel=decoder.channels,
            cond_channels=speaker.width,
            cond_in_each_up_layer=True,
        ),
        speaker_encoder=SpeakerEncoderConfig(
            input_dim=64,
            proj_dim=speaker.width,
            layers=(1, 1, 1, 1),
            num_filters=speaker.filters,
            sample_rate=rates.SPEAKER,
            fft_size=512,
            win_length=400,
            hop_length=160,
            preemphasis=0.97,
            num_mels=64,
        ),
        conditioning=ConditioningConfig(
            n_fft=1024,
            hop_length=256,
            win_length=1024,
            n_mels=80,
            f_min=0.0,
            f_max=8000.0,
            chunk_seconds=gpt.reference_seconds,
        ),
    )
