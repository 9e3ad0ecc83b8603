"""One Settings struct from more.toml and MORE_* variables; nothing else reads the environment."""

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from more_server.errors import SettingsError
from more_server.tables import EngineSettings, JobSettings, LimitSettings, ServerSettings, TelemetrySettings

PREFIX = "MORE_"
OF_CLIENTS = frozenset(("MORE_URL", "MORE_API_KEY"))
"""What `more-server jobs` reads where it is a client of a server that runs: no settings."""
FILE_NAME = "more.toml"
PLUGINS = "plugins"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured; an environment name is the path joined by double underscores."""

    data_dir: Path = Path()
    """Everything the server writes: models/, voices/, cache/. Default: the checkout, else ~/.local/share/more-server"""
    database: Annotated[str, Meta(pattern=r"\A(postgresql://.*)?\Z")] = ""
    """`postgresql://user:password@host/name` of what servers on several machines share; empty: files in data_dir."""
    shared_dir: str = ""
    """Folder that all servers of `database` see: jobs/, datasets/ and models that are trained. Empty: data_dir."""
    model: str = "auto"
    """Model that serves; `auto`: the one chosen with `models use`, else the bundled nano."""
    model_manifest: str = ""
    """Manifest of further models that can be fetched, as models/manifest.toml is written. Empty: none."""
    default_voice: str = ""
    """Voice of requests that name none; empty: the first one."""
    default_quality: str = "balanced"
    """Quality profile of requests that name none."""
    prepare_voices: bool = True
    """After the start, work out what the first request for each voice would wait for, once; people go first."""
    voice_store: str = ""
    """Store that new voices go to, and that is looked at first; empty: the first one that can be written."""
    default_language: str = "en"
    """Language where neither the request nor the voice names one, and none is recognised."""
    detect_language: bool = True
    """Recognise the language of a text where the request names none and the voice none or several."""
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: Annotated[str, Meta(pattern="^(auto|json|text)$")] = "auto"
    """`json`, `text`, or `auto`: text on a terminal, else JSON."""
    plugin_dir: str = ""
    """Folder with further plugins, files or packages; whatever is in it is run as part of the server. Empty: none."""
    plugin_seconds: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """Seconds that a plugin may take to be imported, to answer a hook, and for a piece of audio."""
    plugins: dict[str, dict[str, Any]] = {}
    """A table for each plugin: `enabled`, and its own settings; `more-server plugins list` shows them."""
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    engine: EngineSettings = EngineSettings()
    jobs: JobSettings = JobSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @property
    def model_dirs(self) -> tuple[Path, ...]:
        """Where models are looked for, the writable folder first."""
        return _different(self.data_dir / "models", self.made_models_dir, bundled_dir() / "models")

    @property
    def made_models_dir(self) -> Path:
        """Models that were trained or imported here: what no manifest has."""
        return self._shared / "models"

    @property
    def admin_dir(self) -> Path:
        """What was decided while the server ran: plugins, profiles, keys, and the log of who decided it."""
        return self.data_dir / "admin"

    @property
    def jobs_dir(self) -> Path:
        """Jobs and their results."""
        return self._shared / "jobs"

    @property
    def datasets_dir(self) -> Path:
        """Datasets for training, and the uploads of recordings that they are made of."""
        return self._shared / "datasets"

    @property
    def _shared(self) -> Path:
        return Path(self.shared_dir) if self.shared_dir else self.data_dir


def bundled_dir() -> Path:
    """The folder that holds the shipped models/ and voices/: the checkout, or the installation's share folder."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout
    return Path(sys.prefix) / "share" / "more-server"


def _different(*folders: Path) -> tuple[Path, ...]:
    """Each once, where several names lead to it by the first of them."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found.setdefault(folder.resolve(), folder)
    return tuple(found.values())


RELOADABLE = frozenset(
    ("default_voice", "default_quality", "default_language", "detect_language", "voice_store", "plugin_dir")
).union(("plugin_seconds", "plugins", "limits"))
"""Settings that a reload takes up; the others wait for the next start."""
DEFAULT, COMMAND_LINE = "default", "command line"


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where each comes from."""

    settings: Settings
    sources: dict[str, str]
    """By path, such as `server.port`: the file or the variable that it was read from; defaults are not in it."""


def child_environment(**more: str) -> dict[str, str]:
    """The variables of this process and some more, for one that it starts."""
    return {**os.environ, **more}


