"""A model that is already on disk, taken into the models folder."""

import shutil
from pathlib import Path

import msgspec

from more_server.errors import ModelError
from more_server.files import locked, staged_folder, sweep
from more_server.models.catalogue import ModelInfo, check_model, list_models
from more_server.models.ids import check_id
from more_server.settings import Settings
from more_server.xtts.layout import MODEL_FILES, OPTIONAL_FILES, Progress

XTTS2_LICENCE = "CPML (Coqui Public Model License): non-commercial"
"""What weights derived from XTTS-v2 are under, whoever fine-tuned them."""


def import_folder(
    settings: Settings,
    source: Path,
    name: str | None = None,
    *,
    licence: str = XTTS2_LICENCE,
    on_progress: Progress | None = None,
) -> ModelInfo:
    """Copy a model into `<shared_dir>/models/<name>`, whole or not at all; `source` stays as it is.

    `source` is a folder in the serving format, or coqui's original (model.pth), which is converted;
    `licence` is for the latter, since an original says nothing of it. `name`: the folder's own.
    Raises ModelError where the name is taken or not a name, the folder is neither, broken, or the disk full.
    """
    source = source.expanduser().resolve()
    model = check_id(source.name if name is None else name)
    if not source.is_dir():
        raise ModelError(f"{source} is not a folder")
    original = (source / "model.pth").is_file() and not (source / "model.safetensors").is_file()
    if not original and not (source / "model.safetensors").is_file():
        raise ModelError(
            f"{source} holds neither model.safetensors (the serving format) nor model.pth (an original XTTS-v2 folder)"
        )
    with locked(settings.made_models_dir / model):
        target = prepare(settings, settings.made_models_dir, model)
        check_space(target.parent, sum(path.stat().st_size for path in source.iterdir() if path.is_file()))
        if original:
            from more_server.xtts.convert import convert

            convert(source, target, name=model, licence=licence, on_progress=on_progress)
        else:
            copy_model(source, target, on_progress)
    return next(info for info in list_models(settings) if info.id == model)


def prepare(settings: Settings, folder: Path, model: str) -> Path:
    """The free place of a new model in a folder. Raises ModelError where the id is taken; call it under its lock."""
    for directory in settings.model_dirs:
        if (directory / model).exists():
            raise ModelError(
                f"a model {model} exists already at {directory / model}; take another name, or remove that one first"
            )
    target = folder / model
    sweep(target)
    return target


def copy_model(source: Path, target: Path, on_progress: Progress | None = None) -> None:
    """Copy a folder in the serving format, its known files alone, and check what arrived. Raises ModelError."""
    check_model(source)
    with staged_folder(target) as stage:
        for file in (*MODEL_FILES, *OPTIONAL_FILES):
            if (source / file).is_file():
                size = (source / file).stat().st_size
                if on_progress:
                    on_progress(f"copying {file}", 0, size)
                shutil.copyfile(source / file, stage / file)
                if on_progress:
                    on_progress(f"copying {file}", size, size)
        config = msgspec.structs.replace(check_model(stage), name=target.name)
        (stage / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config)))


def check_space(directory: Path, needed: int) -> None:
    """Raises ModelError where the disk of `directory` cannot take `needed` bytes and a little more."""
    free = shutil.disk_usage(directory).free
    # A disk filled to its last byte stops everything else on the machine.
    if free < needed + 100_000_000:
        raise ModelError(
            f"{directory} has {free / 1e9:.1f} GB free, {(needed + 100_000_000) / 1e9:.1f} GB are needed; "
            "make room, or point data_dir to another disk"
        )
