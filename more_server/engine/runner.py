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
    """Runs a loaded model for the streams that the scheduler chose."""

    def __init__(self, model: Xtts, slots: int) -> None:
        self.model = model
        self._cache = KvCache(model.config.gpt, slots, model.device, model.dtype)
        self._vocoder = Vocoder(model.decoder)

    @torch.inference_mode()
    def latents(self, streams: list[Stream]) -> list[torch.Tensor]:
        """The next latent (width,) of every stream: of its prompt, or of its last code.

        int8 rows depend on themselves alone, so they go through the weights together: eight take less than twice
        the time of one. fp32 is the reference, in which a product of several rows is rounded in another way than
        the product of one: its rows go one by one. Nothing of the streams changes before all of it has succeeded.
        """
        for stream in streams:
            if stream.voice_state is None:
                stream.voice_state = self._place(stream.utterance.latents)
        new = [stream for stream in streams if not _sequence(stream).length]
        known = [stream for stream in streams if _sequence(stream).length]
        groups = [known] if self.model.precision == "int8" and known else [[stream] for stream in known]
        found = {id(stream): self._prefill(stream) for stream in new}
        for group in groups:
            found |= {id(stream): latent for stream, latent in zip(group, self._decode(group), strict=True)}
        for stream in new:
            sequence = _sequence(stream)
            sequence.length = self.model.gpt.prompt_length(stream.voice_state[0], sequence.segment.token_ids)
        for stream in known:
            _sequence(stream).length += 1
        return [found[id(stream)] for stream in streams]

    @torch.inference_mode()
    def run(self, stream: Stream, latent: torch.Tensor) -> Samples | None:
        """Draw a stream's next code from its latent. Returns audio when a window of it is complete."""
        sequence = _sequence(stream)
        self._draw(sequence, latent, stream)
        frames = self._vocoder.ready(sequence)
        return self._vocoder.decode(sequence, stream.voice_state[1], frames) if frames else None

    def condition(self, clips: Clips[tuple[Samples, Samples]]) -> VoiceLatents:
        """Latents of a voice from clips at the model's two reference rates."""
        return self.model.conditioner.voice(clips, self.model.device)

    def _place(self, latents: VoiceLatents) -> tuple[torch.Tensor, torch.Tensor]:
        device, dtype = self.model.device, self.model.dtype
        conditioning = torch.from_numpy(latents.conditioning).to(device, dtype)
        return conditioning, torch.from_numpy(latents.speaker_embedding).to(device, dtype)

    def _prefill(self, stream: Stream) -> torch.Tensor:
        assert stream.slot is not None
        token_ids = _sequence(stream).segment.token_ids
        return self.model.gpt.prefill(stream.voice_state[0], token_ids, self._cache, stream.slot)

    def _decode(self, streams: list[Stream]) -> torch.Tensor:
        sequences = [_sequence(stream) for stream in streams]
        return self.model.gpt.step(
            [sequence.codes[-1] for sequence in sequences],
            [len(sequence.codes) for sequence in sequences],
            [sequence.length for sequence in sequences],
            self._cache,
            [stream.slot for stream in streams if stream.slot is not None],
        )

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


def _sequence(stream: Stream) -> Sequence:
    assert stream.sequence is not None
    return stream.sequence


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
