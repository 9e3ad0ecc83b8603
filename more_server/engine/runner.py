"""The only code that touches the device: prefill, one code further, audio, and the latents of a voice."""

from collections.abc import Sequence as Clips

import numpy as np
import torch

from more_server.engine.sampling import sample
from more_server.engine.sequence import Sequence, Stream
from more_server.engine.vocoder import Vocoder
from more_server.errors import EngineFailure, SettingsError
from more_server.speech import Samples, VoiceLatents
from more_server.xtts.gpt import KvCache
from more_server.xtts.load import Xtts


class Runner:
    """Runs a loaded model for the streams that the scheduler chose, one sequence after the other."""

    def __init__(self, model: Xtts, slots: int) -> None:
        self.model = model
        self._cache = KvCache(model.config.gpt, slots, model.device, model.dtype)
        self._vocoder = Vocoder(model.decoder)

    @torch.inference_mode()
    def run(self, stream: Stream) -> Samples | None:
        """Move a stream on by one code. Returns audio when a window of it is complete."""
        sequence = stream.sequence
        assert sequence is not None
        assert stream.slot is not None
        if stream.voice_state is None:
            stream.voice_state = self._place(stream.utterance.latents)
        conditioning, speaker_embedding = stream.voice_state
        if sequence.length == 0:
            latent = self._prefill(sequence, conditioning, stream.slot)
        else:
            latent = self._decode(sequence, stream.slot)
        self._draw(sequence, latent, stream)
        frames = self._vocoder.ready(sequence)
        return self._vocoder.decode(sequence, speaker_embedding, frames) if frames else None

    def condition(self, clips: Clips[tuple[Samples, Samples]]) -> VoiceLatents:
        """Latents of a voice from clips at the model's two reference rates."""
        return self.model.conditioner.voice(clips, self.model.device)

    def _place(self, latents: VoiceLatents) -> tuple[torch.Tensor, torch.Tensor]:
        device, dtype = self.model.device, self.model.dtype
        conditioning = torch.from_numpy(latents.conditioning).to(device, dtype)
        return conditioning, torch.from_numpy(latents.speaker_embedding).to(device, dtype)

    def _prefill(self, sequence: Sequence, conditioning: torch.Tensor, slot: int) -> torch.Tensor:
        gpt, token_ids = self.model.gpt, sequence.segment.token_ids
        latent = gpt.prefill(conditioning, token_ids, self._cache, slot)
        sequence.length = gpt.prompt_length(conditioning, token_ids)
        return latent

    def _decode(self, sequence: Sequence, slot: int) -> torch.Tensor:
        latent = self.model.gpt.step(sequence.codes[-1], len(sequence.codes), sequence.length, self._cache, slot)
        sequence.length += 1
        return latent

    def _draw(self, sequence: Sequence, latent: torch.Tensor, stream: Stream) -> None:
        config = self.model.config.gpt
        logits = self.model.gpt.logits(latent).float()
        if not bool(logits.isfinite().all()):
            raise EngineFailure("the model's output is not finite; its weights are damaged or the precision is too low")
        # The start code is never a continuation; an untrained row of the head may still favour it.
        logits[config.start_audio_token] = -torch.inf
        seen = torch.zeros(config.num_audio_tokens, dtype=torch.bool, device=logits.device)
        seen[sequence.codes] = True
        noise = torch.from_numpy(sequence.random.standard_exponential(config.num_audio_tokens, dtype=np.float32))
        code = int(sample(logits[None], seen[None], noise.to(logits.device)[None], stream.utterance.profile)[0])
        sequence.latents.append(latent)
        if code == config.stop_audio_token or len(sequence.latents) >= sequence.code_limit:
            sequence.ended = True
        else:
            sequence.codes.append(code)


def pick_device(name: str) -> torch.device:
    """The device for a setting; `auto` takes a GPU where one answers. Raises SettingsError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"engine.device {name!r} does not work here: {error}") from error
    return device
