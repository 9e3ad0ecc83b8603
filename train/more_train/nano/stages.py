"""The recipe from its first stage to its last; what is done is not done again.

    speech/    clips in shards, held-out ones, and what mels are divided by
    speaker/   the encoder that tells voices apart, and the table of voices
    dvae/      mels to codes
    codes/     the codes of every clip
    vocoder/   mels to sound, which the decoder begins from
    gpt/       text and a reference to codes and latents
    decoder/   latents to sound
    model/     the model folder, with its card; evaluation.json beside it

Everything may be deleted from some stage on, to make it anew.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from more_server.errors import BadInput
from more_server.files import locked, sweep, write_file
from more_server.xtts.load import Parts, build
from more_server.xtts.tokenizer import Tokenizer
from more_train.nano import assemble, evaluation
from more_train.nano.config import Course, Nano
from more_train.nano.decoder import GENERATOR, DecoderTrainer, part
from more_train.nano.dvae import DvaeTrainer, make_dvae
from more_train.nano.features import Mels, Speech, mel_stats, speaker_means
from more_train.nano.generator import folded, make_generator
from more_train.nano.gpt import GptTrainer, Speaking
from more_train.nano.pool import Latents, Pool, Spectra, spoken_latents
from more_train.nano.reader import Reader, write_codes
from more_train.nano.recording import Line
from more_train.nano.serving import xtts_config
from more_train.nano.shards import Plans, Shard, make, name
from more_train.nano.speaker import SpeakerTrainer, table
from more_train.nano.tokenizer import write_vocabulary
from more_train.nano.workshop import RESULT, Workshop, digest, train
from more_train.run import Progress, checkpoints, open_run, read_progress

STAGES = ("speech", "speaker", "dvae", "codes", "vocoder", "gpt", "decoder", "evaluation")
TRAINED = ("speaker", "dvae", "vocoder", "gpt", "decoder")
HELD_OUT = "held-out.safetensors"
STATS = "mel_stats.safetensors"
MEANS = "means.safetensors"
VOICES = "voices.safetensors"
SPECTRA = "spectra.safetensors"

Told = Callable[[str, int, int, Mapping[str, float | None]], None]
"""Of a stage, what is done and how much there is, and the last numbers."""


def make_model(
    nano: Nano,
    out: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
    told: Told = lambda _stage, _done, _total, _values: None,
) -> Path:
    """The finished model's folder, `<out>/model`. Raises Stopped where that was asked for, and what stages raise."""
    device = pick(nano.device)
    torch.set_num_threads(nano.threads)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        workshop = Workshop(nano, out, device, stopped)
        workshop.listeners.append(
            lambda stage, total, line: told(stage, line.step, total, line.values) if line.kind == "train" else None
        )
        return _Stages(workshop, told).model()


