"""Trained weights become a model of the server: whole or not at all, listed at once, switched to while it speaks."""

import hashlib
import math
import shutil
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import tomli_w

from more_server.cli.output import console, quiet, size
from more_server.errors import BadInput, ModelError, MoreError, StorageError
from more_server.files import locked, staged_folder
from more_server.models import ModelInfo, check_model, list_models
from more_server.models.ids import check_id
from more_server.models.incoming import check_space, prepare
from more_server.settings import Settings, load
from more_server.xtts.config import XttsConfig, read_config
from more_server.xtts.layout import Progress, brief, check_shapes, expected_shapes
from more_server.xtts.vocabulary import check_vocabulary
from more_train.attended import attended as attending
from more_train.inputs import GPT

if TYPE_CHECKING:
    import httpx
    from rich.console import Console
    from torch import Tensor

ALWAYS_FP32 = frozenset({"mel_stats"})
"""Eighty numbers by which every mel is divided: rounding them saves nothing."""
BYTES_OF = {"fp16": 2, "fp32": 4}
CARRIED_OVER = ("vocab.json", "dvae.safetensors", "speakers.safetensors", "LICENSE.txt")
"""Files that a model takes from its base as they are, where the base has them."""
SWITCH_SECONDS = 600.0
"""The answer waits until the server has loaded the model: a minute for XTTS-v2 from a slow disk."""

Dtype = Literal["fp16", "fp32"]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What weights were made by; the exported folder keeps it in provenance.toml."""

    recipe: str
    """Name of the recipe that trained them."""
    settings: dict[str, Any] = {}
    """Of the recipe."""
    dataset: str = ""
    """Name of the dataset that they were trained on."""
    steps: int = 0
    """Optimiser steps behind them."""
    evaluation: dict[str, float] = {}
    """Figures of an evaluation, by name; empty: none was made."""
    job: str = ""
    """Id of the server's job that trained them; empty: a person did, by the command."""


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """Trained weights, and the model that they belong to."""

    base: Path
    """Folder in the serving format that config, vocabulary and all that was not trained come from."""
    tensors: "Mapping[str, Tensor]"
    """By their names in model.safetensors; weight norm may still be unfolded."""
    origin: Origin
    whole: bool = False
    """Trained from nothing: the tensors are all of a model, and the base need not have weights."""


class Switched(msgspec.Struct, frozen=True):
    """What came of a switch."""

    model: str
    """The model that serves now."""
    before: str
    """The one that served before; requests in flight end on it."""
    remark: str
    """What the server says of the new one, such as a warning; empty for nothing."""


# -- the folder


def export_model(
    settings: Settings,
    model_id: str,
    trained: Trained,
    *,
    dtype: Dtype = "fp16",
    on_progress: Progress | None = None,
) -> ModelInfo:
    """Write `<shared_dir>/models/<model_id>`, whole or not at all; the catalogue lists it from then on.

    Licence and warning of the base are inherited. Raises ModelError where the id is taken or cannot be one, the base is
    broken, or the tensors do not fit it; StorageError for a full disk, or while another process writes the same model.
    """
    check_id(model_id)
    config = msgspec.structs.replace(_base_config(trained), name=model_id)
    weights = _checked(trained, config)
    with locked(settings.made_models_dir / model_id):
        target = prepare(settings, settings.made_models_dir, model_id)
        carried = [trained.base / name for name in CARRIED_OVER if (trained.base / name).is_file()]
        values = sum(math.prod(shape) for shape in expected_shapes(config).values())
        check_space(target.parent, values * BYTES_OF[dtype] + sum(path.stat().st_size for path in carried))
        with staged_folder(target) as stage:
            for path in carried:
                shutil.copyfile(path, stage / path.name)
            (stage / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config)))
            _write_weights(stage / "model.safetensors", trained, weights, dtype, on_progress)
            provenance = tomli_w.dumps(_provenance(trained, config, dtype))
            (stage / "provenance.toml").write_text(provenance, "utf-8")
            (stage / "README.md").write_text(_card(config, trained), "utf-8")
            check_model(stage)
    return next(info for info in list_models(settings) if info.id == model_id)


def _base_config(trained: Trained) -> XttsConfig:
    if not trained.whole:
        return check_model(trained.base)
    config = read_config(trained.base)
    check_vocabulary(trained.base / "vocab.json", config)
    return config


