"""The three sizes of the recipe, and a file's changes to one of them."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from more_server.errors import BadInput
from more_train.nano.config import (
    Corpus,
    Course,
    Decoder,
    Discriminators,
    Dvae,
    Evaluation,
    Gpt,
    Nano,
    SpeakerEncoder,
    Speech,
    Voices,
)
from more_train.optimise import Optimisation
from more_train.recipe import make_recipe


def smoke() -> Nano:
    """Every part, no part large: in a minute or two it shows that all of it works. It speaks noise."""
    quick = Optimisation(learning_rate=1e-3, total_steps=6, warmup_steps=1, average=0.9)
    return Nano(
        name="nano-smoke",
        languages=("en", "pt"),
        save_seconds=0.001,
        corpus=Corpus(max_characters=40, documents=0.1),
        voices=Voices(speakers=4),
        speech=Speech(shards=3, groups=4, clips=4),
        speaker=SpeakerEncoder(
            filters=(8, 8, 8, 8), width=32, speakers=3, clips=2, seconds=0.5, optimisation=replace(quick, average=0.5)
        ),
        dvae=Dvae(
            codes=32, width=16, hidden=16, blocks=1, batch=4, stretch_codes=8, first_codes=2, revive_every=2,
            optimisation=quick,
        ),
        gpt=Gpt(
            layers=2, width=64, heads=2, max_codes=110, reference_seconds=0.5, groups=2, clips=2, guided_layers=(0, 1),
            held_out=2, measured_every=3, optimisation=quick,
        ),
        decoder=Decoder(
            channels=16, batch=2, stretch_codes=4, pool=4, pool_steps=4
        ),
        vocoder=Course(optimisation=replace(quick, betas=(0.8, 0.99))),
        spoken=Course(
            adversarial_from=0.0, likeness=1.0, monotone=True, optimisation=replace(quick, betas=(0.8, 0.99))
        ),
        discriminators=Discriminators(
            periods=(2, 3), period_channels=(2, 4), resolutions=((512, 128),), channels=2,
            optimisation=replace(quick, betas=(0.8, 0.99), average=0),
        ),
        evaluation=Evaluation(sentences=2, clones=1, batch=4),
    )  # fmt: skip


def small() -> Nano:
    """English for one thread of a CPU and three hours."""
    return Nano()


def full() -> Nano:
    """Four languages, for a GPU and an hour, or two dozen hours of a CPU. 45 MB."""
    return Nano(
        languages=("en", "pt", "es", "de"),
        language_weights=(0.55, 0.15, 0.15, 0.15),
        loaders=6,
        save_seconds=180.0,
        voices=Voices(speakers=400, house_share=0.2),
        speech=Speech(shards=240, workers=4),
        speaker=SpeakerEncoder(
            filters=(16, 32, 64, 96),
            speakers=32,
            optimisation=Optimisation(learning_rate=2e-3, total_steps=4000, warmup_steps=100, average=0.998),
        ),
        dvae=Dvae(
            codes=1024,
            hidden=160,
            batch=48,
            optimisation=Optimisation(learning_rate=5e-4, total_steps=12_000, warmup_steps=100, average=0.999),
        ),
        gpt=Gpt(
            layers=8,
            width=320,
            heads=5,
            guided_layers=(2, 3, 4, 5),
            groups=8,
            clips=8,
            held_out=64,
            measured_every=500,
            optimisation=Optimisation(
                learning_rate=8e-4, total_steps=30_000, warmup_steps=300, final_share=0.02, average=0.9995
            ),
        ),
        decoder=Decoder(
            channels=256,
            batch=16,
            stretch_codes=14,
            pool=128,
        ),
        vocoder=Course(
            adversarial_from=0.2,
            optimisation=Optimisation(
                learning_rate=4e-4, total_steps=60_000, warmup_steps=200, betas=(0.8, 0.99), average=0.9995, clip=0
            ),
        ),
        spoken=Course(
            adversarial_from=0.0,
            optimisation=Optimisation(
                learning_rate=2e-4, total_steps=20_000, warmup_steps=200, betas=(0.8, 0.99), average=0.9995, clip=0
            ),
        ),
        discriminators=Discriminators(
            period_channels=(16, 64, 128, 256),
            channels=16,
            optimisation=Optimisation(
                learning_rate=2e-4, total_steps=68_000, betas=(0.8, 0.99), final_share=0.2, average=0, clip=0
            ),
        ),
        evaluation=Evaluation(clones=32),
    )


PRESETS = {preset.__name__: preset for preset in (smoke, small, full)}


def choose(preset: str, changes: Mapping[str, Any] | None = None, source: str = "the settings") -> Nano:
    """A preset with changes by name. Raises BadInput naming the setting and what is allowed."""
    if preset not in PRESETS:
        raise BadInput(f"{source}: there is no preset {preset!r}; there are: {', '.join(PRESETS)}")
    values = msgspec.to_builtins(PRESETS[preset]())
    _change(values, dict(changes or {}), source)
    return checked(make_recipe(values, Nano, source), source)


def read(path: Path, preset: str | None = None) -> Nano:
    """A TOML file's changes to a preset: the one named here, else in the file, else `small`. Raises BadInput."""
    try:
        changes = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not valid TOML: {error}") from error
    named = changes.pop("preset", "small")
    return choose(preset or str(named), changes, str(path))