def load(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings as `read` finds them."""
    return read(file, environment).settings


def read(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read settings: built-in defaults, then the file, then `MORE_*` variables.

    `file` None means `MORE_CONFIG`, else `more.toml` in the working directory where it exists.
    Raises SettingsError naming the setting, its source and what is allowed.
    """
    environment = os.environ if environment is None else environment
    variables = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    variables = {name: value for name, value in variables.items() if name not in OF_CLIENTS}
    named = variables.pop(PREFIX + "CONFIG", None)
    file = file or (Path(named) if named else None)
    file = file or (Path(FILE_NAME) if Path(FILE_NAME).is_file() else None)
    values = _read_file(file) if file else {}
    sources = dict.fromkeys(_paths(values), str(file))
    for name, value in variables.items():
        sources[".".join(_place(values, name, value))] = name
    values.setdefault("data_dir", str(_default_data_dir(environment)))
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings do not fit: {_hint(str(error), values)}") from error
    data_dir = settings.data_dir.expanduser().absolute()
    if data_dir.exists() and not data_dir.is_dir():
        raise SettingsError(f"data_dir {data_dir} is a file; it must be a folder, or not exist yet")
    places = {name: _absolute(getattr(settings, name)) for name in ("plugin_dir", "shared_dir", "model_manifest")}
    return Loaded(msgspec.structs.replace(settings, data_dir=data_dir, **places), sources)


def _absolute(path: str) -> str:
    return path and str(Path(path).expanduser().absolute())


def _paths(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of everything in nested tables."""
    paths = []
    for name, value in values.items():
        paths += _paths(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return paths


def effective(loaded: Loaded) -> list[tuple[str, Any, str, bool]]:
    """Every setting but those of plugins: path, value, source, and whether a reload takes it up."""
    rows = []
    for path in _fields_of(Settings):
        value: Any = loaded.settings
        for part in path.split("."):
            value = getattr(value, part)
        rows.append((path, value, source_of(loaded, path), path.partition(".")[0] in RELOADABLE))
    return rows


def source_of(loaded: Loaded, path: str) -> str:
    """Where a setting comes from; of a table, the first of its parts that was given."""
    given = (source for one, source in loaded.sources.items() if one == path or one.startswith(f"{path}."))
    return next(given, DEFAULT)


def reloaded(running: Settings, now: Settings) -> tuple[Settings, list[str]]:
    """What a running server takes up of `now`, and the paths of what has changed and waits for the next start."""
    changes = {name: getattr(now, name) for name in RELOADABLE}
    waiting = []
    for path in _fields_of(Settings):
        name, _, inner = path.partition(".")
        one, other = getattr(running, name), getattr(now, name)
        if name not in RELOADABLE and (getattr(one, inner) != getattr(other, inner) if inner else one != other):
            waiting.append(path)
    return msgspec.structs.replace(running, **changes), waiting


def _fields_of(struct: type[msgspec.Struct], prefix: str = "") -> list[str]:
    paths = []
    for name, kind in _fields(struct).items():
        if name != PLUGINS:
            paths += _fields_of(kind, f"{prefix}{name}.") if _fields(kind) else [prefix + name]
    return paths


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _place(values: dict[str, Any], name: str, value: str) -> list[str]:
    """Put a variable's value where its name says; the path of it."""
    path = name.removeprefix(PREFIX).lower().split("__")
    node: Any = Settings
    if path[0] == PLUGINS:
        # The plugin itself tells later what it knows; numbers and truth values are read out of text there.
        if len(path) < 3 or not all(path):
            raise SettingsError(f"{name} must be {PREFIX}PLUGINS__<plugin>__<setting>")
        node = str
    for part in path if node is Settings else ():
        node = _fields(node).get(part) if node is not None else None
    if node is None:
        raise SettingsError(f"unknown environment variable {name}{_nearest(name, environment_names())}")
    table = values
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"settings do not fit: {part} must be a table of settings, as {name} belongs into it")
    parts = [part.strip() for part in value.split(",")]
    table[path[-1]] = [part for part in parts if part] if node == tuple[str, ...] else value
    return path


def _fields(struct: Any) -> dict[str, Any]:
    return get_type_hints(struct) if isinstance(struct, type) and issubclass(struct, msgspec.Struct) else {}


def environment_names(struct: type[msgspec.Struct] = Settings, prefix: str = PREFIX) -> list[str]:
    """Every `MORE_*` name, in the order of the struct's fields."""
    names = []
    for field, kind in _fields(struct).items():
        if field == PLUGINS:
            continue
        name = prefix + field.upper()
        names += environment_names(kind, name + "__") if _fields(kind) else [name]
    return names


def _hint(message: str, values: Mapping[str, Any]) -> str:
    if "unknown field" not in message:
        return message
    unknown = message.split("`")[1]
    where = message.split("`$.")[1].rstrip("`") if "`$." in message else ""
    struct: Any = Settings
    for part in where.split(".") if where else []:
        struct = _fields(struct).get(part)
    return f"{message}{_nearest(unknown, list(_fields(struct)))}"


def _nearest(name: str, names: list[str]) -> str:
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else f"; allowed are {', '.join(names)}"


def _decode(kind: type, value: Any) -> Any:
    if isinstance(value, str) and kind is Path:
        return Path(value)
    raise NotImplementedError


def _default_data_dir(environment: Mapping[str, str]) -> Path:
    bundled = bundled_dir()
    if (bundled / "pyproject.toml").is_file():
        return bundled
    home = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "more-server"