def pick(device: str) -> torch.device:
    """A device by its setting. Raises BadInput where it is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadInput("device is cuda, and this machine has none")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise BadInput(f"there is no device {device!r}") from error


class _Stages:
    """Each stage asks for those before it."""

    def __init__(self, workshop: Workshop, told: Told) -> None:
        self.workshop, self.nano, self.told = workshop, workshop.nano, told
        self.config = xtts_config(self.nano)
        write_vocabulary(workshop.out / "vocab.json", self.nano.languages)
        self.tokenizer = Tokenizer(workshop.out / "vocab.json")

    def path(self, stage: str, file: str = RESULT) -> Path:
        return self.workshop.out / stage / file

    def parts(self) -> Parts:
        """The modules that serve, always with the same fresh weights."""
        torch.manual_seed(self.nano.seed)
        return build(self.config)

    # -- speech

    @cached_property
    def speech(self) -> Speech:
        folder, count, plans = self.workshop.out / "speech", self.nano.speech.shards, Plans(self.nano, self.tokenizer)
        # `gpt` is among the settings since it says how long a clip may be.
        recipe = self.workshop.recipe()
        recipe.settings["max_codes"] = self.nano.gpt.max_codes
        with open_run(folder, "nano/speech", recipe, {}):
            sweep(folder / "*")
            wanted: dict[Path, Callable[[], list[Line]]] = {
                folder / name(number): partial(plans.training, number) for number in range(count)
            }
            wanted[folder / "held-out" / name(0)] = plans.held_out
            if not make(
                wanted,
                plans,
                stop=self.workshop.stopped,
                told=lambda done: self.told("speech", done, len(wanted), {}),
            ):
                self.workshop.check()
        return Speech(folder, count)

    @cached_property
    def mels(self) -> Mels:
        path = self.path("speech", STATS)
        spectrogram = self.parts().mel
        if not path.exists():
            write_file(path, save({"mel_stats": mel_stats(spectrogram, self.speech)}))
        return Mels(spectrogram, load_file(path)["mel_stats"], self.workshop.device)

    # -- what is trained

    @cached_property
    def speaker(self) -> dict[str, Tensor]:
        return train(
            self.workshop,
            "speaker",
            lambda: SpeakerTrainer(self.workshop, self.speech, self.parts().speaker_encoder),
            self.workshop.recipe("speaker"),
            *self._given(),
        )

    @cached_property
    def voices(self) -> Tensor:
        """The embedding of every speaker."""
        path = self.path("speaker", VOICES)
        if not path.exists():
            encoder = self._encoder()
            write_file(path, save({"voices": table(self.workshop, self.speech, encoder, self.nano.voices.speakers)}))
        return load_file(path)["voices"]

    def _means(self) -> Tensor:
        """The mean mel of every speaker."""
        path = self.path("speech", MEANS)
        if not path.exists():
            means = speaker_means(self.speech, self.mels, self.nano.voices.speakers)
            write_file(path, save({"means": means.cpu()}))
        return load_file(path)["means"]

    def _encoder(self) -> torch.nn.Module:
        encoder = self.parts().speaker_encoder
        encoder.load_state_dict(self.speaker)
        return encoder.to(self.workshop.device).eval().requires_grad_(False)

    @cached_property
    def dvae(self) -> dict[str, Tensor]:
        return train(
            self.workshop,
            "dvae",
            lambda: DvaeTrainer(self.workshop, self.speech, self.mels, self._means()),
            self.workshop.recipe("dvae"),
            *self._given(),
        )

    @cached_property
    def reader(self) -> Reader:
        """Speech with its codes."""
        folder, speech = self.workshop.out / "codes", self.speech
        dvae = make_dvae(self.nano.dvae)
        dvae.load_state_dict(self.dvae)
        dvae.to(self.workshop.device)
        held_out = Speech(self.workshop.out / "speech" / "held-out", 1)
        wanted = {folder / name(number): shard for number, shard in enumerate(speech.shards)}
        wanted[folder / HELD_OUT] = held_out.shards[0]
        with open_run(folder, "nano/codes", self.workshop.recipe("dvae"), self._inputs("dvae")):
            for done, (path, shard) in enumerate(wanted.items(), 1):
                self.workshop.check()
                if not path.exists():
                    write_codes(path, shard, dvae, self.mels)
                    self.told("codes", done, len(wanted), {})
        config, mels = self.config.gpt, self.mels
        return Reader(self.workshop, speech, held_out, folder, tokenizer=self.tokenizer, mels=mels, config=config)

    @cached_property
    def gpt(self) -> dict[str, Tensor]:
        return train(
            self.workshop,
            "gpt",
            lambda: GptTrainer(
                self.workshop,
                self.reader,
                self.parts(),
                voices=self.voices,
                codebook=self.dvae["codebook.embed"],
            ),
            self.workshop.recipe("dvae", "speaker", "gpt"),
            *self._given("speaker", "dvae"),
        )

    @cached_property
    def vocoder(self) -> dict[str, Tensor]:
        return train(
            self.workshop,
            "vocoder",
            lambda: self._trainer(self.spectra.latents, self.nano.vocoder),
            self.workshop.recipe("dvae", "speaker", "decoder", "vocoder", "discriminators"),
            *self._given("speaker", "dvae"),
        )

    @cached_property
    def spectra(self) -> Spectra:
        path = self.path("vocoder", SPECTRA)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_file(path, save(Spectra.measured(self.speech, self.reader, self.config)._asdict()))
        return Spectra(**load_file(path))

    @cached_property
    def decoder(self) -> dict[str, Tensor]:
        return train(
            self.workshop,
            "decoder",
            self._decoder_trainer,
            self.workshop.recipe("dvae", "speaker", "gpt", "decoder", "vocoder", "spoken", "discriminators"),
            *self._given("vocoder", "gpt"),
        )

    def _decoder_trainer(self) -> DecoderTrainer:
        speaking = Speaking(self.parts(), self.nano)
        speaking.load_state_dict(self.gpt)
        first = GENERATOR + "conv_pre."
        folded_first = self.spectra.folded(part(self.vocoder, first), speaking.mel_head)
        given = self.vocoder | {first + name: value.detach() for name, value in folded_first.items()}
        speaking.to(self.workshop.device).requires_grad_(False)
        return self._trainer(spoken_latents(speaking), self.nano.spoken, given)

    def _trainer(self, latents: Latents, course: Course, given: dict[str, Tensor] | None = None) -> DecoderTrainer:
        encoder = self._encoder()
        pool = Pool(
            self.workshop,
            self.speech,
            self.reader,
            latents=latents,
            encoder=encoder,
            config=self.config,
            monotone=course.monotone,
        )
        return DecoderTrainer(self.workshop, pool, self.config, course, encoder, given)

    def _generator(self) -> dict[str, Tensor]:
        """The decoder's weights as they serve."""
        generator = make_generator(self.config)
        generator.load_state_dict(part(self.decoder, GENERATOR))
        return folded(generator, even=not self.nano.spoken.monotone)

    def _given(self, *stages: str) -> list[Path]:
        """What a stage is made from: results of others, once they are there."""
        for stage in stages:
            getattr(self, stage)
        _ = self.speech, self.mels
        return [self.path("speech", STATS), *(self.path(stage) for stage in stages)]

    def _inputs(self, *stages: str) -> dict[str, Any]:
        return {f"{path.parent.name}/{path.name}": digest(path) for path in self._given(*stages)}

    # -- the model

    def model(self) -> Path:
        folder = self.workshop.out / "model"
        if not folder.exists():
            sweep(folder)
            assemble.assemble(
                folder,
                self.nano,
                self.config,
                gpt=self.gpt,
                decoder=self._generator(),
                speaker=self.speaker,
                dvae=self.dvae,
                mel_stats=self.mels.stats.cpu(),
            )
        if not (folder / "README.md").exists():
            results = self._evaluated(folder)
            card = assemble.card(self.nano, results, self._made(), assemble.sizes(folder))
            write_file(folder / "README.md", card.encode())
        return folder

    def _evaluated(self, folder: Path) -> evaluation.Results:
        path = self.workshop.out / "evaluation.json"
        if not path.exists():
            results = evaluation.evaluate(
                self.nano,
                folder,
                self.workshop.device,
                self.workshop.check,
                lambda done, total: self.told("evaluation", done, total, {}),
            )
            write_file(path, msgspec.json.format(msgspec.json.encode(results)) + b"\n")
        return msgspec.json.decode(path.read_bytes(), type=evaluation.Results)

    def _made(self) -> assemble.Made:
        shards = [Shard(self.path("speech", name(number))) for number in range(self.nano.speech.shards)]
        lines = {stage: _last(self.workshop.out / stage) for stage in TRAINED}
        return assemble.Made(
            clips=sum(map(len, shards)),
            hours=sum(shard.seconds for shard in shards) / 3600,
            speakers=len({line.speaker for shard in shards for line in shard.lines}),
            steps={stage: line.step for stage, line in lines.items()},
            seconds={stage: _seconds(self.workshop.out / stage) for stage in TRAINED},
            last={stage: line.values for stage, line in lines.items()},  # type: ignore[misc]
            device=assemble.hardware(self.workshop.device),
        )


def _last(folder: Path) -> Progress:
    return [line for line in read_progress(folder) if line.kind == "train"][-1]


def _seconds(folder: Path) -> float:
    return float(checkpoints(folder)[-1][1].state["seconds"])