def _checked(trained: Trained, config: XttsConfig) -> "dict[str, Tensor]":
    """The trained tensors, weight norm folded, where they fit the model. Raises ModelError."""
    from more_server.xtts.checkpoint import fold_weight_norm

    weights = fold_weight_norm(trained.tensors, Path("the checkpoint"))
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = check_shapes(shapes, config)
    if not trained.whole:
        problems = [problem for problem in problems if not problem.endswith(" is missing")]
        problems += [f"{name} is no part of the GPT" for name in weights if not name.startswith(GPT)]
    if not weights:
        problems = ["it holds nothing"]
    if problems:
        raise ModelError(f"the checkpoint does not fit {trained.base}: {brief(problems)}")
    return weights


def _write_weights(
    path: Path, trained: Trained, weights: "Mapping[str, Tensor]", dtype: Dtype, on_progress: Progress | None
) -> None:
    """All tensors of the model in one type, the trained ones in place of the base's. Raises ModelError."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    report = on_progress or (lambda _what, _done, _total: None)
    names = list(expected_shapes(read_config(trained.base)))
    made = {}
    if trained.whole:
        made = {name: _stored(name, weights[name], dtype) for name in names}
    else:
        with safe_open(trained.base / "model.safetensors", framework="pt") as file:
            for done, name in enumerate(names):
                report("collecting the weights", done, len(names))
                tensor = weights[name] if name in weights else file.get_tensor(name)
                made[name] = _stored(name, tensor, dtype)
    report("collecting the weights", len(names), len(names))
    try:
        save_file(made, path)
    except SafetensorError as error:  # a full disk among them, whose own error it hides
        raise StorageError(f"{path.name} cannot be written: {error}") from error
    # safetensors makes files that only their owner can read; the server may be another user.
    path.chmod((path.parent / "config.json").stat().st_mode)


def _stored(name: str, tensor: "Tensor", dtype: Dtype) -> "Tensor":
    import torch

    kind = torch.float16 if dtype == "fp16" and name not in ALWAYS_FP32 else torch.float32
    kind = kind if tensor.is_floating_point() else tensor.dtype  # batch norms count their batches
    # A copy in any case: a view of the base's mapped file shares its storage with all others.
    stored = tensor.detach().cpu().to(kind, copy=True).contiguous()
    if not stored.isfinite().all():
        fault = "is too large for fp16; export it in fp32" if tensor.isfinite().all() else "is not finite"
        raise ModelError(f"a value of {name} {fault}")
    return stored


def _provenance(trained: Trained, config: XttsConfig, dtype: Dtype) -> dict[str, Any]:
    origin = trained.origin
    told: dict[str, Any] = {
        "recipe": origin.recipe,
        "dataset": origin.dataset,
        "steps": origin.steps,
        "exported": datetime.now(UTC).replace(microsecond=0),
        "dtype": dtype,
        "licence": config.licence,
    }
    told |= {name: value for name in ("job", "settings", "evaluation") if (value := getattr(origin, name))}
    if not trained.whole:
        with (trained.base / "model.safetensors").open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        # The base's own provenance goes along: it names where the licence is to be read.
        told["base"] = {"name": read_config(trained.base).name, "sha256": sha256, **_own_provenance(trained.base)}
    return told


def _own_provenance(base: Path) -> dict[str, Any]:
    try:
        return {"provenance": tomllib.loads((base / "provenance.toml").read_text("utf-8"))}
    except (OSError, ValueError):  # most have none, and a broken one is no reason to lose a training
        return {}


def _card(config: XttsConfig, trained: Trained) -> str:
    origin = trained.origin
    base = "from nothing" if trained.whole else f"from {read_config(trained.base).name}"
    lines = [
        f"# {config.name}",
        "",
        f"Trained {base} by the recipe {origin.recipe}; provenance.toml tells the rest.",
        "",
        f"- Licence: {config.licence}" + ("" if trained.whole else ", inherited"),
        f"- Languages: {', '.join(config.languages)}",
    ]
    lines += [f"- Training data: {origin.dataset}"] if origin.dataset else []
    lines += [f"- Warning: {config.warning}"] if config.warning else []
    return "\n".join(lines) + "\n"


# -- the run


def trained_by(run: Path) -> Trained:
    """The best weights of a fine-tuning, with what is known of how good they are.

    Raises BadInput where the folder is no fine-tuning or has no checkpoint yet, Damaged, or ModelError where the base
    is not the one any more that was trained.
    """
    from more_train.checkpoint import read_part, read_summary
    from more_train.finetune import KIND, MODEL_FILES, content_digest
    from more_train.gpt_loss import file_tensors
    from more_train.run import best_checkpoint, read_run

    file = read_run(run)
    if file.kind != KIND:
        raise BadInput(f"{run} is a run of {file.kind}; only those of {KIND} are exported")
    if (best := best_checkpoint(run)) is None:
        raise BadInput(f"{run} has no checkpoint yet")
    model, dataset = file.inputs["model"], Path(file.inputs["dataset"].path)
    base = Path(model.path)
    check_model(base)
    if content_digest(base, MODEL_FILES) != model.sha256:
        raise ModelError(f"{base} is not the model any more that {run} has trained; put that one back")
    summary = read_summary(best)
    known = {} if summary.score is None else {"held_out_loss": round(summary.score, 4)}
    return Trained(
        base=base,
        tensors=file_tensors(read_part(best, "ema")),
        origin=Origin(
            recipe=file.kind,
            settings={name: value for name, value in file.recipe.items() if value is not None},
            dataset=dataset.name,
            steps=summary.step,
            evaluation=known | _judged(run, summary.step),
        ),
    )


def _judged(run: Path, step: int) -> dict[str, float]:
    """Figures of `evaluate`, where it has judged these very weights."""
    from more_train.evaluate.report import EVALUATION, read_report, told

    try:
        model = read_report(run / EVALUATION).models[0]
    except BadInput:
        return {}
    return told(model) if model.step == step else {}


# -- the server


def register_and_switch(server_url: str, key: str | None, model_id: str, *, keep: bool = False) -> Switched:
    """Let a running server speak with an exported model; what it speaks already ends on the old one.

    keep: leave the old one loaded, so that requests may name it. Raises ModelError with what the server says, where
    it cannot be reached, refuses, or reads another data directory; then it speaks on as before.
    """
    import httpx

    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=server_url, headers=headers, timeout=SWITCH_SECONDS) as http:
            listed = _rows(http.get("/v1/admin/models"), server_url)
            if model_id not in listed:
                raise ModelError(
                    f"the server at {server_url} does not list {model_id}: it serves another data directory than the "
                    "one that the model was exported to"
                )
            path = f"/v1/admin/models/{model_id}/switch"
            now = _rows(http.post(path, json={"keep": keep}), server_url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelError(f"the server at {server_url} cannot be asked: {error or type(error).__name__}") from error
    before = next((name for name, row in listed.items() if row["serving"]), "")
    return Switched(next(name for name, row in now.items() if row["serving"]), before, now[model_id]["remark"])


def _rows(answer: "httpx.Response", server_url: str) -> dict[str, dict[str, Any]]:
    """Models by id, as the server lists them. Raises ModelError with the server's own words."""
    try:
        content = answer.json()
        if answer.is_success:
            return {row["id"]: row for row in content["data"]}
        words = content["error"]["message"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{server_url} answers {answer.status_code} {answer.reason_phrase}, not as this server does"
        ) from error
    raise ModelError(f"the server at {server_url} refuses ({answer.status_code}): {words}")


