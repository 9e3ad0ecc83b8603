"""`bench`: the measurements of the checkout, on this machine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from more_server.cli.output import decided, settings
from more_server.errors import BadInput, SettingsError
from more_server.settings import Settings, bundled_dir
from more_server.tables import EngineSettings

Count = Annotated[int, Parameter(validator=Number(gte=1))]
MOST_STREAMS = 256
"""Of `engine.slots`."""
LONGEST_JOB_SECONDS = 3600
"""Some 700 passages; a preview shows at most 1000."""
LONGEST_SOAK_MINUTES = 1440


def bench(
    *,
    model: str | None = None,
    random: Literal["xtts-v2", "tiny"] | None = None,
    streams: str = "1,2,4,8",
    codes: Count = 110,
    tokens: Count = 60,
    against: Literal["coqui"] | None = None,
    precision: str | None = None,
    device: str | None = None,
    repeats: Count = 8,
    http: bool | None = None,
    jobs: Annotated[int, Parameter(validator=Number(gte=0, lte=LONGEST_JOB_SECONDS))] = 0,
    soak: Annotated[float, Parameter(validator=Number(gte=0, lte=LONGEST_SOAK_MINUTES))] = 0,
    json_only: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure speed and memory on this machine: a table, then one line of JSON.

    Parameters
    ----------
    model
        An id of `more-server models list`; without it, the one that serves.
    random
        Random weights of these sizes instead of a model; as fast as real ones. xtts-v2: 2 GB of disk, some minutes.
    streams
        How many listeners at once, one measurement for each number; 1 is always among them.
    codes
        Length of the speech of each: 21.5 codes are a second.
    tokens
        Length of its text, in tokens of the model.
    against
        Also run coqui-tts, the library that XTTS comes from, on the same weights.
    precision
        auto, int8, bf16 or fp32, where the device can; without it, the setting engine.precision.
    device
        auto, cpu, cuda; without it, the setting engine.device.
    repeats
        Runs with one stream; more streams are run less often, twice at least.
    http
        Also measure a server over HTTP; if not said: for a model yes, for random weights no.
    jobs
        Also measure a speech job of about so many seconds of audio, and what a listener notices of one.
    soak
        Instead of all that: a server under clients that come and go for so many minutes, ten are good; fails where one
        is lost, a slot stays taken, or memory grows.
    json_only
        No table, only the line of JSON.
    """
    _check(bool(model), bool(random), soak=bool(soak), more=bool(against or http or jobs))
    options = _options(model, random or "", _counts(streams), precision, device)
    options |= {"codes": codes, "tokens": tokens, "repeats": repeats, "jobs": jobs, "soak": soak}
    options |= {"coqui": against == "coqui", "http": not random if http is None else http, "json_only": json_only}
    sys.exit(subprocess.call([sys.executable, str(_script()), json.dumps(options)]))  # noqa: S603 - our own file


def _check(model: bool, random: bool, *, soak: bool, more: bool) -> None:
    if model and random:
        raise BadInput("--model and --random exclude each other: weights are those of a model, or random")
    if soak and (random or more):
        raise BadInput("--soak stands alone, with a model that speaks: without --random, --against, --http and --jobs")


def _options(
    model: str | None, random: str, counts: list[int], precision: str | None, device: str | None
) -> dict[str, Any]:
    """What is measured, and with what engine. Raises ModelNotFound, ModelError or SettingsError."""
    loaded = settings() if random else decided()
    return {
        "folder": "" if random else str(_folder(loaded, model)),
        "random": random,
        "streams": counts,
        "engine": _engine(loaded.engine, counts[-1], precision, device),
    }


def _script() -> Path:
    script = bundled_dir() / "tests" / "bench" / "bench.py"
    if not script.is_file():
        raise SettingsError("the benchmark is part of the source checkout (tests/bench); clone it and run it there")
    return script


def _counts(streams: str) -> list[int]:
    """Numbers of streams, ascending, one among them. Raises BadInput."""
    words = [word.strip() for word in streams.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= MOST_STREAMS for word in words):
        raise BadInput(f"--streams {streams}: give numbers from 1 to {MOST_STREAMS}, such as 1,4,16")
    return sorted({1, *map(int, words)})


def _folder(loaded: Settings, model: str | None) -> Path:
    from more_server.models import check_model, find_model, serving_model

    folder = find_model(loaded, model) if model else serving_model(loaded)
    check_model(folder)
    return folder


def _engine(configured: EngineSettings, slots: int, precision: str | None, device: str | None) -> dict[str, Any]:
    """Engine settings for the run, as JSON. Raises SettingsError for what does not fit."""
    import msgspec

    changes = {"slots": slots, "precision": precision, "device": device}
    values = msgspec.to_builtins(configured) | {name: value for name, value in changes.items() if value is not None}
    try:
        return msgspec.to_builtins(msgspec.convert(values, EngineSettings))  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise SettingsError(f"the engine cannot be set up so: {error}") from error