def _change(values: dict[str, Any], changes: dict[str, Any], source: str, table: str = "") -> None:
    for name, value in changes.items():
        if name not in values:
            nearest = difflib.get_close_matches(name, values, n=1, cutoff=0.6)
            hint = f"did you mean {table}{nearest[0]}?" if nearest else f"there are: {', '.join(values)}"
            raise BadInput(f"{source}: there is no setting {table}{name}; {hint}")
        if isinstance(values[name], dict) and isinstance(value, dict):
            _change(values[name], value, source, f"{table}{name}.")
        else:
            values[name] = value


def checked(nano: Nano, source: str) -> Nano:
    """The settings, where they fit each other. Raises BadInput with every misfit."""
    from more_train.nano.phrases import GRAMMARS

    gpt, decoder = nano.gpt, nano.decoder
    unknown = [language for language in nano.languages if language not in GRAMMARS]
    checks = {
        f"languages: there are phrases of {', '.join(GRAMMARS)}, not of {', '.join(unknown)}": not unknown,
        "languages is empty": bool(nano.languages),
        "language_weights needs a weight for each language": (
            not nano.language_weights or len(nano.language_weights) == len(nano.languages)
        ),
        "gpt.width is not a multiple of gpt.heads and of 32": gpt.width % gpt.heads == 0 and gpt.width % 32 == 0,
        "gpt.guided_layers names no layer": all(0 <= layer < gpt.layers for layer in gpt.guided_layers),
        "gpt.clips must be below speech.clips": gpt.clips < nano.speech.clips,
        "decoder.factors must make 256": _product(decoder.factors) == 256,
        "decoder.factor_kernels must be multiples of decoder.factors": len(decoder.factors)
        == len(decoder.factor_kernels)
        and all(kernel % factor == 0 for kernel, factor in zip(decoder.factor_kernels, decoder.factors, strict=True)),
        "decoder.kernels and decoder.dilations differ in length": len(decoder.kernels) == len(decoder.dilations),
        "decoder.channels cannot be halved so often": decoder.channels % 2 ** len(decoder.factors) == 0,
        "speaker.filters must be multiples of 8": all(count % 8 == 0 for count in nano.speaker.filters),
        "speaker.speakers is more than voices.speakers": nano.speaker.speakers <= nano.voices.speakers,
    }
    problems = [problem for problem, holds in checks.items() if not holds]
    if problems:
        raise BadInput(f"{source}: " + "; ".join(problems))
    return nano


def _product(factors: tuple[int, ...]) -> int:
    product = 1
    for factor in factors:
        product *= factor
    return product