# -- the command


def export(
    run: Path,
    model_id: str,
    /,
    *,
    data_dir: Path | None = None,
    dtype: Dtype = "fp16",
    switch: str | None = None,
    key: str | None = None,
    job: str = "",
    attended: bool = False,
) -> None:
    """Make a run's best weights a model of the server, and let a server speak with it where --switch names one.

    Parameters
    ----------
    run
        Folder of a training run.
    model_id
        Id of the new model, which must be free.
    data_dir
        The server's data directory, instead of the one in the settings.
    dtype
        fp16 or fp32: how the weights are stored; fp16 takes half the room.
    switch
        Address of a running server over the same data directory, such as http://127.0.0.1:8000, that is to speak
        with the new model from now on.
    key
        A key of that server with the scope admin, where it has keys.
    job
        Id of the server's job that this belongs to, for provenance.toml.
    attended
        For programs: JSON lines instead of words, and the end of it when standard input closes.
    """
    with attending(attended) as teller:
        settings, told = load(), console()
        quiet(settings)
        if data_dir is not None:
            settings = msgspec.structs.replace(settings, data_dir=data_dir.expanduser().absolute())
        trained = trained_by(run)
        trained = msgspec.structs.replace(trained, origin=msgspec.structs.replace(trained.origin, job=job))
        info = export_model(settings, model_id, trained, dtype=dtype, on_progress=teller.tell)
        if not teller.is_heard:
            _told(info, told, switch, key)


def _told(info: ModelInfo, told: "Console", switch: str | None, key: str | None) -> None:
    told.print(f"{info.id}: {size(info.size_bytes)}, {info.parameters / 1e6:.1f} M values, in {info.path}")
    told.print(f"Licence: {info.licence}" + (f". {info.warning}" if info.warning else ""))
    if switch is None:
        told.print(f"Let it speak with: more-server models use {info.id}")
        return
    try:
        switched = register_and_switch(switch, key, info.id)
    except MoreError as error:
        raise ModelError(f"{info.id} is exported, but does not speak yet: {error.message}") from error
    told.print(f"{switched.model} speaks at {switch} now; what {switched.before} had begun, it ends")
