"""The only code that touches the device: prompts, one code further, audio, and the latents of a voice."""

import gc
from collections.abc import Sequence as Many
from functools import partial

import numpy as np
import torch
from torch import Tensor

from more_server.engine.graphs import Graphs
from more_server.engine.sampling import Draws, sample
from more_server.engine.sequence import Sequence, Stream
from more_server.engine.vocoder import PieceVocoder, WindowVocoder
from more_server.errors import SettingsError
from more_server.speech import Samples, VoiceLatents
from more_server.xtts.gpt import POSITION_STEP
from more_server.xtts.load import Xtts
from more_server.xtts.passes import Extent

USUAL_TOP_K = 64
"""Draws look at so many of the best codes, or at all where a profile keeps more: two shapes, so two sets of graphs."""
SPANS = 4
"""Lengths of the cache that graphs are captured for."""
BROKEN = -1
"""In place of a code: the row's logits were not finite."""
PROBE_LATENTS = 3


class Runner:
    """Runs a loaded model for the sequences that the scheduler chose; what a slot holds is here."""

    def __init__(self, model: Xtts, slots: int) -> None:
        self.model = model
        self.slots = slots
        self._passes = model.passes(slots)
        self._vocoder = (WindowVocoder if model.decoder.batch > 1 else PieceVocoder)(model.decoder)
        self._graphs = Graphs(model.device)
        self._extents = _extents(slots, self._passes.positions)
        config = model.config.gpt
        # One slot more than there are: what is written for idle rows goes there.
        self._latents = torch.zeros(slots + 1, model.gpt.most_codes + 1, config.model_dim, device=model.device)
        self._seen = torch.zeros(slots + 1, config.num_audio_tokens, dtype=torch.bool, device=model.device)
        # A plain `= True` may copy it from the host, which a graph being captured refuses.
        self._true = torch.ones((), dtype=torch.bool, device=model.device)

    @property
    def together(self) -> bool:
        """Whether several rows in one step take less time than one after the other."""
        return self._passes.together

    # -- speaking

    @torch.inference_mode()
    def step(self, sequences: Many[Sequence]) -> list[int]:
        """The next code of each sequence, the first where its prompt was not read yet; BROKEN where it has none.

        Nothing of the sequences changes here but `prompt_length`: a step that failed may be repeated.
        """
        new = [sequence for sequence in sequences if not sequence.prompt_length]
        known = [sequence for sequence in sequences if sequence.prompt_length]
        codes: dict[int, int] = {}
        # Rows that look at fewer codes go by themselves: on a GPU a wider product of the draw may round in another way.
        for most in sorted({self._most(sequence) for sequence in known}):
            group = [sequence for sequence in known if self._most(sequence) == most]
            codes |= zip(map(id, group), self._advance(group, most), strict=True)
        if new:
            codes |= zip(map(id, new), self._begin(new), strict=True)
        for sequence in sequences:
            if codes[id(sequence)] == BROKEN:
                self._passes.clear(_slot(sequence))
        return [codes[id(sequence)] for sequence in sequences]

    def with_audio(self, sequences: Many[Sequence]) -> list[list[Sequence]]:
        """Those that have a piece of audio complete, in the groups that `audio` is best asked for, people first.

        On a GPU all of either at once; a CPU gains nothing from it, so each is heard as soon as it is made.
        """
        ready = [sequence for sequence in sequences if self.has_audio(sequence)]
        people = [sequence for sequence in ready if not sequence.stream.utterance.priority]
        jobs = [sequence for sequence in ready if sequence.stream.utterance.priority]
        if self._vocoder.together:
            return [group for group in (people, jobs) if group]
        return [[sequence] for sequence in (*people, *jobs)]

    def has_audio(self, sequence: Sequence) -> bool:
        """Whether a piece of it is complete."""
        return self._vocoder.ready(sequence) > 0

    @torch.inference_mode()
    def audio(self, sequences: Many[Sequence]) -> list[Samples]:
        """The next piece of audio of each sequence, all of them complete."""
        latents = [self._latents[sequence.slot, : sequence.latents] for sequence in sequences]
        return self._vocoder.decode(sequences, latents, [self._voice(sequence.stream)[1] for sequence in sequences])

    def condition(self, clips: Many[tuple[Samples, Samples]]) -> VoiceLatents:
        """Latents of a voice from clips at the model's two reference rates."""
        return self.model.conditioner.voice(clips, self.model.device)

    # -- care

    @torch.inference_mode()
    def capture(self) -> None:
        """Capture the steps that sequences will take, where the device has graphs."""
        if not self._passes.aligned or self.model.device.type != "cuda":
            return
        integers, floats = self._packed([], aligned=True)
        most = min(USUAL_TOP_K, self.model.config.gpt.num_audio_tokens)
        for extent in self._extents:
            step = partial(self._forward, extent=extent, most=most)
            self._graphs.capture((extent, most), step, integers, floats)

    def free(self) -> None:
        """Give back memory that nothing uses."""
        gc.collect()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def probe(self) -> None:
        """A prompt and a little audio of nobody, in the slot that is nobody's; raises what the device raises."""
        config = self.model.config
        nobody = torch.zeros(1, config.gpt.model_dim, device=self.model.device)
        latents, logits = self._passes.prefill([self.model.gpt.prompt(nobody, (0,))], [self.slots], [nobody])
        voice = torch.zeros(config.decoder.cond_channels, device=self.model.device)
        audio = self.model.decoder.decode(latents.expand(PROBE_LATENTS, -1), voice)
        if not all(bool(made.isfinite().all()) for made in (logits, audio)):
            raise RuntimeError("the model's output is not finite")

    # -- steps

    def _begin(self, sequences: Many[Sequence]) -> list[int]:
        voices = [self._voice(sequence.stream)[0] for sequence in sequences]
        prompts = [
            self.model.gpt.prompt(voice, sequence.segment.token_ids)
            for voice, sequence in zip(voices, sequences, strict=True)
        ]
        slots = [_slot(sequence) for sequence in sequences]
        latents, logits = self._passes.prefill(prompts, slots, voices)
        self._seen[slots] = False
        self._seen[slots, self.model.config.gpt.start_audio_token] = True
        integers, floats = (part.to(self.model.device) for part in self._packed(sequences, aligned=False))
        most = max(map(self._most, sequences))
        codes = self._draw(latents, logits, integers, floats, most).tolist()
        for sequence, prompt in zip(sequences, prompts, strict=True):
            sequence.prompt_length = len(prompt)
        return [int(code) for code in codes]

    def _advance(self, sequences: Many[Sequence], most: int) -> list[int]:
        aligned = self._passes.aligned
        integers, floats = self._packed(sequences, aligned=aligned)
        extent = self._extent(sequences) if aligned else (0, 0)
        step = partial(self._forward, extent=extent, most=most)
        codes = self._graphs.run((extent, most), step, integers, floats).tolist()
        return [int(codes[_slot(sequence) if aligned else row]) for row, sequence in enumerate(sequences)]

    def _forward(self, integers: Tensor, floats: Tensor, *, extent: Extent, most: int) -> Tensor:
        codes, code_positions, slots, positions = integers[:4]
        # The code that goes in, not the one that comes out: a step that is repeated after a failure draws the same.
        self._seen.index_put_((slots, codes), self._true)
        latents, logits = self._passes.step(codes, code_positions, slots, positions, extent)
        return self._draw(latents, logits, integers, floats, most)

    def _draw(self, latents: Tensor, logits: Tensor, integers: Tensor, floats: Tensor, most: int) -> Tensor:
        config = self.model.config.gpt
        code_positions, slots = integers[1], integers[2]
        self._latents[slots, code_positions] = latents
        finite = logits.isfinite().all(dim=-1)
        # The start code is never a continuation; an untrained row of the head may still favour it.
        logits[:, config.start_audio_token] = -torch.inf
        draws = Draws(integers[4], floats[0], integers[5], floats[1], floats[2], floats[3])
        codes = sample(logits, self._seen[slots], draws, config.stop_audio_token, most)
        return torch.where(finite, codes, BROKEN)

    def _packed(self, sequences: Many[Sequence], *, aligned: bool) -> tuple[Tensor, Tensor]:
        """Rows of sequences in the host's memory: whole numbers (6, n) and others (4, n), in the order of `_forward`.

        aligned: a row for each slot, idle ones with the number of the slot behind the last.
        """
        count = self.slots if aligned else len(sequences)
        integers, floats = np.zeros((6, count), np.int64), np.ones((4, count), np.float32)
        if aligned:
            integers[2] = self.slots
        for row, sequence in enumerate(sequences):
            profile = sequence.stream.utterance.profile
            column = _slot(sequence) if aligned else row
            code = sequence.codes[-1] if sequence.codes else 0
            key = np.uint64(sequence.noise_key).astype(np.int64)
            integers[:, column] = (code, sequence.latents, _slot(sequence), sequence.position, key, profile.top_k)
            floats[:, column] = (
                profile.temperature,
                profile.top_p,
                profile.repetition_penalty,
                sequence.stop_bias(),
            )
        return torch.from_numpy(integers), torch.from_numpy(floats)

    def _most(self, sequence: Sequence) -> int:
        """How many of the best codes its draw has to look at."""
        codes, top_k = self.model.config.gpt.num_audio_tokens, sequence.stream.utterance.profile.top_k
        return min(USUAL_TOP_K, codes) if 0 < top_k <= USUAL_TOP_K else codes

    def _extent(self, sequences: Many[Sequence]) -> Extent:
        """The smallest one that holds these sequences; how a row is rounded does not depend on it."""
        highest = max(_slot(sequence) for sequence in sequences) + 1
        longest = max(sequence.position for sequence in sequences) + 1
        return next(extent for extent in self._extents if extent[0] >= highest and extent[1] >= longest)

    def _voice(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Conditioning latents and speaker embedding of a stream's voice, on the device."""
        if stream.voice_state is None:
            latents = stream.utterance.latents
            stream.voice_state = tuple(
                torch.from_numpy(part).to(self.model.device)
                for part in (latents.conditioning, latents.speaker_embedding)
            )
        conditioning, embedding = stream.voice_state
        return conditioning, embedding


def _extents(slots: int, positions: int) -> list[Extent]:
    """What a step may look at: powers of two of the slots, quarters of the positions."""
    widths = sorted({min(2**power, slots) for power in range(slots.bit_length() + 1)})
    step = -(-positions // SPANS // POSITION_STEP) * POSITION_STEP
    return [(width, min(step * number, positions)) for width in widths for number in range(1, SPANS + 1)]


def _slot(sequence: Sequence) -> int:
    assert sequence.slot is not None
    return sequence.slot


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
