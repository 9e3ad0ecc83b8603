"""The models that are here, read from headers alone: no torch, no weights."""

import math
from pathlib import Path

import msgspec

from more_server.errors import ModelError, ModelNotFound, allowed
from more_server.files import locked, remove_folder, set_aside_damaged
from more_server.models.ids import check_id
from more_server.settings import Settings, bundled_dir
from more_server.shared.kept import KeptFile
from more_server.xtts.config import XttsConfig, read_config
from more_server.xtts.layout import brief, check_shapes, read_header
from more_server.xtts.vocabulary import check_vocabulary

DEFAULT_MODEL = "nano"
AUTO = "auto"
CHOICE = "models/serving"
"""File that holds the id chosen with `use`."""
LONGEST = 80
"""Bytes of it that are looked at: more than an id has, and no more than an error can tell."""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One model folder; a broken one says so in `problem` and leaves what it cannot tell empty."""

    id: str
    path: Path
    bundled: bool
    """Shipped with the server, so it cannot be removed."""
    serving: bool
    """The one that the settings and `use` select."""
    size_bytes: int
    """On disk, every file."""
    languages: tuple[str, ...] = ()
    licence: str = ""
    warning: str = ""
    parameters: int = 0
    """Values in model.safetensors."""
    voices: tuple[str, ...] = ()
    """Studio voices that came with the model."""
    trainable: bool = False
    """Its DVAE is here, so it can be fine-tuned."""
    problem: str = ""
    """Why it cannot serve; empty for a good one."""


def list_models(settings: Settings) -> list[ModelInfo]:
    """Every model, by id; a folder in the writable directory hides a bundled one of the same id."""
    chosen = selected_model(settings)
    return [_describe(path, settings, serving=name == chosen) for name, path in sorted(_folders(settings).items())]


def has_model(settings: Settings, model: str) -> bool:
    """Whether there is a folder of this name."""
    return model in _folders(settings)


def find_model(settings: Settings, model: str) -> Path:
    """The folder of a model. Raises ModelNotFound listing what exists."""
    folders = _folders(settings)
    if model not in folders:
        raise ModelNotFound(f"model {model!r} is not here; here are: {allowed(folders)}", param="model")
    return folders[model]


def serving_model(settings: Settings) -> Path:
    """The folder of the model that serves: `settings.model`, or with `auto` the one chosen by `use`, else nano.

    Raises ModelNotFound naming where the id comes from and what exists.
    """
    selected = selected_model(settings)
    folders = _folders(settings)
    if selected in folders:
        return folders[selected]
    source = "settings.model" if settings.model != AUTO else str(choice_path(settings))
    if settings.model == AUTO and not choice_path(settings).is_file():
        source = "the default"
    raise ModelNotFound(
        f"model {selected!r} ({source}) is not here; here are: {allowed(folders)}. "
        "Choose one with `more-server models use`",
        param="model",
    )


def choice_path(settings: Settings) -> Path:
    """The file that holds the id chosen with `use`; every server with this data directory serves that model."""
    return settings.data_dir / CHOICE


def set_damaged_choice_aside(settings: Settings) -> None:
    """At the start of a server, which goes on with nano; a choice of a model that is not here stays, and is refused.

    Raises StorageError.
    """
    set_aside_damaged(choice_path(settings), lambda content: check_id(content[:LONGEST].decode("utf-8").strip()))


def check_model(folder: Path) -> XttsConfig:
    """Check a folder in the serving format without loading its weights.

    Raises ModelError: a missing or cut-off file, sizes that differ from config.json, another vocabulary.
    """
    config = read_config(folder)
    header = read_header(folder / "model.safetensors")
    problems = check_shapes({name: info.shape for name, info in header.items()}, config)
    if problems:
        raise ModelError(f"model {folder.name}: {folder / 'model.safetensors'} does not fit: {brief(problems)}")
    check_vocabulary(folder / "vocab.json", config)
    for optional in ("dvae.safetensors", "speakers.safetensors"):
        if (folder / optional).exists():
            read_header(folder / optional)
    return config


def use(settings: Settings, model: str) -> ModelInfo:
    """Make a model the one that serves, in servers that run once they have loaded it; kept across restarts.

    Raises ModelNotFound, StorageError, or ModelError where it is broken or `settings.model` names another one.
    """
    if settings.model not in (AUTO, model):
        raise ModelError(
            f"the setting `model` is {settings.model!r}, which goes before this choice; set it to `auto` first"
        )
    folder = find_model(settings, model)
    check_model(folder)
    with KeptFile(settings, CHOICE).changing() as keep:
        keep(f"{model}\n".encode())
    return _describe(folder, settings, serving=True)


def remove(settings: Settings, model: str) -> None:
    """Delete a model from disk.

    Raises ModelNotFound, or ModelError where it is bundled, serving, or being written at the moment.
    """
    check_id(model)
    folder = find_model(settings, model)
    if _is_bundled(folder, settings):
        raise ModelError(f"model {model} is part of the server and stays; choose another with `models use`")
    with locked(folder):
        find_model(settings, model)  # somebody else may have been quicker
        if model == selected_model(settings):
            raise ModelError(f"model {model} is the one that serves; first `more-server models use {DEFAULT_MODEL}`")
        remove_folder(folder)


def _folders(settings: Settings) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for directory in settings.model_dirs:
        if directory.is_dir():
            for path in sorted(directory.iterdir()):
                if path.is_dir() and not path.name.startswith("."):
                    found.setdefault(path.name, path)
    return found


def selected_model(settings: Settings) -> str:
    """The id that the settings or `use` name, whether it is here or not. Raises ModelError."""
    if settings.model != AUTO:
        return settings.model
    try:
        return choice_path(settings).read_text("utf-8").strip() or DEFAULT_MODEL
    except FileNotFoundError:
        return DEFAULT_MODEL
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{choice_path(settings)} cannot be read: {error}; delete it to return to nano") from error


def _is_bundled(folder: Path, settings: Settings) -> bool:
    shipped = bundled_dir() / "models"
    if folder.parent.resolve() != shipped.resolve():
        return False
    # In a checkout both directories are one, and what was fetched lies beside what was shipped.
    shared = settings.model_dirs[0].resolve() == shipped.resolve()
    return not shared or folder.name == DEFAULT_MODEL


def _describe(folder: Path, settings: Settings, *, serving: bool) -> ModelInfo:
    info = ModelInfo(
        id=folder.name,
        path=folder,
        bundled=_is_bundled(folder, settings),
        serving=serving,
        size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )
    try:
        config = read_config(folder)
        info = msgspec.structs.replace(info, languages=config.languages, licence=config.licence, warning=config.warning)
        check_model(folder)
    except ModelError as error:
        return msgspec.structs.replace(info, problem=error.message)
    weights = read_header(folder / "model.safetensors").values()
    return msgspec.structs.replace(
        info,
        parameters=sum(math.prod(tensor.shape) for tensor in weights),
        voices=_voices(folder / "speakers.safetensors"),
        trainable=(folder / "dvae.safetensors").is_file(),
    )


def _voices(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    return tuple(sorted({name.rpartition("/")[0] for name in read_header(path)}))
