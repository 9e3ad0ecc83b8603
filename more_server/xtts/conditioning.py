"""Reference audio to what XTTS keeps of a voice: conditioning latents and speaker embedding."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from more_server.errors import BadInput
from more_server.speech import Samples, VoiceLatents
from more_server.xtts.config import XttsConfig

SHORTEST_CHUNK_SECONDS = 0.33
"""Coqui drops shorter chunks (models/xtts.py, MIN_AUDIO_SECONDS)."""


class Conditioner:
    """The conditioning encoder with its perceiver, and the H/ASP speaker encoder."""

    def __init__(
        self,
        config: XttsConfig,
        encoder: nn.Module,
        perceiver: nn.Module,
        speaker_encoder: nn.Module,
        mel: nn.Module,
        mel_stats: Tensor,
    ) -> None:
        self.config = config.conditioning
        self.sample_rate = config.sample_rate
        self._encoder, self._perceiver, self._speaker_encoder = encoder, perceiver, speaker_encoder
        self._mel, self._mel_stats = mel, mel_stats

    @torch.inference_mode()
    def latents(self, audio: Tensor) -> Tensor:
        """Mean conditioning latents (positions, width) of audio (n,) at `sample_rate`, in chunks.

        Raises BadInput when no chunk is long enough.
        """
        audio = audio[: round(self.config.max_seconds * self.sample_rate)]
        chunks = [
            chunk
            for chunk in torch.split(audio, round(self.config.chunk_seconds * self.sample_rate))
            if len(chunk) >= SHORTEST_CHUNK_SECONDS * self.sample_rate
        ]
        if not chunks:
            raise BadInput(
                f"the reference holds {len(audio) / self.sample_rate:.2f} s of speech; "
                f"at least {SHORTEST_CHUNK_SECONDS} s are needed, 6 to 30 s are good",
                param="audio_sample",
            )
        encoded = [self._perceiver(self._encoder(self.mel(chunk)).transpose(1, 2)) for chunk in chunks]
        return torch.stack(encoded).mean(dim=0)[0]

    def mel(self, audio: Tensor) -> Tensor:
        """Normalised log mel (1, mels, frames) of audio (n,) at `sample_rate`."""
        mel = torch.log(self._mel(audio[None]).clamp(min=1e-5))
        return mel / self._mel_stats[None, :, None]

    @torch.inference_mode()
    def speaker_embedding(self, audio: Tensor) -> Tensor:
        """L2-normalised embedding (512,) of audio (n,) at the speaker encoder's rate."""
        embedding: Tensor = self._speaker_encoder(audio[None].clone(), l2_norm=True)
        return embedding[0]

    def voice(self, clips: Sequence[tuple[Samples, Samples]], device: torch.device) -> VoiceLatents:
        """Latents of a voice from clips, each at `sample_rate` and at the speaker encoder's rate.

        As coqui does it, the GPT is conditioned on the clips in one piece and the speaker embeddings
        are averaged over the clips.
        """
        joined = torch.from_numpy(np.concatenate([clip for clip, _ in clips])).to(device)
        embeddings = [self.speaker_embedding(torch.from_numpy(clip).to(device)) for _, clip in clips]
        return VoiceLatents(
            conditioning=self.latents(joined).float().cpu().numpy(),
            speaker_embedding=torch.stack(embeddings).mean(dim=0).float().cpu().numpy(),
        )
